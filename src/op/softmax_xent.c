/* softmax_xent — cross-entropy of a softmax against target probabilities: classifiers.
 *   loss[n] = - sum_k target[n,k] * (logits[n,k] - log sum_j exp logits[n,j])
 * Shapes    logits, target [N,K,1,1];  loss [N,1,1,1] f32
 * Numerics  the largest logit is subtracted first; sums in f32 or wider
 * Errors    SHAPE at graph build if logits and target are not vectors of one size
 * Backward  softmax_xent_bwd: dlogits (=); the target gets none
 * Source    torch.nn.functional.cross_entropy with class probabilities
 *
 * softmax_xent_bwd — dlogits[n,k] = dloss[n] * (softmax(logits[n])[k] * sum_j target[n,j] - target[n,k]).
 */
#include "op/rule.h"

static fd_status check(fd_graph *g, fd_node *n, const fd_value *x, const fd_value *t) {
    if (!fd_same_shape(x->s, t->s) || x->s.h != 1 || x->s.w != 1)
        return fd_shape_fail(g, n, "logits and target must be vectors of the same size");
    if (!fd_rule_is_float(x) || !fd_rule_is_float(t))
        return fd_shape_fail(g, n, "logits and target must be f32 or bf16");
    return FD_OK;
}

fd_status fd_infer_softmax_xent(fd_graph *g, fd_node *n) {
    FD_TRY(check(g, n, FD_IN(g, n, 0), FD_IN(g, n, 1)));
    return fd_set_out(g, n, 0, (fd_shape){FD_IN(g, n, 0)->s.n, 1, 1, 1}, FD_F32);
}

fd_status fd_vjp_softmax_xent(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx) {
    if (!gy[0] || !fd_wants(g, n->in[0])) return FD_OK;
    fd_val in[] = {gy[0], n->in[0], n->in[1]};
    return fd_rule_done(g, gx[0] = fd_graph_node(g, FD_OP_softmax_xent_bwd, in, &n->attr, NULL));
}

fd_status fd_infer_softmax_xent_bwd(fd_graph *g, fd_node *n) {
    const fd_value *dloss = FD_IN(g, n, 0), *x = FD_IN(g, n, 1);
    FD_TRY(check(g, n, x, FD_IN(g, n, 2)));
    if (!fd_rule_is_rows(dloss, x->s.n) || !fd_rule_is_f32(dloss))
        return fd_shape_fail(g, n, "dloss must be one f32 number per sample");
    return fd_set_out(g, n, 0, x->s, x->dt);
}

/* log sum exp of row n */
static double row_lse(const fd_buf *x, int64_t n) {
    double top = -INFINITY, sum = 0;
    for (int64_t k = 0; k < x->s.c; k++) top = fmax(top, fd_get(x, n * x->s.c + k));
    for (int64_t k = 0; k < x->s.c; k++) sum += exp(fd_get(x, n * x->s.c + k) - top);
    return top + log(sum);
}

void fd_ref_softmax_xent(const fd_call *c) {
    const fd_buf *x = &c->in[0], *t = &c->in[1];
    const int64_t K = x->s.c;
    for (int64_t n = 0; n < x->s.n; n++) {
        double lse = row_lse(x, n), loss = 0;
        for (int64_t k = 0; k < K; k++) loss -= fd_get(t, n * K + k) * (fd_get(x, n * K + k) - lse);
        fd_put(&c->out[0], n, (float)loss);
    }
}

void fd_ref_softmax_xent_bwd(const fd_call *c) {
    const fd_buf *x = &c->in[1], *t = &c->in[2];
    const int64_t K = x->s.c;
    for (int64_t n = 0; n < x->s.n; n++) {
        double lse = row_lse(x, n), total = 0, f = fd_get(&c->in[0], n);
        for (int64_t k = 0; k < K; k++) total += fd_get(t, n * K + k);
        for (int64_t k = 0; k < K; k++) {
            double p = exp(fd_get(x, n * K + k) - lse);
            fd_put(&c->out[0], n * K + k, (float)(f * (p * total - fd_get(t, n * K + k))));
        }
    }
}
