/* relu — the activation that keeps what is positive.
 *   y = max(x, 0); NaN stays NaN
 * Shapes    x, y [N,C,H,W]
 * Errors    SHAPE at graph build if x is not f32 or bf16
 * Backward  relu_bwd: dx (=)
 *
 * relu_bwd — dx = dy where y > 0, else 0. Shapes and dtype of y. It asks for the result, not the input, because a
 * convolution with the activation in it keeps only that.
 */
#include "op/rule.h"

fd_status fd_infer_relu(fd_graph *g, fd_node *n) {
    const fd_value *x = FD_IN(g, n, 0);
    if (!fd_rule_is_float(x)) return fd_shape_fail(g, n, "x must be f32 or bf16");
    return fd_set_out(g, n, 0, x->s, x->dt);
}

fd_status fd_vjp_relu(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx) {
    if (!gy[0] || !fd_wants(g, n->in[0])) return FD_OK;
    fd_val in[] = {gy[0], n->out[0]};
    return fd_rule_done(g, gx[0] = fd_graph_node(g, FD_OP_relu_bwd, in, &n->attr, NULL));
}

fd_status fd_infer_relu_bwd(fd_graph *g, fd_node *n) {
    const fd_value *dy = FD_IN(g, n, 0), *y = FD_IN(g, n, 1);
    if (!fd_same_shape(dy->s, y->s) || !fd_rule_is_float(dy) || !fd_rule_is_float(y))
        return fd_shape_fail(g, n, "dy and y must have the same shape and be f32 or bf16");
    return fd_set_out(g, n, 0, y->s, y->dt);
}

void fd_ref_relu(const fd_call *c) {
    const fd_buf *x = &c->in[0], *y = &c->out[0];
#pragma omp parallel for collapse(2) num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < x->s.n; n++)
        for (int64_t k = 0; k < x->s.c; k++) {
            int64_t from = fd_plane(x, n, k), to = fd_plane(y, n, k);
            for (int64_t i = 0; i < fd_pixels(x->s); i++) {
                float v = fd_pixel(x, from, i);
                fd_put_pixel(y, to, i, v < 0 ? 0 : v);
            }
        }
}

void fd_ref_relu_bwd(const fd_call *c) {
    const fd_buf *dy = &c->in[0], *y = &c->in[1], *dx = &c->out[0];
#pragma omp parallel for collapse(2) num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < y->s.n; n++)
        for (int64_t k = 0; k < y->s.c; k++) {
            int64_t pd = fd_plane(dy, n, k), py = fd_plane(y, n, k), to = fd_plane(dx, n, k);
            for (int64_t i = 0; i < fd_pixels(y->s); i++)
                fd_put_pixel(dx, to, i, fd_pixel(y, py, i) > 0 ? fd_pixel(dy, pd, i) : 0);
        }
}
