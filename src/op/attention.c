/* attention — self-attention over the pixels of each sample, per head, without a matrix of all pairs in memory.
 *   l[i,j] = sum_d q[d,i] k[d,j] / sqrt(c);   p[i,:] = softmax_j l[i,:];   y[d,i] = sum_j p[i,j] v[d,j]
 *   lse[i] = log sum_j exp l[i,j]
 * Shapes    qkv [N,3C,H,W], channel = head*3c + 3d + {0: q, 1: k, 2: v}, c = C/heads, d < c;
 *           y [N,C,H,W], channel = head*c + d;  lse [N,heads,H*W,1] f32, saved for backward
 * Attrs     heads
 * Numerics  logits, softmax and sums in f32 or wider for every dtype
 * Errors    SHAPE at graph build if the channels of qkv are no multiple of 3*heads
 * Backward  attention_bwd: dqkv (=)
 * Source    EDM networks.py AttentionOp and the reshape of UNetBlock; lse form: Dao et al. 2022
 *
 * attention_bwd — gradient by recomputing p from lse.
 *   D[i] = sum_d dy[d,i] y[d,i];   ds[i,j] = p[i,j] (sum_d dy[d,i] v[d,j] - D[i])
 *   dq[d,i] = sum_j ds[i,j] k[d,j] / sqrt(c);   dk[d,j] = sum_i ds[i,j] q[d,i] / sqrt(c)
 *   dv[d,j] = sum_i p[i,j] dy[d,i]
 * Shapes    dy, y [N,C,H,W];  qkv, dqkv [N,3C,H,W];  lse as above
 */
#include "op/rule.h"

fd_status fd_infer_attention(fd_graph *g, fd_node *n) {
    const fd_value *x = FD_IN(g, n, 0);
    if (!fd_rule_is_float(x)) return fd_shape_fail(g, n, "qkv must be f32 or bf16");
    if (n->attr.heads < 1 || x->s.c % (3 * (int64_t)n->attr.heads))
        return fd_shape_fail(g, n, "the channels of qkv must be a multiple of 3 times the heads");
    fd_shape s = x->s;
    FD_TRY(fd_set_out(g, n, 0, (fd_shape){s.n, s.c / 3, s.h, s.w}, x->dt));
    return fd_set_out(g, n, 1, (fd_shape){s.n, n->attr.heads, fd_pixels(s), 1}, FD_F32);
}

fd_status fd_vjp_attention(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx) {
    if (!gy[0] || !fd_wants(g, n->in[0])) return FD_OK;
    fd_val in[] = {gy[0], n->in[0], n->out[0], n->out[1]};
    return fd_rule_done(g, gx[0] = fd_graph_node(g, FD_OP_attention_bwd, in, &n->attr, NULL));
}

fd_status fd_infer_attention_bwd(fd_graph *g, fd_node *n) {
    const fd_value *dy = FD_IN(g, n, 0), *x = FD_IN(g, n, 1), *y = FD_IN(g, n, 2), *lse = FD_IN(g, n, 3);
    if (!fd_rule_is_float(x) || !fd_rule_is_float(dy) || !fd_rule_is_float(y) || !fd_rule_is_f32(lse))
        return fd_shape_fail(g, n, "dy, qkv, y must be f32 or bf16 and lse f32");
    if (n->attr.heads < 1 || x->s.c % (3 * (int64_t)n->attr.heads))
        return fd_shape_fail(g, n, "the channels of qkv must be a multiple of 3 times the heads");
    fd_shape s = {x->s.n, x->s.c / 3, x->s.h, x->s.w};
    if (!fd_same_shape(dy->s, s) || !fd_same_shape(y->s, s))
        return fd_shape_fail(g, n, "dy and y must be [N,C,H,W] for qkv [N,3C,H,W]");
    if (!fd_same_shape(lse->s, (fd_shape){s.n, n->attr.heads, fd_pixels(s), 1}))
        return fd_shape_fail(g, n, "lse must be [N,heads,H*W,1]");
    return fd_set_out(g, n, 0, x->s, x->dt);
}

/* The references hold a piece of pixels and a piece of channels on the stack, and recompute the rest. */
enum { PIECE = 256, CHANNELS = 64 };
static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

/* One of q, k, v, y, dy of one head: channel d is plane first + d*step of the tensor. */
typedef struct { const fd_buf *t; int64_t n, first, step; } part;

static float part_get(const part *p, int64_t d, int64_t i) {
    return fd_pixel(p->t, fd_plane(p->t, p->n, p->first + d * p->step), i);
}
static part part_qkv(const fd_buf *t, int64_t n, int64_t head, int64_t c, int which) {
    return (part){t, n, head * 3 * c + which, 3};
}
static part part_y(const fd_buf *t, int64_t n, int64_t head, int64_t c) { return (part){t, n, head * c, 1}; }

/* out[j] = factor * sum_d a[d,i] b[d,j0+j]  for j < len */
static void dots(const part *a, int64_t i, const part *b, int64_t j0, int64_t len, int64_t c, double factor,
                 double *out) {
    for (int64_t j = 0; j < len; j++) out[j] = 0;
    for (int64_t d = 0; d < c; d++) {
        double f = part_get(a, d, i);
        int64_t at = fd_plane(b->t, b->n, b->first + d * b->step);
        for (int64_t j = 0; j < len; j++) out[j] += f * fd_pixel(b->t, at, j0 + j);
    }
    for (int64_t j = 0; j < len; j++) out[j] *= factor;
}
/* sum[d-d0] += sum_j f[j] b[d,j0+j]  for d0 <= d < d1 */
static void gather(const part *b, int64_t d0, int64_t d1, int64_t j0, int64_t len, const double *f, double *sum) {
    for (int64_t d = d0; d < d1; d++) {
        int64_t at = fd_plane(b->t, b->n, b->first + d * b->step);
        double s = 0;
        for (int64_t j = 0; j < len; j++) s += f[j] * fd_pixel(b->t, at, j0 + j);
        sum[d - d0] += s;
    }
}

static void attend_query(const fd_call *call, int64_t n, int64_t head, int64_t i) {
    const fd_buf *qkv = &call->in[0], *y = &call->out[0];
    const int64_t c = y->s.c / call->attr.heads, hw = fd_pixels(y->s);
    const part q = part_qkv(qkv, n, head, c, 0), k = part_qkv(qkv, n, head, c, 1), v = part_qkv(qkv, n, head, c, 2);
    const double factor = 1.0 / sqrt((double)c);
    double p[PIECE], top = -INFINITY, total = 0;
    for (int64_t j0 = 0; j0 < hw; j0 += PIECE) {
        int64_t len = min64(PIECE, hw - j0);
        double piece_top = top;
        dots(&q, i, &k, j0, len, c, factor, p);
        for (int64_t j = 0; j < len; j++) piece_top = p[j] > piece_top ? p[j] : piece_top;
        total *= exp(top - piece_top);
        top = piece_top;
        for (int64_t j = 0; j < len; j++) total += exp(p[j] - top);
    }
    double lse = top + log(total);
    if (call->out[1].p) fd_put(&call->out[1], fd_at(&call->out[1], n, head, i, 0), (float)lse);
    for (int64_t d0 = 0; d0 < c; d0 += CHANNELS) {
        double sum[CHANNELS] = {0};
        int64_t d1 = min64(c, d0 + CHANNELS);
        for (int64_t j0 = 0; j0 < hw; j0 += PIECE) {
            int64_t len = min64(PIECE, hw - j0);
            dots(&q, i, &k, j0, len, c, factor, p);
            for (int64_t j = 0; j < len; j++) p[j] = exp(p[j] - lse);
            gather(&v, d0, d1, j0, len, p, sum);
        }
        for (int64_t d = d0; d < d1; d++) fd_put(y, fd_plane(y, n, head * c + d) + i * y->block, (float)sum[d - d0]);
    }
}

void fd_ref_attention(const fd_call *c) {
#pragma omp parallel for collapse(3) num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < c->in[0].s.n; n++)
        for (int64_t head = 0; head < c->attr.heads; head++)
            for (int64_t i = 0; i < fd_pixels(c->in[0].s); i++) attend_query(c, n, head, i);
}

/* Everything the backward pass of one head needs. */
typedef struct { part q, k, v, y, dy; const fd_buf *lse, *dqkv; int64_t n, head, c, hw; double factor; } head_bwd;

static double row_sum(const head_bwd *h, int64_t i) {
    double s = 0;
    for (int64_t d = 0; d < h->c; d++) s += (double)part_get(&h->dy, d, i) * part_get(&h->y, d, i);
    return s;
}
static void store(const head_bwd *h, int which, int64_t d0, int64_t d1, int64_t i, const double *sum) {
    for (int64_t d = d0; d < d1; d++)
        fd_put(h->dqkv, fd_plane(h->dqkv, h->n, h->head * 3 * h->c + 3 * d + which) + i * h->dqkv->block,
               (float)sum[d - d0]);
}

static void query_grad(const head_bwd *h, int64_t i, double *p, double *dp) {
    double lse = fd_get(h->lse, fd_at(h->lse, h->n, h->head, i, 0)), D = row_sum(h, i);
    for (int64_t d0 = 0; d0 < h->c; d0 += CHANNELS) {
        double sum[CHANNELS] = {0};
        int64_t d1 = min64(h->c, d0 + CHANNELS);
        for (int64_t j0 = 0; j0 < h->hw; j0 += PIECE) {
            int64_t len = min64(PIECE, h->hw - j0);
            dots(&h->q, i, &h->k, j0, len, h->c, h->factor, p);
            dots(&h->dy, i, &h->v, j0, len, h->c, 1, dp);
            for (int64_t j = 0; j < len; j++) dp[j] = exp(p[j] - lse) * (dp[j] - D) * h->factor;
            gather(&h->k, d0, d1, j0, len, dp, sum);
        }
        store(h, 0, d0, d1, i, sum);
    }
}

static void key_grad(const head_bwd *h, int64_t j, double *p, double *dp) {
    for (int64_t d0 = 0; d0 < h->c; d0 += CHANNELS) {
        double sum_k[CHANNELS] = {0}, sum_v[CHANNELS] = {0};
        int64_t d1 = min64(h->c, d0 + CHANNELS);
        for (int64_t i0 = 0; i0 < h->hw; i0 += PIECE) {
            int64_t len = min64(PIECE, h->hw - i0);
            dots(&h->k, j, &h->q, i0, len, h->c, h->factor, p);
            dots(&h->v, j, &h->dy, i0, len, h->c, 1, dp);
            for (int64_t i = 0; i < len; i++) {
                p[i] = exp(p[i] - fd_get(h->lse, fd_at(h->lse, h->n, h->head, i0 + i, 0)));
                dp[i] = p[i] * (dp[i] - row_sum(h, i0 + i)) * h->factor;
            }
            gather(&h->q, d0, d1, i0, len, dp, sum_k);
            gather(&h->dy, d0, d1, i0, len, p, sum_v);
        }
        store(h, 1, d0, d1, j, sum_k);
        store(h, 2, d0, d1, j, sum_v);
    }
}

void fd_ref_attention_bwd(const fd_call *call) {
    const fd_buf *dy = &call->in[0], *qkv = &call->in[1], *y = &call->in[2];
    const int64_t c = y->s.c / call->attr.heads, hw = fd_pixels(y->s);
#pragma omp parallel for collapse(3) num_threads(fd_ref_threads(call))
    for (int64_t n = 0; n < y->s.n; n++)
        for (int64_t head = 0; head < call->attr.heads; head++)
            for (int64_t i = 0; i < hw; i++) {
                head_bwd h = {.q = part_qkv(qkv, n, head, c, 0), .k = part_qkv(qkv, n, head, c, 1),
                              .v = part_qkv(qkv, n, head, c, 2), .y = part_y(y, n, head, c),
                              .dy = part_y(dy, n, head, c),
                              .lse = &call->in[3], .dqkv = &call->out[0], .n = n, .head = head, .c = c, .hw = hw,
                              .factor = 1.0 / sqrt((double)c)};
                double p[PIECE], dp[PIECE];
                query_grad(&h, i, p, dp);
                key_grad(&h, i, p, dp);
            }
}
