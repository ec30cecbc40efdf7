/* linear — matrix product per sample with optional bias.
 *   y[n,k] = b[k] + sum_c w[k,c] * x[n,c]
 * Shapes    x [N,C,1,1];  w [K,C] and b [K] parameters (f32);  y [N,K,1,1]
 * Attrs     dt type of y (default: that of x)
 * Numerics  sums in f32 or wider
 * Errors    SHAPE at graph build: x is not one vector per sample, C differs from w's, wrong bias
 * Backward  linear_bwd_x: dx (=);  linear_bwd_w: dw (+=), db (+=)
 * Source    EDM networks.py Linear
 *
 * linear_bwd_x — dx[n,c] = sum_k w[k,c] * dy[n,k].  Attrs: dt type of dx (default: that of dy).
 * linear_bwd_w — dw[k,c] += sum_n dy[n,k] * x[n,c];  db[k] += sum_n dy[n,k].  Both are parameter gradients (f32).
 */
#include "op/rule.h"

static bool is_vectors(const fd_value *v) { return v->s.h == 1 && v->s.w == 1 && fd_rule_is_float(v); }

fd_status fd_infer_linear(fd_graph *g, fd_node *n) {
    const fd_value *x = FD_IN(g, n, 0), *w = FD_IN(g, n, 1);
    if (!is_vectors(x)) return fd_shape_fail(g, n, "x must be one vector per sample (f32 or bf16)");
    if (w->s.h != 1 || w->s.w != 1 || !fd_rule_is_f32(w)) return fd_shape_fail(g, n, "w must be an f32 matrix");
    if (x->s.c != w->s.c) return fd_shape_fail(g, n, "x must have as many channels as w has inputs");
    if (n->in[2] && fd_count(FD_IN(g, n, 2)->s) != w->s.n)
        return fd_shape_fail(g, n, "b must have one number per output of w");
    return fd_set_out(g, n, 0, (fd_shape){x->s.n, w->s.n, 1, 1}, fd_rule_dtype(g, n));
}

fd_status fd_vjp_linear(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx) {
    if (!gy[0]) return FD_OK;
    if (fd_wants(g, n->in[0])) {
        fd_attr a = fd_rule_attr(g, n, n->in[0]);
        fd_val in[] = {gy[0], n->in[1]};
        FD_TRY(fd_rule_done(g, gx[0] = fd_graph_node(g, FD_OP_linear_bwd_x, in, &a, NULL)));
    }
    fd_val out[] = {fd_rule_pgrad(g, n->in[1]), fd_rule_pgrad(g, n->in[2])};
    if (out[0] == FD_UNWANTED) return FD_OK;
    fd_attr a = n->attr;
    a.dt_set = 0;
    fd_val in[] = {gy[0], n->in[0]};
    return fd_rule_done(g, fd_graph_node(g, FD_OP_linear_bwd_w, in, &a, out));
}

fd_status fd_infer_linear_bwd_x(fd_graph *g, fd_node *n) {
    const fd_value *dy = FD_IN(g, n, 0), *w = FD_IN(g, n, 1);
    if (!is_vectors(dy) || w->s.h != 1 || w->s.w != 1 || !fd_rule_is_f32(w))
        return fd_shape_fail(g, n, "dy must be one vector per sample and w an f32 matrix");
    if (dy->s.c != w->s.n) return fd_shape_fail(g, n, "dy must have as many channels as w has outputs");
    return fd_set_out(g, n, 0, (fd_shape){dy->s.n, w->s.c, 1, 1}, fd_rule_dtype(g, n));
}

fd_status fd_infer_linear_bwd_w(fd_graph *g, fd_node *n) {
    const fd_value *dy = FD_IN(g, n, 0), *x = FD_IN(g, n, 1);
    if (!is_vectors(dy) || !is_vectors(x) || dy->s.n != x->s.n)
        return fd_shape_fail(g, n, "dy and x must be one vector per sample");
    FD_TRY(fd_set_out(g, n, 0, (fd_shape){dy->s.c, x->s.c, 1, 1}, FD_F32));
    return fd_set_out(g, n, 1, (fd_shape){1, dy->s.c, 1, 1}, FD_F32);
}

/* With H = W = 1 every block is the same memory: element (n,c) is at n*C + c. */
void fd_ref_linear(const fd_call *c) {
    const fd_buf *x = &c->in[0], *w = &c->in[1], *b = &c->in[2], *y = &c->out[0];
    const int64_t C = x->s.c, K = y->s.c;
#pragma omp parallel for collapse(2) num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < y->s.n; n++) {
        for (int64_t k = 0; k < K; k++) {
            double sum = b->p ? fd_get(b, k) : 0.0;
            for (int64_t i = 0; i < C; i++) sum += (double)fd_get(w, k * C + i) * fd_get(x, n * C + i);
            fd_put(y, n * K + k, (float)sum);
        }
    }
}

void fd_ref_linear_bwd_x(const fd_call *c) {
    const fd_buf *dy = &c->in[0], *w = &c->in[1], *dx = &c->out[0];
    const int64_t C = dx->s.c, K = dy->s.c;
#pragma omp parallel for collapse(2) num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < dx->s.n; n++) {
        for (int64_t i = 0; i < C; i++) {
            double sum = 0;
            for (int64_t k = 0; k < K; k++) sum += (double)fd_get(w, k * C + i) * fd_get(dy, n * K + k);
            fd_put(dx, n * C + i, (float)sum);
        }
    }
}

void fd_ref_linear_bwd_w(const fd_call *c) {
    const fd_buf *dy = &c->in[0], *x = &c->in[1], *dw = &c->out[0], *db = &c->out[1];
    const int64_t C = x->s.c, K = dy->s.c;
#pragma omp parallel for num_threads(fd_ref_threads(c))
    for (int64_t k = 0; k < K; k++) {
        for (int64_t i = 0; i < C; i++) {
            double sum = 0;
            for (int64_t n = 0; n < x->s.n; n++) sum += (double)fd_get(dy, n * K + k) * fd_get(x, n * C + i);
            fd_put(dw, k * C + i, (float)(fd_get(dw, k * C + i) + sum));
        }
        if (db->p) {
            double sum = 0;
            for (int64_t n = 0; n < x->s.n; n++) sum += fd_get(dy, n * K + k);
            fd_put(db, k, (float)(fd_get(db, k) + sum));
        }
    }
}
