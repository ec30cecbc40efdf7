/* mix_rows — weighted sum with one weight per sample: preconditioning, noising, score differences.
 *   z[n,...] = a[n] * x[n,...] + b[n] * y[n,...]
 * Shapes    x, y, z [N,C,H,W], types of x and y may differ;  a, b [N,1,1,1] f32;  y and b absent together
 * Attrs     dt type of z (default: that of x)
 * Numerics  the sum is rounded once
 * Errors    SHAPE at graph build: shapes differ, a or b not one f32 number per sample, y without b
 * Backward  dx[n] = a[n] dz[n] (=), dy[n] = b[n] dz[n] (=), in the types of x and y; a and b get none
 * Source    EDM networks.py EDMPrecond (c_in, c_skip, c_out)
 */
#include "op/rule.h"

fd_status fd_infer_mix_rows(fd_graph *g, fd_node *n) {
    const fd_value *x = FD_IN(g, n, 0), *a = FD_IN(g, n, 2);
    if (!fd_rule_is_float(x)) return fd_shape_fail(g, n, "x must be f32 or bf16");
    if (!fd_rule_is_rows(a, x->s.n) || !fd_rule_is_f32(a))
        return fd_shape_fail(g, n, "a must be one f32 number per sample");
    if (!n->in[1] != !n->in[3]) return fd_shape_fail(g, n, "y and b go together");
    if (n->in[1]) {
        const fd_value *y = FD_IN(g, n, 1), *b = FD_IN(g, n, 3);
        if (!fd_same_shape(x->s, y->s) || !fd_rule_is_float(y))
            return fd_shape_fail(g, n, "y must have the shape of x");
        if (!fd_rule_is_rows(b, x->s.n) || !fd_rule_is_f32(b))
            return fd_shape_fail(g, n, "b must be one f32 number per sample");
    }
    return fd_set_out(g, n, 0, x->s, fd_rule_dtype(g, n));
}

fd_status fd_vjp_mix_rows(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx) {
    if (!gy[0]) return FD_OK;
    for (int k = 0; k < 2; k++) {
        if (!n->in[k] || !fd_wants(g, n->in[k])) continue;
        fd_attr a = fd_rule_attr(g, n, n->in[k]);
        fd_val in[] = {gy[0], 0, n->in[2 + k], 0};
        FD_TRY(fd_rule_done(g, gx[k] = fd_graph_node(g, FD_OP_mix_rows, in, &a, NULL)));
    }
    return FD_OK;
}

void fd_ref_mix_rows(const fd_call *c) {
    const fd_buf *x = &c->in[0], *y = &c->in[1], *z = &c->out[0];
#pragma omp parallel for collapse(2) num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < x->s.n; n++)
        for (int64_t k = 0; k < x->s.c; k++) {
            double a = fd_get(&c->in[2], n), b = y->p ? fd_get(&c->in[3], n) : 0;
            int64_t px = fd_plane(x, n, k), py = y->p ? fd_plane(y, n, k) : 0, to = fd_plane(z, n, k);
            for (int64_t i = 0; i < fd_pixels(x->s); i++) {
                double v = a * fd_pixel(x, px, i);
                if (y->p) v += b * fd_pixel(y, py, i);
                fd_put_pixel(z, to, i, v);
            }
        }
}
