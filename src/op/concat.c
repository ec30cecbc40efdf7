/* concat — channels of x followed by channels of y and of up to four more: the skip connections of a UNet, the branches
 * of a block of Inception.
 *   z[:, :Cx] = x;   z[:, Cx:Cx+Cy] = y;   …
 * Shapes    x [N,Cx,H,W];  y [N,Cy,H,W];  …  z [N,Cx+Cy+…,H,W], type of x
 * Errors    SHAPE at graph build if N, H, W or the types differ
 * Backward  a slice for each (=)
 *
 * slice — y = x[:, c0:c1].
 * Shapes    x [N,C,H,W];  y [N,c1-c0,H,W].  Attrs c0, c1.  Errors SHAPE unless 0 <= c0 < c1 <= C.
 * Backward  none: it exists as the gradient of concat
 */
#include "op/rule.h"

fd_status fd_infer_concat(fd_graph *g, fd_node *n) {
    const fd_value *x = FD_IN(g, n, 0);
    fd_shape z = x->s;
    for (int k = 1; k < FD_CONCAT_MAX && n->in[k] > 0; k++) {
        const fd_value *y = FD_IN(g, n, k);
        if (x->s.n != y->s.n || x->s.h != y->s.h || x->s.w != y->s.w)
            return fd_shape_fail(g, n, "x and y must agree in samples, height and width");
        if (!fd_rule_is_float(x) || x->dt != y->dt)
            return fd_shape_fail(g, n, "x and y must have the same type, f32 or bf16");
        z.c += y->s.c;
    }
    return fd_set_out(g, n, 0, z, x->dt);
}

fd_status fd_vjp_concat(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx) {
    if (!gy[0]) return FD_OK;
    for (int k = 0, c = 0; k < FD_CONCAT_MAX && n->in[k] > 0; k++) {
        fd_attr a = {.c0 = c, .c1 = c + (int)g->val[n->in[k]].s.c};
        c = a.c1;
        if (fd_wants(g, n->in[k])) FD_TRY(fd_rule_done(g, gx[k] = fd_graph_node(g, FD_OP_slice, gy, &a, NULL)));
    }
    return FD_OK;
}

fd_status fd_infer_slice(fd_graph *g, fd_node *n) {
    const fd_value *x = FD_IN(g, n, 0);
    if (!fd_rule_is_float(x)) return fd_shape_fail(g, n, "x must be f32 or bf16");
    if (n->attr.c0 < 0 || n->attr.c1 <= n->attr.c0 || n->attr.c1 > x->s.c)
        return fd_shape_fail(g, n, "the channels asked for are not all there");
    return fd_set_out(g, n, 0, (fd_shape){x->s.n, n->attr.c1 - n->attr.c0, x->s.h, x->s.w}, x->dt);
}

/* Channels [0, count) of `from`, starting at channel f0, to channel t0 on. */
static void copy_channels(const fd_call *c, const fd_buf *from, int64_t f0, const fd_buf *to, int64_t t0,
                          int64_t count) {
#pragma omp parallel for collapse(2) num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < from->s.n; n++)
        for (int64_t k = 0; k < count; k++) {
            int64_t pf = fd_plane(from, n, f0 + k), pt = fd_plane(to, n, t0 + k);
            for (int64_t i = 0; i < fd_pixels(from->s); i++) fd_put_pixel(to, pt, i, fd_pixel(from, pf, i));
        }
}

void fd_ref_concat(const fd_call *c) {
    int64_t to = 0;
    for (int k = 0; k < FD_CONCAT_MAX && c->in[k].p; k++) {
        copy_channels(c, &c->in[k], 0, &c->out[0], to, c->in[k].s.c);
        to += c->in[k].s.c;
    }
}

void fd_ref_slice(const fd_call *c) { copy_channels(c, &c->in[0], c->attr.c0, &c->out[0], 0, c->out[0].s.c); }
