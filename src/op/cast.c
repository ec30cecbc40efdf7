/* cast — the same numbers in another type.
 *   y = x, rounded to the nearest (ties to even)
 * Shapes    x, y [N,C,H,W]
 * Attrs     dt type of y, dt_set must be 1
 * Errors    SHAPE at graph build if a type is not f32 or bf16
 * Backward  cast of dy to the type of x (=)
 */
#include "op/rule.h"

fd_status fd_infer_cast(fd_graph *g, fd_node *n) {
    const fd_value *x = FD_IN(g, n, 0);
    if (!n->attr.dt_set || n->attr.dt == FD_I32 || !fd_rule_is_float(x))
        return fd_shape_fail(g, n, "x and y must be f32 or bf16");
    return fd_set_out(g, n, 0, x->s, n->attr.dt);
}

fd_status fd_vjp_cast(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx) {
    if (!gy[0] || !fd_wants(g, n->in[0])) return FD_OK;
    return fd_rule_done(g, gx[0] = fd_rule_cast(g, gy[0], g->val[n->in[0]].dt));
}

void fd_ref_cast(const fd_call *c) {
    const fd_buf *x = &c->in[0], *y = &c->out[0];
#pragma omp parallel for collapse(2) num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < x->s.n; n++)
        for (int64_t k = 0; k < x->s.c; k++) {
            int64_t from = fd_plane(x, n, k), to = fd_plane(y, n, k);
            for (int64_t i = 0; i < fd_pixels(x->s); i++) fd_put_pixel(y, to, i, fd_pixel(x, from, i));
        }
}
