/* mean_hw — average over the pixels: the pooling at the end of a classifier.
 *   y[n,c] = mean_i x[n,c,i]
 * Shapes    x [N,C,H,W];  y [N,C,1,1] f32
 * Numerics  the sum in f32 or wider
 * Errors    SHAPE at graph build if x is not f32 or bf16
 * Backward  broadcast_hw (=)
 *
 * broadcast_hw — y[n,c,i] = g[n,c] / (h*w), the adjoint of mean_hw.
 * Shapes    g [N,C,1,1];  y [N,C,h,w].  Attrs h, w size of y;  dt its type (default: that of g)
 * Backward  none: it exists as the gradient of mean_hw
 */
#include "op/rule.h"

fd_status fd_infer_mean_hw(fd_graph *g, fd_node *n) {
    const fd_value *x = FD_IN(g, n, 0);
    if (!fd_rule_is_float(x)) return fd_shape_fail(g, n, "x must be f32 or bf16");
    return fd_set_out(g, n, 0, (fd_shape){x->s.n, x->s.c, 1, 1}, FD_F32);
}

fd_status fd_vjp_mean_hw(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx) {
    if (!gy[0] || !fd_wants(g, n->in[0])) return FD_OK;
    fd_attr a = fd_rule_attr(g, n, n->in[0]);
    a.h = (int)g->val[n->in[0]].s.h;
    a.w = (int)g->val[n->in[0]].s.w;
    return fd_rule_done(g, gx[0] = fd_graph_node(g, FD_OP_broadcast_hw, gy, &a, NULL));
}

fd_status fd_infer_broadcast_hw(fd_graph *g, fd_node *n) {
    const fd_value *v = FD_IN(g, n, 0);
    if (v->s.h != 1 || v->s.w != 1 || !fd_rule_is_float(v))
        return fd_shape_fail(g, n, "g must be one vector per sample");
    if (n->attr.h < 1 || n->attr.w < 1) return fd_shape_fail(g, n, "the size of y (h, w) must be positive");
    return fd_set_out(g, n, 0, (fd_shape){v->s.n, v->s.c, n->attr.h, n->attr.w}, fd_rule_dtype(g, n));
}

void fd_ref_mean_hw(const fd_call *c) {
    const fd_buf *x = &c->in[0];
    const int64_t C = x->s.c, hw = fd_pixels(x->s);
    for (int64_t n = 0; n < x->s.n; n++)
        for (int64_t k = 0; k < C; k++) {
            double sum = 0;
            for (int64_t i = 0, at = fd_plane(x, n, k); i < hw; i++) sum += fd_pixel(x, at, i);
            fd_put(&c->out[0], n * C + k, (float)(sum / (double)hw));
        }
}

void fd_ref_broadcast_hw(const fd_call *c) {
    const fd_buf *y = &c->out[0];
    const int64_t C = y->s.c, hw = fd_pixels(y->s);
    for (int64_t n = 0; n < y->s.n; n++)
        for (int64_t k = 0; k < C; k++) {
            double v = fd_get(&c->in[0], n * C + k) / (double)hw;
            for (int64_t i = 0, at = fd_plane(y, n, k); i < hw; i++) fd_put_pixel(y, at, i, v);
        }
}
