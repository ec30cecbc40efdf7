/* attention, attention_bwd: a block takes 32 rows of one head against all columns, 32 at a time, without a matrix of all
 * pairs in memory. A warp owns four rows; lane j has their products with column j of the tile, and channels j, j + 32, …
 * of their results.
 *
 *   forward   rows = queries: running maximum, sum and y, rescaled when the maximum grows
 *   backward  D[i] = dy[i] . y[i]; then p = exp(l - lse), ds = p (dy . v - D) / sqrt(c), twice:
 *             rows = queries: dq = ds k        rows = keys: dk = ds' q, dv = p' dy
 * Sums run over the tiles in order: the same bits in every run and batch.
 */
#include "cuda/kernel.cuh"

enum { SIDE = 32, OWN = 4, LINE = SIDE + 4, MOST_CHANNELS = 512 };
static const int tile_floats = SIDE * LINE;

/* One of q, k, v, y, dy, dq, dk, dv of one head: element (pixel i, channel d) is at first + i * ld + d * step. */
struct part {
    operand t;
    int64_t first;
    int ld, step;
};
struct heads {
    operand qkv, y, dy, dqkv;
    float *lse, *D;                 /* [N][hw][heads] */
    int count, c, hw;
    float scale;
};

static __device__ __forceinline__ part qkv_part(const heads &h, const operand &t, int64_t n, int head, int which) {
    const int ld = 3 * h.c * h.count;
    return part{t, n * h.hw * ld + head * 3 * h.c + which, ld, 3};
}
static __device__ __forceinline__ part y_part(const heads &h, const operand &t, int64_t n, int head) {
    const int ld = h.c * h.count;
    return part{t, n * h.hw * ld + head * h.c, ld, 1};
}
static __device__ __forceinline__ float part_get(const part &p, int i, int d) {
    return get(p.t, p.first + (int64_t)i * p.ld + d * p.step);
}

/* tile[i][d] = element (i0 + i, d0 + d), zero outside. */
static __device__ __forceinline__ void load_tile(float *tile, const part &p, int i0, int d0, int hw, int c) {
    for (int k = threadIdx.x; k < SIDE * SIDE; k += blockDim.x) {
        const int i = k / SIDE, d = k % SIDE;
        tile[i * LINE + d] = i0 + i < hw && d0 + d < c ? part_get(p, i0 + i, d0 + d) : 0.0f;
    }
}
/* s[r] += sum_d rows[own + r][d] cols[lane][d] */
static __device__ __forceinline__ void dots(float (&s)[OWN], const float *rows, const float *cols) {
    const int lane = threadIdx.x % WARP, own = threadIdx.x / WARP * OWN;
    for (int d = 0; d < SIDE; d += 4) {
        const float4 b = *(const float4 *)(cols + lane * LINE + d);
        for (int r = 0; r < OWN; r++) {
            const float4 a = *(const float4 *)(rows + (own + r) * LINE + d);
            s[r] += a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
        }
    }
}
/* out[r] += sum_j p[own + r][j] cols[j][lane] */
static __device__ __forceinline__ void gather(float (&out)[OWN], const float *p, const float *cols) {
    const int lane = threadIdx.x % WARP, own = threadIdx.x / WARP * OWN;
    for (int j = 0; j < SIDE; j += 4) {
        float b[4];
        for (int k = 0; k < 4; k++) b[k] = cols[(j + k) * LINE + lane];
        for (int r = 0; r < OWN; r++) {
            const float4 a = *(const float4 *)(p + (own + r) * LINE + j);
            out[r] += a.x * b[0] + a.y * b[1] + a.z * b[2] + a.w * b[3];
        }
    }
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

/* CHUNKS: channels of a head / 32, rounded up. */
template <int CHUNKS>
static __global__ void attend(heads h) {
    FD_SHARED(float, rows);
    float *cols = rows + tile_floats, *p = cols + tile_floats;
    const int lane = threadIdx.x % WARP, own = threadIdx.x / WARP * OWN, head = blockIdx.y, i0 = blockIdx.x * SIDE;
    const int64_t n = blockIdx.z;
    const part q = qkv_part(h, h.qkv, n, head, 0), k = qkv_part(h, h.qkv, n, head, 1), v = qkv_part(h, h.qkv, n, head, 2);
    float top[OWN], total[OWN], out[CHUNKS][OWN];
    for (int r = 0; r < OWN; r++) {
        top[r] = -INFINITY;
        total[r] = 0;
        for (int d = 0; d < CHUNKS; d++) out[d][r] = 0;
    }
    for (int j0 = 0; j0 < h.hw; j0 += SIDE) {
        float s[OWN] = {};
        for (int d = 0; d < CHUNKS; d++) {
            __syncthreads();
            load_tile(rows, q, i0, d * SIDE, h.hw, h.c);
            load_tile(cols, k, j0, d * SIDE, h.hw, h.c);
            __syncthreads();
            dots(s, rows, cols);
        }
        for (int r = 0; r < OWN; r++) {
            float l = j0 + lane < h.hw ? s[r] * h.scale : -INFINITY, most = l;
            for (int x = WARP / 2; x; x /= 2) most = fmaxf(most, __shfl_xor_sync(FULL_WARP, most, x));
            most = fmaxf(most, top[r]);
            const float shrink = expf(top[r] - most), e = expf(l - most);
            total[r] = total[r] * shrink + warp_sum(e);
            for (int d = 0; d < CHUNKS; d++) out[d][r] *= shrink;
            top[r] = most;
            p[(own + r) * LINE + lane] = e;
        }
        for (int d = 0; d < CHUNKS; d++) {
            __syncthreads();
            load_tile(cols, v, j0, d * SIDE, h.hw, h.c);
            __syncthreads();
            gather(out[d], p, cols);
        }
    }
    const part y = y_part(h, h.y, n, head);
    for (int r = 0; r < OWN; r++) {
        const int i = i0 + own + r;
        if (i >= h.hw) continue;
        for (int d = 0; d < CHUNKS; d++)
            if (d * SIDE + lane < h.c) put(y.t, y.first + (int64_t)i * y.ld + d * SIDE + lane, out[d][r] / total[r]);
        if (h.lse && lane == 0) h.lse[(n * h.hw + i) * h.count + head] = top[r] + logf(total[r]);
    }
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

/* A warp per (sample, pixel, head). */
static __global__ void row_products(heads h, int64_t rows) {
    const int64_t i = (int64_t)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    if (i >= rows) return;      /* the whole warp at once */
    const int lane = threadIdx.x % WARP, head = (int)(i % h.count);
    const int64_t first = i / h.count * h.count * h.c + head * h.c;
    float sum = 0;
    for (int d = lane; d < h.c; d += WARP) sum += get(h.dy, first + d) * get(h.y, first + d);
    sum = warp_sum(sum);
    if (lane == 0) h.D[i] = sum;
}

/* KEYS: rows are keys and columns queries, results dk and dv; else rows are queries and the result is dq. */
template <int CHUNKS, bool KEYS>
static __global__ void attend_bwd(heads h) {
    FD_SHARED(float, rows);
    float *cols = rows + tile_floats, *rows2 = cols + tile_floats, *cols2 = rows2 + tile_floats;
    float *ds = cols2 + tile_floats, *p = ds + tile_floats;
    const int lane = threadIdx.x % WARP, own = threadIdx.x / WARP * OWN, head = blockIdx.y, i0 = blockIdx.x * SIDE;
    const int64_t n = blockIdx.z;
    const part q = qkv_part(h, h.qkv, n, head, 0), k = qkv_part(h, h.qkv, n, head, 1), v = qkv_part(h, h.qkv, n, head, 2);
    const part dy = y_part(h, h.dy, n, head);
    const float *lse = h.lse + n * h.hw * h.count + head, *D = h.D + n * h.hw * h.count + head;
    float out[CHUNKS][OWN], dv[KEYS ? CHUNKS : 1][OWN];
    for (int r = 0; r < OWN; r++)
        for (int d = 0; d < CHUNKS; d++) out[d][r] = dv[KEYS ? d : 0][r] = 0;
    for (int j0 = 0; j0 < h.hw; j0 += SIDE) {
        float s[OWN] = {}, g[OWN] = {};      /* q . k and dy . v */
        for (int d = 0; d < CHUNKS; d++) {
            __syncthreads();
            load_tile(rows, KEYS ? k : q, i0, d * SIDE, h.hw, h.c);
            load_tile(cols, KEYS ? q : k, j0, d * SIDE, h.hw, h.c);
            load_tile(rows2, KEYS ? v : dy, i0, d * SIDE, h.hw, h.c);
            load_tile(cols2, KEYS ? dy : v, j0, d * SIDE, h.hw, h.c);
            __syncthreads();
            dots(s, rows, cols);
            dots(g, rows2, cols2);
        }
        for (int r = 0; r < OWN; r++) {
            const int row = i0 + own + r, col = j0 + lane, query = KEYS ? col : row;
            const bool inside = row < h.hw && col < h.hw;
            const float e = inside ? expf(s[r] * h.scale - lse[(int64_t)query * h.count]) : 0.0f;
            ds[(own + r) * LINE + lane] = inside ? e * (g[r] - D[(int64_t)query * h.count]) * h.scale : 0.0f;
            if (KEYS) p[(own + r) * LINE + lane] = e;
        }
        for (int d = 0; d < CHUNKS; d++) {
            __syncthreads();
            load_tile(cols, KEYS ? q : k, j0, d * SIDE, h.hw, h.c);
            if (KEYS) load_tile(cols2, dy, j0, d * SIDE, h.hw, h.c);
            __syncthreads();
            gather(out[d], ds, cols);
            if (KEYS) gather(dv[KEYS ? d : 0], p, cols2);
        }
    }
    const part to = qkv_part(h, h.dqkv, n, head, KEYS ? 1 : 0);
    for (int r = 0; r < OWN; r++) {
        const int i = i0 + own + r;
        for (int d = 0; d < CHUNKS; d++) {
            if (i >= h.hw || d * SIDE + lane >= h.c) continue;
            const int64_t at = to.first + (int64_t)i * to.ld + (d * SIDE + lane) * to.step;
            put(to.t, at, out[d][r]);
            if (KEYS) put(to.t, at + 1, dv[KEYS ? d : 0][r]);
        }
    }
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static heads heads_of(const fd_call *c, const fd_buf &qkv) {
    heads h = {};
    h.qkv = as_operand(qkv);
    h.count = c->attr.heads;
    h.c = (int)(qkv.s.c / 3 / h.count);
    h.hw = (int)fd_pixels(qkv.s);
    h.scale = (float)(1.0 / sqrt((double)h.c));
    return h;
}
static fd_status check(fd_ctx *ctx, const heads &h) {
    if (h.c <= MOST_CHANNELS) return FD_OK;
    return FD_FAIL(ctx, FD_E_UNSUPPORTED, "the GPU attends with at most %d channels per head; this network has %d", MOST_CHANNELS, h.c);
}

/* The kernel for the number of chunks, rounded up to a power of two: the chunks behind the last channel are zeros. */
#define FOR_CHUNKS(kernel, channels, choose)                              \
    ((channels) <= 32    ? choose(kernel, 1)                              \
     : (channels) <= 64  ? choose(kernel, 2)                              \
     : (channels) <= 128 ? choose(kernel, 4)                              \
     : (channels) <= 256 ? choose(kernel, 8)                              \
                         : choose(kernel, 16))
#define FORWARD(kernel, chunks) kernel<chunks>
#define QUERIES(kernel, chunks) kernel<chunks, false>
#define KEYS_TOO(kernel, chunks) kernel<chunks, true>

static fd_status prepare(fd_ctx *ctx, fd_call *c) { return check(ctx, heads_of(c, c->in[0])); }

static fd_status run(fd_ctx *ctx, const fd_call *c) {
    heads h = heads_of(c, c->in[0]);
    h.y = as_operand(c->out[0]);
    h.lse = (float *)c->out[1].p;
    dim3 grid((unsigned)div_up(h.hw, SIDE), (unsigned)h.count, (unsigned)c->in[0].s.n);
    auto kernel = FOR_CHUNKS(attend, h.c, FORWARD);
    FD_LAUNCH(kernel, grid, dim3(THREADS), 3 * tile_floats * sizeof(float), h);
    return fd_cuda_launched(ctx);
}

static int64_t rows_of(const heads &h, const fd_buf &qkv) { return qkv.s.n * h.hw * h.count; }

static fd_status prepare_bwd(fd_ctx *ctx, fd_call *c) {
    const heads h = heads_of(c, c->in[1]);
    c->work_bytes = (size_t)rows_of(h, c->in[1]) * sizeof(float);
    return check(ctx, h);
}

static fd_status run_bwd(fd_ctx *ctx, const fd_call *c) {
    heads h = heads_of(c, c->in[1]);
    h.dy = as_operand(c->in[0]);
    h.y = as_operand(c->in[2]);
    h.lse = (float *)c->in[3].p;
    h.dqkv = as_operand(c->out[0]);
    h.D = (float *)c->work;
    const int64_t rows = rows_of(h, c->in[1]);
    FD_LAUNCH(row_products, dim3((unsigned)div_up(rows, THREADS / WARP)), dim3(THREADS), 0, h, rows);
    dim3 grid((unsigned)div_up(h.hw, SIDE), (unsigned)h.count, (unsigned)c->in[1].s.n);
    auto queries = FOR_CHUNKS(attend_bwd, h.c, QUERIES), keys = FOR_CHUNKS(attend_bwd, h.c, KEYS_TOO);
    FD_LAUNCH(queries, grid, dim3(THREADS), 5 * tile_floats * sizeof(float), h);
    FD_LAUNCH(keys, grid, dim3(THREADS), 6 * tile_floats * sizeof(float), h);
    return fd_cuda_launched(ctx);
}

const fd_kernel fd_cuda_attention = {prepare, run, NULL};
const fd_kernel fd_cuda_attention_bwd = {prepare_bwd, run_bwd, NULL};
