/* sum_rows — sum of everything in a sample.
 *   y[n] = sum x[n,...]
 * Shapes    x [N,C,H,W];  y [N,1,1,1] f32
 * Numerics  the sum in double or pairwise
 * Errors    SHAPE at graph build if x is not f32 or bf16
 * Backward  broadcast_rows (=)
 *
 * broadcast_rows — y[n,...] = g[n].
 * Shapes    g [N,1,1,1] f32;  y [N,c1,h,w]
 * Attrs     c1, h, w size of y;  dt its type (default: that of g)
 * Backward  none: it exists as the gradient of sum_rows
 */
#include "op/rule.h"

fd_status fd_infer_sum_rows(fd_graph *g, fd_node *n) {
    const fd_value *x = FD_IN(g, n, 0);
    if (!fd_rule_is_float(x)) return fd_shape_fail(g, n, "x must be f32 or bf16");
    return fd_set_out(g, n, 0, (fd_shape){x->s.n, 1, 1, 1}, FD_F32);
}

fd_status fd_vjp_sum_rows(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx) {
    if (!gy[0] || !fd_wants(g, n->in[0])) return FD_OK;
    fd_attr a = fd_rule_attr(g, n, n->in[0]);
    fd_shape s = g->val[n->in[0]].s;
    a.c1 = (int)s.c;
    a.h = (int)s.h;
    a.w = (int)s.w;
    return fd_rule_done(g, gx[0] = fd_graph_node(g, FD_OP_broadcast_rows, gy, &a, NULL));
}

fd_status fd_infer_broadcast_rows(fd_graph *g, fd_node *n) {
    const fd_value *v = FD_IN(g, n, 0);
    const fd_attr *a = &n->attr;
    if (!fd_rule_is_rows(v, v->s.n) || !fd_rule_is_float(v))
        return fd_shape_fail(g, n, "g must be one number per sample");
    if (a->c1 < 1 || a->h < 1 || a->w < 1) return fd_shape_fail(g, n, "the size of y (c1, h, w) must be positive");
    return fd_set_out(g, n, 0, (fd_shape){v->s.n, a->c1, a->h, a->w}, fd_rule_dtype(g, n));
}

void fd_ref_sum_rows(const fd_call *c) {
    const fd_buf *x = &c->in[0];
#pragma omp parallel for num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < x->s.n; n++) {
        double sum = 0;
        for (int64_t k = 0; k < x->s.c; k++)
            for (int64_t i = 0, at = fd_plane(x, n, k); i < fd_pixels(x->s); i++) sum += fd_pixel(x, at, i);
        fd_put(&c->out[0], n, (float)sum);
    }
}

void fd_ref_broadcast_rows(const fd_call *c) {
    const fd_buf *y = &c->out[0];
    const int64_t each = y->s.c * fd_pixels(y->s);
    for (int64_t n = 0; n < y->s.n; n++)
        for (int64_t i = 0; i < each; i++) fd_put(y, n * each + i, fd_get(&c->in[0], n));
}
