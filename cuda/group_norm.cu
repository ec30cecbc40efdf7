/* group_norm, group_norm_bwd: one block per sample and slab of channels, a slab being as many whole groups as give 32
 * channels or more. A thread keeps V fixed channels and walks the pixels, so what belongs to a channel is loaded once,
 * memory is read in runs of a slab's width, and the second walk finds the slab in the cache.
 *
 *   forward   1. mean and sum of squares about it, per thread and channel, joined by Chan's formula   2. y
 *   backward  1. D = sum du, X = sum du xh per channel                                               2. dx, sum dx
 *             sum dt = (1+e) D, sum dt xh = (1+e) X, sum du t = gamma X + beta D
 *             dgamma, dbeta: a row of sums per sample in the workspace, then added in order
 */
#include "cuda/add_parts.cuh"

struct norm_call {
    operand x, e, y;                      /* backward: y is dy */
    const float *gamma, *beta;
    float *mu, *rstd;                     /* forward: may be absent */
    operand dx, de;                       /* backward; p = NULL where not wanted */
    float *sum_dt, *sum_dt_xh;            /* backward: [N][C], or absent */
    int channels, hw, groups, per, wide;  /* wide: channels of a slab */
    int act, mode;
    float eps;
};

/* What a thread knows of its place: V channels from `c` on (within the slab: `first`), pixels row, row + rows, … */
struct place {
    int cols, rows, row, first, c;
    bool active;
    int64_t base;                         /* element 0 of the sample */
    int sample, group0;
};

template <int V>
static __device__ __forceinline__ place place_of(const norm_call &a) {
    place p;
    p.cols = a.wide / V;
    p.rows = blockDim.x / p.cols;
    p.row = threadIdx.x / p.cols;
    p.first = threadIdx.x % p.cols * V;
    p.active = p.row < p.rows;
    p.sample = blockIdx.y;
    p.group0 = blockIdx.x * (a.wide / a.per);
    p.c = blockIdx.x * a.wide + p.first;
    p.base = (int64_t)p.sample * a.hw * a.channels;
    return p;
}

/* column[k] = sum over the rows of threads of their value for channel k of the slab, always in the same order; all threads
 * call it. scratch: V floats per thread. */
template <int V>
static __device__ __forceinline__ void column_sums(const float (&v)[V], const place &p, int wide, float *scratch, float *column) {
    __syncthreads();
    if (p.active)
        for (int k = 0; k < V; k++) scratch[p.row * wide + p.first + k] = v[k];
    __syncthreads();
    const int parts = wide < (int)blockDim.x ? blockDim.x / wide : 1;
    const int part = threadIdx.x / wide, col = threadIdx.x % wide;
    float sum = 0;
    if (parts > 1 && part < parts)
        for (int r = part; r < p.rows; r += parts) sum += scratch[r * wide + col];
    __syncthreads();
    if (parts > 1) {
        if (part < parts) scratch[threadIdx.x] = sum;
        __syncthreads();
    }
    for (int k = threadIdx.x; k < wide; k += blockDim.x) {
        float all = 0;
        for (int r = 0; r < (parts > 1 ? parts : p.rows); r++) all += scratch[r * wide + k];
        column[k] = all;
    }
    __syncthreads();
}

/* total[g] = sum of column over the channels of group g; visible to all threads afterwards. */
static __device__ __forceinline__ void group_sums(const norm_call &a, const float *column, float *total) {
    for (int g = threadIdx.x; g < a.wide / a.per; g += blockDim.x) {
        float sum = 0;
        for (int k = 0; k < a.per; k++) sum += column[g * a.per + k];
        total[g] = sum;
    }
    __syncthreads();
}

/* What channel k of the thread does to z on its way to u. */
template <int V>
struct channel {
    float add[V], gamma[V], beta[V], scale[V], shift[V];
};
template <int V>
static __device__ __forceinline__ void load_channel(const norm_call &a, const place &p, channel<V> &k) {
    for (int i = 0; i < V; i++) {
        const int c = p.c + i;
        const int64_t n = p.sample, C = a.channels;
        k.gamma[i] = p.active ? a.gamma[c] : 0.0f;
        k.beta[i] = p.active ? a.beta[c] : 0.0f;
        k.add[i] = p.active && a.mode == FD_NORM_ADD ? get(a.e, n * C + c) : 0.0f;
        k.scale[i] = p.active && a.mode == FD_NORM_SCALE_SHIFT ? 1.0f + get(a.e, n * 2 * C + c) : 1.0f;
        k.shift[i] = p.active && a.mode == FD_NORM_SCALE_SHIFT ? get(a.e, n * 2 * C + C + c) : 0.0f;
    }
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

template <int V>
static __global__ void normalise(norm_call a) {
    FD_SHARED(float, column);
    const place p = place_of<V>(a);
    const int groups = a.wide / a.per;
    float *total = column + a.wide, *mean = total + groups, *rstd = mean + groups, *scratch = rstd + groups;
    const float count = (float)a.per * (float)a.hw;
    channel<V> k;
    load_channel<V>(a, p, k);
    /* Sums about the thread's own first value: nothing is lost where the mean is far from zero. */
    float origin[V], sum[V], square[V], v[V];
    int n = 0;
    for (int i = 0; i < V; i++) origin[i] = sum[i] = square[i] = 0;
    if (p.active)
        for (int i = p.row; i < a.hw; i += p.rows, n++) {
            load<V>(a.x, p.base + (int64_t)i * a.channels + p.c, v);
            for (int j = 0; j < V; j++) {
                if (n == 0) origin[j] = v[j] + k.add[j];
                float d = v[j] + k.add[j] - origin[j];
                sum[j] += d;
                square[j] += d * d;
            }
        }
    /* The group's mean, about its first value likewise. */
    for (int g = threadIdx.x; g < groups; g += blockDim.x) {
        const int c = (p.group0 + g) * a.per;
        mean[g] = get(a.x, p.base + c) + (a.mode == FD_NORM_ADD ? get(a.e, (int64_t)p.sample * a.channels + c) : 0.0f);
    }
    __syncthreads();
    for (int j = 0; j < V; j++) v[j] = p.active ? sum[j] + (float)n * (origin[j] - mean[(p.first + j) / a.per]) : 0.0f;
    column_sums<V>(v, p, a.wide, scratch, column);
    group_sums(a, column, total);
    for (int g = threadIdx.x; g < groups; g += blockDim.x) mean[g] += total[g] / count;
    __syncthreads();
    for (int j = 0; j < V; j++) {
        const float each = n ? sum[j] / (float)n : 0.0f, off = p.active ? origin[j] + each - mean[(p.first + j) / a.per] : 0.0f;
        v[j] = n ? square[j] - sum[j] * each + (float)n * off * off : 0.0f;
    }
    column_sums<V>(v, p, a.wide, scratch, column);
    group_sums(a, column, total);
    for (int g = threadIdx.x; g < groups; g += blockDim.x) {
        rstd[g] = 1.0f / sqrtf(total[g] / count + a.eps);
        if (a.mu) a.mu[(int64_t)p.sample * a.groups + p.group0 + g] = mean[g];
        if (a.rstd) a.rstd[(int64_t)p.sample * a.groups + p.group0 + g] = rstd[g];
    }
    __syncthreads();
    if (!p.active) return;
    float mu[V], inverse[V];
    for (int j = 0; j < V; j++) {
        mu[j] = mean[(p.first + j) / a.per];
        inverse[j] = rstd[(p.first + j) / a.per];
    }
    for (int i = p.row; i < a.hw; i += p.rows) {
        const int64_t at = p.base + (int64_t)i * a.channels + p.c;
        load<V>(a.x, at, v);
        for (int j = 0; j < V; j++) {
            float t = k.gamma[j] * ((v[j] + k.add[j] - mu[j]) * inverse[j]) + k.beta[j];
            float u = t * k.scale[j] + k.shift[j];
            v[j] = a.act ? silu(u) : u;
        }
        store<V>(a.y, at, v);
    }
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

template <int V>
static __global__ void denormalise(norm_call a) {
    FD_SHARED(float, column);
    const place p = place_of<V>(a);
    const int groups = a.wide / a.per;
    float *total = column + a.wide, *total_xh = total + groups, *du_xh = total_xh + groups, *scratch = du_xh + a.wide;
    const float count = (float)a.per * (float)a.hw;
    channel<V> k;
    load_channel<V>(a, p, k);
    float mu[V], inverse[V], D[V], X[V], x[V], dy[V];
    for (int j = 0; j < V; j++) {
        const int64_t g = (int64_t)p.sample * a.groups + p.group0 + (p.first + j) / a.per;
        mu[j] = p.active ? a.mu[g] : 0.0f;
        inverse[j] = p.active ? a.rstd[g] : 0.0f;
        D[j] = X[j] = 0;
    }
    if (p.active)
        for (int i = p.row; i < a.hw; i += p.rows) {
            const int64_t at = p.base + (int64_t)i * a.channels + p.c;
            load<V>(a.x, at, x);
            load<V>(a.y, at, dy);
            for (int j = 0; j < V; j++) {
                float xh = (x[j] + k.add[j] - mu[j]) * inverse[j], u = (k.gamma[j] * xh + k.beta[j]) * k.scale[j] + k.shift[j];
                float du = a.act ? dy[j] * silu_slope(u) : dy[j];
                D[j] += du;
                X[j] += du * xh;
            }
        }
    column_sums<V>(X, p, a.wide, scratch, du_xh);
    column_sums<V>(D, p, a.wide, scratch, column);
    for (int i = threadIdx.x; i < a.wide; i += blockDim.x) {
        const int c = blockIdx.x * a.wide + i;
        const int64_t n = p.sample, C = a.channels;
        const float scale = a.mode == FD_NORM_SCALE_SHIFT ? 1.0f + get(a.e, n * 2 * C + c) : 1.0f;
        if (a.sum_dt) a.sum_dt[n * C + c] = scale * column[i];
        if (a.sum_dt_xh) a.sum_dt_xh[n * C + c] = scale * du_xh[i];
        if (a.de.p && a.mode == FD_NORM_SCALE_SHIFT) {
            put(a.de, n * 2 * C + c, a.gamma[c] * du_xh[i] + a.beta[c] * column[i]);
            put(a.de, n * 2 * C + C + c, column[i]);
        }
        column[i] *= scale * a.gamma[c];
        du_xh[i] *= scale * a.gamma[c];
    }
    __syncthreads();
    const bool sum_dx = a.de.p && a.mode == FD_NORM_ADD;
    if (!a.dx.p && !sum_dx) return;
    group_sums(a, column, total);
    group_sums(a, du_xh, total_xh);
    for (int j = 0; j < V; j++) D[j] = 0;
    if (p.active)
        for (int i = p.row; i < a.hw; i += p.rows) {
            const int64_t at = p.base + (int64_t)i * a.channels + p.c;
            load<V>(a.x, at, x);
            load<V>(a.y, at, dy);
            for (int j = 0; j < V; j++) {
                const int g = (p.first + j) / a.per;
                float xh = (x[j] + k.add[j] - mu[j]) * inverse[j], u = (k.gamma[j] * xh + k.beta[j]) * k.scale[j] + k.shift[j];
                float dt = (a.act ? dy[j] * silu_slope(u) : dy[j]) * k.scale[j];
                dy[j] = inverse[j] * (k.gamma[j] * dt - total[g] / count - xh * (total_xh[g] / count));
                D[j] += dy[j];
            }
            if (a.dx.p) store<V>(a.dx, at, dy);
        }
    if (!sum_dx) return;
    column_sums<V>(D, p, a.wide, scratch, column);
    for (int i = threadIdx.x; i < a.wide; i += blockDim.x)
        put(a.de, (int64_t)p.sample * a.channels + blockIdx.x * a.wide + i, column[i]);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static norm_call describe(const fd_call *c, const fd_buf &x, const fd_buf &e) {
    norm_call a = {};
    a.x = as_operand(x);
    a.e = as_operand(e);
    a.channels = (int)x.s.c;
    a.hw = (int)fd_pixels(x.s);
    a.groups = c->attr.groups;
    a.per = a.channels / a.groups;
    a.act = c->attr.act;
    a.mode = c->attr.mode;
    a.eps = c->attr.eps;
    int slab = 1;      /* groups per slab: a divisor of all */
    while (slab < a.groups && (slab * a.per < 32 || a.groups % slab)) slab++;
    a.wide = slab * a.per;
    return a;
}
static int vector_width(const norm_call &a) { return a.wide % 8 == 0 && a.channels % 8 == 0 ? 8 : 1; }
static int threads_of(const norm_call &a) { return a.wide / vector_width(a) > THREADS ? 1024 : THREADS; }
static size_t shared_of(const norm_call &a) {
    return (2 * (size_t)a.wide + 4 * (size_t)(a.wide / a.per) + (size_t)threads_of(a) * vector_width(a)) * sizeof(float);
}
static fd_status check(fd_ctx *ctx, const norm_call &a) {
    if (shared_of(a) <= FD_CUDA_SHARED && a.wide / vector_width(a) <= threads_of(a)) return FD_OK;
    return FD_FAIL(ctx, FD_E_UNSUPPORTED, "groups of %d channels are too wide for the GPU's normalisation", a.per);
}

static fd_status prepare(fd_ctx *ctx, fd_call *c) { return check(ctx, describe(c, c->in[0], c->in[3])); }

static fd_status run(fd_ctx *ctx, const fd_call *c) {
    norm_call a = describe(c, c->in[0], c->in[3]);
    a.gamma = (const float *)c->in[1].p;
    a.beta = (const float *)c->in[2].p;
    a.y = as_operand(c->out[0]);
    a.mu = (float *)c->out[1].p;
    a.rstd = (float *)c->out[2].p;
    dim3 grid((unsigned)(a.channels / a.wide), (unsigned)c->in[0].s.n);
    auto kernel = vector_width(a) == 8 ? normalise<8> : normalise<1>;
    FD_LAUNCH(kernel, grid, dim3((unsigned)threads_of(a)), shared_of(a), a);
    return fd_cuda_launched(ctx);
}

static fd_status prepare_bwd(fd_ctx *ctx, fd_call *c) {
    c->work_bytes = 2 * (size_t)c->in[1].s.n * (size_t)c->in[1].s.c * sizeof(float);
    return check(ctx, describe(c, c->in[1], c->in[4]));
}

static fd_status run_bwd(fd_ctx *ctx, const fd_call *c) {
    const fd_buf *x = &c->in[1];
    norm_call a = describe(c, *x, c->in[4]);
    float *dgamma = (float *)c->out[1].p, *dbeta = (float *)c->out[2].p, *rows = (float *)c->work;
    const int samples = (int)x->s.n;
    a.y = as_operand(c->in[0]);
    a.gamma = (const float *)c->in[2].p;
    a.beta = (const float *)c->in[3].p;
    a.mu = (float *)c->in[5].p;
    a.rstd = (float *)c->in[6].p;
    a.dx = as_operand(c->out[0]);
    a.de = as_operand(c->out[3]);
    a.sum_dt_xh = dgamma ? rows : NULL;
    a.sum_dt = dbeta ? rows + (int64_t)samples * a.channels : NULL;
    dim3 grid((unsigned)(a.channels / a.wide), (unsigned)samples);
    auto kernel = vector_width(a) == 8 ? denormalise<8> : denormalise<1>;
    FD_LAUNCH(kernel, grid, dim3((unsigned)threads_of(a)), shared_of(a), a);
    if (dgamma) add_parts(dgamma, a.sum_dt_xh, samples, a.channels);
    if (dbeta) add_parts(dbeta, a.sum_dt, samples, a.channels);
    return fd_cuda_launched(ctx);
}

const fd_kernel fd_cuda_group_norm = {prepare, run, NULL};
const fd_kernel fd_cuda_group_norm_bwd = {prepare_bwd, run_bwd, NULL};
