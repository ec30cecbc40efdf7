/* sq_err, dot_rows, sum_rows: one block per sample, sums in double. mean_hw, broadcast_hw: pixels of a channel. softmax_xent and
 * its gradient: one warp per sample. A sample is summed alike in any batch. */
#include "cuda/kernel.cuh"

enum terms { ITSELF, SQUARED_GAP, PRODUCT };      /* x, (x - y)^2, x y */

/* The sum of a sample's terms. */
template <int V, terms T>
static __global__ void sum_sample(float *out, operand x, operand y, const float *weight, int64_t each) {
    FD_SHARED(double, scratch);
    const int64_t first = (int64_t)blockIdx.x * each;
    double sum = 0;
    for (int64_t i = (int64_t)threadIdx.x * V; i < each; i += (int64_t)blockDim.x * V) {
        float a[V], b[V];
        load<V>(x, first + i, a);
        if (T != ITSELF) load<V>(y, first + i, b);
        for (int k = 0; k < V; k++) {
            const double u = a[k], v = T == ITSELF ? 0 : (double)b[k];
            sum += T == ITSELF ? u : T == PRODUCT ? u * v : (u - v) * (u - v);
        }
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) out[blockIdx.x] = (float)(weight ? (double)weight[blockIdx.x] * sum : sum);
}

template <terms T> static fd_status run_sum(fd_ctx *ctx, const fd_call *c, const float *weight) {
    const fd_buf *x = &c->in[0];
    const int64_t each = fd_count(x->s) / x->s.n;
    const operand b = T == ITSELF ? operand{NULL, 0} : as_operand(c->in[1]);
    auto kernel = vector_of(each) == 8 ? sum_sample<8, T> : sum_sample<1, T>;
    FD_LAUNCH(kernel, dim3((unsigned)x->s.n), dim3(THREADS), THREADS / WARP * sizeof(double), (float *)c->out[0].p,
              as_operand(*x), b, weight, each);
    return fd_cuda_launched(ctx);
}
static fd_status run_sq_err(fd_ctx *ctx, const fd_call *c) { return run_sum<SQUARED_GAP>(ctx, c, (const float *)c->in[2].p); }
static fd_status run_dot_rows(fd_ctx *ctx, const fd_call *c) { return run_sum<PRODUCT>(ctx, c, NULL); }
static fd_status run_sum_rows(fd_ctx *ctx, const fd_call *c) { return run_sum<ITSELF>(ctx, c, NULL); }

const fd_kernel fd_cuda_sq_err = {NULL, run_sq_err, NULL};
const fd_kernel fd_cuda_dot_rows = {NULL, run_dot_rows, NULL};
const fd_kernel fd_cuda_sum_rows = {NULL, run_sum_rows, NULL};

/* ---- pixels ------------------------------------------------------------------------------------------------------ */

/* A block takes 32 channels of one sample; its eight warps share the pixels. */
static __global__ void mean_pixels(float *out, operand x, int64_t channels, int64_t hw) {
    FD_SHARED(float, part);
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    const int64_t c = (int64_t)blockIdx.x * WARP + lane, first = (int64_t)blockIdx.y * hw * channels;
    float sum = 0;
    if (c < channels)
        for (int64_t i = warp; i < hw; i += warps) sum += get(x, first + i * channels + c);
    part[threadIdx.x] = sum;
    __syncthreads();
    if (warp || c >= channels) return;
    sum = 0;
    for (int k = 0; k < warps; k++) sum += part[k * WARP + lane];
    out[(int64_t)blockIdx.y * channels + c] = sum / (float)hw;
}
static fd_status run_mean_hw(fd_ctx *ctx, const fd_call *c) {
    const fd_buf *x = &c->in[0];
    dim3 grid((unsigned)div_up(x->s.c, WARP), (unsigned)x->s.n);
    FD_LAUNCH(mean_pixels, grid, dim3(THREADS), THREADS * sizeof(float), (float *)c->out[0].p, as_operand(*x), x->s.c,
              fd_pixels(x->s));
    return fd_cuda_launched(ctx);
}

static __global__ void spread_pixels(operand y, operand g, int64_t n, int64_t channels, int64_t hw) {
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) put(y, i, get(g, i / (channels * hw) * channels + i % channels) / (float)hw);
}
static fd_status run_broadcast_hw(fd_ctx *ctx, const fd_call *c) {
    const fd_buf *y = &c->out[0];
    const int64_t n = fd_count(y->s);
    FD_LAUNCH(spread_pixels, grid_of(n), dim3(THREADS), 0, as_operand(*y), as_operand(c->in[0]), n, y->s.c, fd_pixels(y->s));
    return fd_cuda_launched(ctx);
}

const fd_kernel fd_cuda_mean_hw = {NULL, run_mean_hw, NULL};
const fd_kernel fd_cuda_broadcast_hw = {NULL, run_broadcast_hw, NULL};

/* ---- cross-entropy ----------------------------------------------------------------------------------------------- */

/* dlogits.p absent: the loss, else the gradient. Every lane reads its logits before any is overwritten by itself. */
static __global__ void cross_entropy(float *loss, operand dlogits, const float *dloss, operand logits, operand target,
                                     int64_t rows, int64_t classes) {
    const int64_t n = (int64_t)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, first = n * classes;
    const int lane = threadIdx.x % WARP;
    if (n >= rows) return;      /* the whole warp at once */
    float top = -INFINITY;
    for (int64_t k = lane; k < classes; k += WARP) top = fmaxf(top, get(logits, first + k));
    for (int k = WARP / 2; k; k /= 2) top = fmaxf(top, __shfl_xor_sync(FULL_WARP, top, k));
    float sum = 0, total = 0;
    for (int64_t k = lane; k < classes; k += WARP) {
        sum += expf(get(logits, first + k) - top);
        total += get(target, first + k);
    }
    const float lse = top + logf(warp_sum(sum));
    total = warp_sum(total);
    float each = 0;
    for (int64_t k = lane; k < classes; k += WARP) {
        float x = get(logits, first + k) - lse, t = get(target, first + k);
        if (dlogits.p) put(dlogits, first + k, dloss[n] * (expf(x) * total - t));
        else each -= t * x;
    }
    each = warp_sum(each);
    if (loss && lane == 0) loss[n] = each;
}
static fd_status run_xent(fd_ctx *ctx, const fd_buf &logits, const fd_buf &target, float *loss, operand dlogits,
                          const float *dloss) {
    FD_LAUNCH(cross_entropy, dim3((unsigned)div_up(logits.s.n, THREADS / WARP)), dim3(THREADS), 0, loss, dlogits, dloss,
              as_operand(logits), as_operand(target), logits.s.n, logits.s.c);
    return fd_cuda_launched(ctx);
}
static fd_status run_softmax_xent(fd_ctx *ctx, const fd_call *c) {
    return run_xent(ctx, c->in[0], c->in[1], (float *)c->out[0].p, operand{NULL, 0}, NULL);
}
static fd_status run_softmax_xent_bwd(fd_ctx *ctx, const fd_call *c) {
    return run_xent(ctx, c->in[1], c->in[2], NULL, as_operand(c->out[0]), (const float *)c->in[0].p);
}

const fd_kernel fd_cuda_softmax_xent = {NULL, run_softmax_xent, NULL};
const fd_kernel fd_cuda_softmax_xent_bwd = {NULL, run_softmax_xent_bwd, NULL};
