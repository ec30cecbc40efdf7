/* linear: a warp makes one output for up to eight samples, reading its row of w once. Its gradients: one thread per
 * result, which walks the outputs or the samples in order. Batches are small and matrices a few MiB: these wait for memory. */
#include "cuda/kernel.cuh"

enum { SAMPLES = 8 };

static __global__ void product(operand y, operand x, const float *w, const float *b, int samples, int inputs, int outputs) {
    const int k = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const int n0 = blockIdx.y * SAMPLES;
    if (k >= outputs) return;      /* the whole warp at once */
    float sum[SAMPLES] = {};
    for (int i = lane; i < inputs; i += WARP) {
        const float f = w[(int64_t)k * inputs + i];
        for (int s = 0; s < SAMPLES; s++)
            if (n0 + s < samples) sum[s] += f * get(x, (int64_t)(n0 + s) * inputs + i);
    }
    for (int s = 0; s < SAMPLES; s++) {
        const float all = warp_sum(sum[s]) + (b ? b[k] : 0.0f);
        if (lane == 0 && n0 + s < samples) put(y, (int64_t)(n0 + s) * outputs + k, all);
    }
}
static fd_status run(fd_ctx *ctx, const fd_call *c) {
    const fd_buf *x = &c->in[0], *y = &c->out[0];
    dim3 grid((unsigned)div_up(y->s.c, THREADS / WARP), (unsigned)div_up(y->s.n, SAMPLES));
    FD_LAUNCH(product, grid, dim3(THREADS), 0, as_operand(*y), as_operand(*x), (const float *)c->in[1].p,
              (const float *)c->in[2].p, (int)x->s.n, (int)x->s.c, (int)y->s.c);
    return fd_cuda_launched(ctx);
}

/* dx[n,i] = sum_k w[k,i] dy[n,k] */
static __global__ void product_bwd_x(operand dx, operand dy, const float *w, int inputs, int outputs) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const int64_t n = blockIdx.y;
    if (i >= inputs) return;
    float sum = 0;
    for (int k = 0; k < outputs; k++) sum += w[(int64_t)k * inputs + i] * get(dy, n * outputs + k);
    put(dx, n * inputs + i, sum);
}
static fd_status run_bwd_x(fd_ctx *ctx, const fd_call *c) {
    const fd_buf *dy = &c->in[0], *dx = &c->out[0];
    FD_LAUNCH(product_bwd_x, dim3((unsigned)div_up(dx->s.c, THREADS), (unsigned)dx->s.n), dim3(THREADS), 0, as_operand(*dx),
              as_operand(*dy), (const float *)c->in[1].p, (int)dx->s.c, (int)dy->s.c);
    return fd_cuda_launched(ctx);
}

/* dw[k,i] += sum_n dy[n,k] x[n,i]; db[k] += sum_n dy[n,k], by the thread of i = 0 */
static __global__ void product_bwd_w(float *dw, float *db, operand dy, operand x, int samples, int inputs, int outputs) {
    const int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= (int64_t)inputs * outputs) return;
    const int k = (int)(at / inputs), i = (int)(at % inputs);
    float sum = 0, bias = 0;
    for (int64_t n = 0; n < samples; n++) {
        const float g = get(dy, n * outputs + k);
        sum += g * get(x, n * inputs + i);
        bias += g;
    }
    dw[at] += sum;
    if (db && i == 0) db[k] += bias;
}
static fd_status run_bwd_w(fd_ctx *ctx, const fd_call *c) {
    const fd_buf *dy = &c->in[0], *x = &c->in[1];
    FD_LAUNCH(product_bwd_w, grid_of(dy->s.c * x->s.c), dim3(THREADS), 0, (float *)c->out[0].p, (float *)c->out[1].p,
              as_operand(*dy), as_operand(*x), (int)x->s.n, (int)x->s.c, (int)dy->s.c);
    return fd_cuda_launched(ctx);
}

const fd_kernel fd_cuda_linear = {NULL, run, NULL};
const fd_kernel fd_cuda_linear_bwd_x = {NULL, run_bwd_x, NULL};
const fd_kernel fd_cuda_linear_bwd_w = {NULL, run_bwd_w, NULL};
