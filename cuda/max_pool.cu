/* max_pool, avg_pool: a thread per run of V channels of one output pixel walks its window; the border takes no part. */
#include "cuda/kernel.cuh"

struct pooling {
    int C, H, W, Ho, Wo, window, stride, pad, pad_w, mean;
};

template <int V>
static __global__ void pool(operand y, operand x, pooling g, int64_t n) {
    const int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (at >= n) return;
    const int64_t pixel = at / g.C, c = at % g.C, sample = pixel / (g.Ho * g.Wo);
    const int i = (int)(pixel / g.Wo % g.Ho) * g.stride - g.pad, j = (int)(pixel % g.Wo) * g.stride - g.pad_w;
    float v[V], all[V] = {0};
    int count = 0;
    for (int r = 0; r < g.window; r++)
        for (int q = 0; q < g.window; q++) {
            const int row = i + r, column = j + q;
            if (row < 0 || column < 0 || row >= g.H || column >= g.W) continue;
            load<V>(x, ((sample * g.H + row) * g.W + column) * g.C + c, v);
            for (int k = 0; k < V; k++)
                all[k] = !count ? v[k] : g.mean ? all[k] + v[k] : v[k] > all[k] ? v[k] : all[k];
            count++;
        }
    for (int k = 0; g.mean && k < V; k++) all[k] /= (float)count;
    store<V>(y, at, all);
}

static fd_status run(fd_ctx *ctx, const fd_call *c, int mean) {
    const fd_buf *x = &c->in[0], *y = &c->out[0];
    const int64_t n = fd_count(y->s);
    const pooling g = {(int)x->s.c, (int)x->s.h, (int)x->s.w, (int)y->s.h, (int)y->s.w, c->attr.window,
                       c->attr.stride, c->attr.pad, c->attr.pad_w, mean};
    if (vector_of(x->s.c) == 8) {
        auto kernel = pool<8>;
        FD_LAUNCH(kernel, grid_of(n / 8), dim3(THREADS), 0, as_operand(*y), as_operand(*x), g, n);
    } else {
        auto kernel = pool<1>;
        FD_LAUNCH(kernel, grid_of(n), dim3(THREADS), 0, as_operand(*y), as_operand(*x), g, n);
    }
    return fd_cuda_launched(ctx);
}

static fd_status run_max(fd_ctx *ctx, const fd_call *c) { return run(ctx, c, 0); }
static fd_status run_mean(fd_ctx *ctx, const fd_call *c) { return run(ctx, c, 1); }

const fd_kernel fd_cuda_max_pool = {NULL, run_max, NULL};
const fd_kernel fd_cuda_avg_pool = {NULL, run_mean, NULL};
