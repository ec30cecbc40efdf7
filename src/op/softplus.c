/* softplus — log(1 + exp(a x)), the logistic losses of a discriminator.
 *   y = max(a x, 0) + log1p(exp(-|a x|))
 * Shapes    x, y [N,C,H,W], type of x
 * Attrs     a: +1 for the loss of generated, -1 for that of real samples
 * Numerics  the form above neither overflows nor loses small values
 * Errors    SHAPE at graph build if x is not f32 or bf16
 * Backward  softplus_bwd: dx (=)
 * Source    DMD2 / f-distill GAN losses (algorithms.md 1.6); torch softplus
 *
 * softplus_bwd — dx = dy * a * sigmoid(a x). Shapes and type of x.
 */
#include "op/rule.h"

fd_status fd_infer_softplus(fd_graph *g, fd_node *n) {
    const fd_value *x = FD_IN(g, n, 0);
    if (!fd_rule_is_float(x)) return fd_shape_fail(g, n, "x must be f32 or bf16");
    return fd_set_out(g, n, 0, x->s, x->dt);
}

fd_status fd_vjp_softplus(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx) {
    if (!gy[0] || !fd_wants(g, n->in[0])) return FD_OK;
    fd_val in[] = {gy[0], n->in[0]};
    return fd_rule_done(g, gx[0] = fd_graph_node(g, FD_OP_softplus_bwd, in, &n->attr, NULL));
}

fd_status fd_infer_softplus_bwd(fd_graph *g, fd_node *n) {
    const fd_value *dy = FD_IN(g, n, 0), *x = FD_IN(g, n, 1);
    if (!fd_same_shape(dy->s, x->s) || !fd_rule_is_float(dy) || !fd_rule_is_float(x))
        return fd_shape_fail(g, n, "dy and x must have the same shape and be f32 or bf16");
    return fd_set_out(g, n, 0, x->s, x->dt);
}

void fd_ref_softplus(const fd_call *c) {
    const fd_buf *x = &c->in[0], *y = &c->out[0];
    for (int64_t n = 0; n < x->s.n; n++)
        for (int64_t k = 0; k < x->s.c; k++) {
            int64_t from = fd_plane(x, n, k), to = fd_plane(y, n, k);
            for (int64_t i = 0; i < fd_pixels(x->s); i++) {
                double v = (double)c->attr.a * fd_pixel(x, from, i);
                fd_put_pixel(y, to, i, fmax(v, 0) + log1p(exp(-fabs(v))));
            }
        }
}

void fd_ref_softplus_bwd(const fd_call *c) {
    const fd_buf *dy = &c->in[0], *x = &c->in[1], *dx = &c->out[0];
    for (int64_t n = 0; n < x->s.n; n++)
        for (int64_t k = 0; k < x->s.c; k++) {
            int64_t pd = fd_plane(dy, n, k), px = fd_plane(x, n, k), to = fd_plane(dx, n, k);
            for (int64_t i = 0; i < fd_pixels(x->s); i++) {
                double a = c->attr.a;
                fd_put_pixel(dx, to, i, fd_pixel(dy, pd, i) * a * fd_sigmoid64(a * fd_pixel(x, px, i)));
            }
        }
}
