/* AdamW with averages in one pass, averages alone, and sums of squares over flat blocks. Element arithmetic is that of
 * train/optim.c, operation by operation without fused multiply-add: the same bits. */
#include "cuda/optim.h"

#include "cuda/kernel.cuh"

enum { AVERAGES = 4 };      /* per pass; more take further passes */

struct averages {
    float *a[AVERAGES];
    float rate[AVERAGES];
    int n;
};

static __device__ __forceinline__ void follow(const averages &e, int64_t i, float w) {
    for (int k = 0; k < e.n; k++) {
        const float a = e.a[k][i];
        e.a[k][i] = __fadd_rn(a, __fmul_rn(__fadd_rn(w, -a), e.rate[k]));
    }
}

static __global__ void adamw(float *w, const float *g, float *m, float *v, int64_t from, int64_t n, fd_adam_factors f, averages e) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    i += from;
    const float x = __fmul_rn(g[i], f.scale);
    const float mean = __fadd_rn(__fmul_rn(m[i], f.b1), __fmul_rn(x, f.a1));
    const float square = __fadd_rn(__fmul_rn(v[i], f.b2), __fmul_rn(__fmul_rn(f.a2, x), x));
    const float size = __fadd_rn(__fdiv_rn(__fsqrt_rn(square), f.root), f.eps);
    const float next = __fadd_rn(__fmul_rn(w[i], f.keep), __fdiv_rn(__fmul_rn(f.step, mean), size));
    m[i] = mean;
    v[i] = square;
    w[i] = next;
    follow(e, i, next);
}

static __global__ void average_only(const float *w, int64_t from, int64_t n, averages e) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    i += from;
    follow(e, i, w[i]);
}

/* Averages [first, first + AVERAGES) of the list. */
static averages some(const fd_average *list, int n, int first) {
    averages e = {};
    for (int k = first; k < n && e.n < AVERAGES; k++, e.n++) {
        e.a[e.n] = list[k].a;
        e.rate[e.n] = list[k].rate;
    }
    return e;
}

static void follow_rest(const fd_range *range, int n, const float *w, const fd_average *list, int n_list, int first) {
    for (; first < n_list; first += AVERAGES)
        for (int r = 0; r < n; r++)
            if (range[r].length > 0)
                FD_LAUNCH(average_only, grid_of(range[r].length), dim3(THREADS), 0, w, range[r].offset, range[r].length,
                          some(list, n_list, first));
}

static fd_status run_adamw(fd_ctx *ctx, const fd_adam_factors *f, const fd_range *range, int n, float *w, const float *g, float *m,
                           float *v, const fd_average *average, int n_average) {
    for (int r = 0; r < n; r++)
        if (range[r].length > 0)
            FD_LAUNCH(adamw, grid_of(range[r].length), dim3(THREADS), 0, w, g, m, v, range[r].offset, range[r].length, *f,
                      some(average, n_average, 0));
    follow_rest(range, n, w, average, n_average, AVERAGES);
    return fd_cuda_launched(ctx);
}

static fd_status run_average(fd_ctx *ctx, const fd_range *range, int n, const float *w, const fd_average *average, int n_average) {
    follow_rest(range, n, w, average, n_average, 0);
    return fd_cuda_launched(ctx);
}

/* ---- sums of squares --------------------------------------------------------------------------------------------- */

enum { BLOCKS = 512 };

/* part[block] (+)= its share of the range */
static __global__ void square_part(double *part, const float *g, int64_t from, int64_t n, int add) {
    FD_SHARED(double, scratch);
    double sum = 0;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x)
        sum += (double)g[from + i] * (double)g[from + i];
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) part[blockIdx.x] = add ? part[blockIdx.x] + sum : sum;
}

static fd_status run_square_sum(fd_ctx *ctx, const float *g, const fd_range *range, int n, double *out) {
    double part[BLOCKS], *there;
    *out = 0;
    if (n < 1) return FD_OK;
    FD_TRY(fd_cuda_scratch(ctx, sizeof part, (void **)&there));
    for (int r = 0; r < n; r++)
        FD_LAUNCH(square_part, dim3(BLOCKS), dim3(THREADS), THREADS / WARP * sizeof(double), there, g, range[r].offset,
                  range[r].length, r > 0);
    FD_TRY(fd_cuda_launched(ctx));
    FD_TRY(fd_cuda_fetch(ctx, part, there, sizeof part));
    for (int k = 0; k < BLOCKS; k++) *out += part[k];
    return FD_OK;
}

const fd_flat fd_cuda_flat = {run_square_sum, run_adamw, run_average};
