/* dot_rows — inner product of two values, one number per sample: a head's projection on its label.
 *   z[n] = sum x[n,...] * y[n,...]
 * Shapes    x, y [N,C,H,W], types may differ;  z [N,1,1,1] f32
 * Numerics  the sum in double
 * Errors    SHAPE at graph build: shapes differ, x or y not f32 or bf16
 * Backward  mix_rows: dx[n] = dz[n] y[n] (=), dy[n] = dz[n] x[n] (=), in the types of x and y
 * Source    projection discriminators, arXiv 1802.05637
 */
#include "op/rule.h"

fd_status fd_infer_dot_rows(fd_graph *g, fd_node *n) {
    const fd_value *x = FD_IN(g, n, 0), *y = FD_IN(g, n, 1);
    if (!fd_same_shape(x->s, y->s)) return fd_shape_fail(g, n, "x and y must have the same shape");
    if (!fd_rule_is_float(x) || !fd_rule_is_float(y)) return fd_shape_fail(g, n, "x and y must be f32 or bf16");
    return fd_set_out(g, n, 0, (fd_shape){x->s.n, 1, 1, 1}, FD_F32);
}

fd_status fd_vjp_dot_rows(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx) {
    if (!gy[0]) return FD_OK;
    for (int k = 0; k < 2; k++) {
        if (!fd_wants(g, n->in[k])) continue;
        fd_attr a = fd_rule_attr(g, n, n->in[k]);
        fd_val in[] = {n->in[1 - k], 0, gy[0], 0};
        FD_TRY(fd_rule_done(g, gx[k] = fd_graph_node(g, FD_OP_mix_rows, in, &a, NULL)));
    }
    return FD_OK;
}

void fd_ref_dot_rows(const fd_call *c) {
    const fd_buf *x = &c->in[0], *y = &c->in[1];
    for (int64_t n = 0; n < x->s.n; n++) {
        double sum = 0;
        for (int64_t k = 0; k < x->s.c; k++) {
            const int64_t px = fd_plane(x, n, k), py = fd_plane(y, n, k);
            for (int64_t i = 0; i < fd_pixels(x->s); i++) sum += (double)fd_pixel(x, px, i) * fd_pixel(y, py, i);
        }
        fd_put(&c->out[0], n, (float)sum);
    }
}
