/* linear, linear_bwd_x, linear_bwd_w on the inner loops of isa/dense.c.
 *
 *   forward  y' = w x'   (' = transposed) so that the weights are read as they lie: nothing is re-laid per update, and
 *                        the two small matrices are transposed in the workspace instead
 *   bwd_x    dx = dy w
 *   bwd_w    dw += dy' x
 *
 * Every element is one sum in the order of its index, whatever the tile it falls in: the bits depend neither on the
 * batch nor on the threads. bf16 values are widened in the workspace.
 */
#include "cpu/cpu.h"
#include "cpu/isa/rows.h"

/* Pieces of the workspace, each a whole number of cache lines. */
static float *take(char **at, int64_t count) {
    float *p = (float *)*at;
    *at += fd_round_up(count * (int64_t)sizeof(float), 64);
    return p;
}
static size_t room(int64_t count) { return (size_t)fd_round_up(count * (int64_t)sizeof(float), 64); }

static const float *as_f32(const fd_buf *b, char **work) {
    if (b->dt == FD_F32) return b->p;
    float *to = take(work, fd_count(b->s));
    fd_cpu_rows()->axpby(to, FD_F32, b->p, b->dt, 1, NULL, FD_F32, 0, fd_count(b->s));
    return to;
}

/* Columns of one thread: whole vectors, so that at most the last thread meets a ragged edge. */
static int64_t share(int64_t n, int team) { return fd_round_up((n + team - 1) / team, 16); }

/* Padded with zero columns: an edge would be computed one number at a time. */
static int64_t padded_batch(const fd_call *c) { return fd_round_up(c->in[0].s.n, 16); }

static fd_status prepare_forward(fd_ctx *ctx, fd_call *c) {
    (void)ctx;
    c->work_bytes = room(c->in[0].s.c * padded_batch(c)) + room(c->out[0].s.c * padded_batch(c));
    return FD_OK;
}

static fd_status run_forward(fd_ctx *ctx, const fd_call *c) {
    (void)ctx;
    const fd_buf *x = &c->in[0], *w = &c->in[1], *b = &c->in[2], *y = &c->out[0];
    const int64_t N = x->s.n, C = x->s.c, K = y->s.c, P = padded_batch(c);
    const fd_rows *rows = fd_cpu_rows();
    char *work = c->work;
    float *xt = take(&work, C * P), *yt = take(&work, K * P);
    for (int64_t i = 0; i < C; i++)
        for (int64_t n = 0; n < P; n++) xt[i * P + n] = n < N ? fd_get(x, n * C + i) : 0;
    const int team = fd_team(c, K, C * P);
    const int64_t part = fd_round_up((K + team - 1) / team, 6);
#pragma omp parallel for num_threads(team)
    for (int64_t k = 0; k < K; k += part) {
        const int64_t m = K - k < part ? K - k : part;
        for (int64_t i = k; i < k + m; i++)
            for (int64_t n = 0; n < P; n++) yt[i * P + n] = b->p ? ((const float *)b->p)[i] : 0;
        rows->gemm(m, P, C, (const float *)w->p + k * C, C, 1, xt, P, yt + k * P, P, 1);
    }
    for (int64_t n = 0; n < N; n++)
        for (int64_t k = 0; k < K; k++) fd_put(y, n * K + k, yt[k * P + n]);
    return FD_OK;
}

static fd_status prepare_bwd_x(fd_ctx *ctx, fd_call *c) {
    (void)ctx;
    c->work_bytes = (c->in[0].dt == FD_F32 ? 0 : room(fd_count(c->in[0].s))) +
                    (c->out[0].dt == FD_F32 ? 0 : room(fd_count(c->out[0].s)));
    return FD_OK;
}

static fd_status run_bwd_x(fd_ctx *ctx, const fd_call *c) {
    (void)ctx;
    const fd_buf *w = &c->in[1], *dx = &c->out[0];
    const int64_t N = dx->s.n, C = dx->s.c, K = c->in[0].s.c;
    const fd_rows *rows = fd_cpu_rows();
    char *work = c->work;
    const float *dy = as_f32(&c->in[0], &work);
    float *to = dx->dt == FD_F32 ? dx->p : take(&work, N * C);
    const int team = fd_team(c, C, K * N);
    const int64_t part = share(C, team);
#pragma omp parallel for num_threads(team)
    for (int64_t i = 0; i < C; i += part)
        rows->gemm(N, C - i < part ? C - i : part, K, dy, K, 1, (const float *)w->p + i, C, to + i, C, 0);
    if (dx->dt != FD_F32) rows->axpby(dx->p, dx->dt, to, FD_F32, 1, NULL, FD_F32, 0, N * C);
    return FD_OK;
}

static fd_status prepare_bwd_w(fd_ctx *ctx, fd_call *c) {
    (void)ctx;
    c->work_bytes = (c->in[0].dt == FD_F32 ? 0 : room(fd_count(c->in[0].s))) +
                    (c->in[1].dt == FD_F32 ? 0 : room(fd_count(c->in[1].s)));
    return FD_OK;
}

static fd_status run_bwd_w(fd_ctx *ctx, const fd_call *c) {
    (void)ctx;
    const fd_buf *dw = &c->out[0], *db = &c->out[1];
    const int64_t N = c->in[0].s.n, C = c->in[1].s.c, K = c->in[0].s.c;
    const fd_rows *rows = fd_cpu_rows();
    char *work = c->work;
    const float *dy = as_f32(&c->in[0], &work), *x = as_f32(&c->in[1], &work);
    const int team = fd_team(c, K, C * N);
    const int64_t part = fd_round_up((K + team - 1) / team, 6);
#pragma omp parallel for num_threads(team)
    for (int64_t k = 0; k < K; k += part) {
        const int64_t m = K - k < part ? K - k : part;
        rows->gemm(m, C, N, dy + k, 1, K, x, C, (float *)dw->p + k * C, C, 1);
        if (!db->p) continue;
        for (int64_t n = 0; n < N; n++)
            for (int64_t i = k; i < k + m; i++) ((float *)db->p)[i] += dy[n * K + i];
    }
    return FD_OK;
}

const fd_kernel fd_cpu_linear = {prepare_forward, run_forward, NULL};
const fd_kernel fd_cpu_linear_bwd_x = {prepare_bwd_x, run_bwd_x, NULL};
const fd_kernel fd_cpu_linear_bwd_w = {prepare_bwd_w, run_bwd_w, NULL};
