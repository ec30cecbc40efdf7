/* sq_err — weighted squared error, one number per sample: the denoising losses.
 *   loss[n] = w[n] * sum (d[n,...] - y[n,...])^2
 * Shapes    d, y [N,C,H,W], types may differ;  w, loss [N,1,1,1] f32
 * Numerics  the sum in double or pairwise: it has 3*H*W or more terms
 * Errors    SHAPE at graph build: shapes differ, w not one f32 number per sample
 * Backward  sq_err_bwd for d (=), its negative for y (=); w gets none
 * Source    EDM loss.py EDMLoss (before its sum)
 *
 * sq_err_bwd — dd[n,...] = 2 * w[n] * dloss[n] * (d[n,...] - y[n,...]), in the type of d.
 */
#include "op/rule.h"

static fd_status check(fd_graph *g, fd_node *n, const fd_value *d, const fd_value *y, const fd_value *w) {
    if (!fd_same_shape(d->s, y->s)) return fd_shape_fail(g, n, "d and y must have the same shape");
    if (!fd_rule_is_float(d) || !fd_rule_is_float(y)) return fd_shape_fail(g, n, "d and y must be f32 or bf16");
    if (!fd_rule_is_rows(w, d->s.n) || !fd_rule_is_f32(w))
        return fd_shape_fail(g, n, "w must be one f32 number per sample");
    return FD_OK;
}

fd_status fd_infer_sq_err(fd_graph *g, fd_node *n) {
    FD_TRY(check(g, n, FD_IN(g, n, 0), FD_IN(g, n, 1), FD_IN(g, n, 2)));
    return fd_set_out(g, n, 0, (fd_shape){FD_IN(g, n, 0)->s.n, 1, 1, 1}, FD_F32);
}

fd_status fd_vjp_sq_err(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx) {
    bool want_d = fd_wants(g, n->in[0]), want_y = fd_wants(g, n->in[1]);
    if (!gy[0] || !(want_d || want_y)) return FD_OK;
    fd_val in[] = {gy[0], n->in[0], n->in[1], n->in[2]};
    fd_val dd = fd_graph_node(g, FD_OP_sq_err_bwd, in, &n->attr, NULL);
    FD_TRY(fd_rule_done(g, dd));
    if (want_d) gx[0] = dd;
    if (want_y) {
        fd_attr minus = {.a = -1.0f};
        fd_val v = fd_graph_node(g, FD_OP_scale, &dd, &minus, NULL);
        FD_TRY(fd_rule_done(g, gx[1] = fd_rule_cast(g, v, g->val[n->in[1]].dt)));
    }
    return FD_OK;
}

fd_status fd_infer_sq_err_bwd(fd_graph *g, fd_node *n) {
    const fd_value *dloss = FD_IN(g, n, 0), *d = FD_IN(g, n, 1);
    FD_TRY(check(g, n, d, FD_IN(g, n, 2), FD_IN(g, n, 3)));
    if (!fd_rule_is_rows(dloss, d->s.n) || !fd_rule_is_f32(dloss))
        return fd_shape_fail(g, n, "dloss must be one f32 number per sample");
    return fd_set_out(g, n, 0, d->s, d->dt);
}

void fd_ref_sq_err(const fd_call *c) {
    const fd_buf *d = &c->in[0], *y = &c->in[1];
#pragma omp parallel for num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < d->s.n; n++) {
        double sum = 0;
        for (int64_t k = 0; k < d->s.c; k++) {
            int64_t pd = fd_plane(d, n, k), py = fd_plane(y, n, k);
            for (int64_t i = 0; i < fd_pixels(d->s); i++) {
                double e = (double)fd_pixel(d, pd, i) - fd_pixel(y, py, i);
                sum += e * e;
            }
        }
        fd_put(&c->out[0], n, (float)(fd_get(&c->in[2], n) * sum));
    }
}

void fd_ref_sq_err_bwd(const fd_call *c) {
    const fd_buf *d = &c->in[1], *y = &c->in[2], *dd = &c->out[0];
#pragma omp parallel for collapse(2) num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < d->s.n; n++)
        for (int64_t k = 0; k < d->s.c; k++) {
            double f = 2.0 * fd_get(&c->in[3], n) * fd_get(&c->in[0], n);
            int64_t pd = fd_plane(d, n, k), py = fd_plane(y, n, k), to = fd_plane(dd, n, k);
            for (int64_t i = 0; i < fd_pixels(d->s); i++)
                fd_put_pixel(dd, to, i, f * ((double)fd_pixel(d, pd, i) - fd_pixel(y, py, i)));
        }
}
