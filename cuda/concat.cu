/* concat, slice: runs of channels copied between tensors that are read and written pixel by pixel. */
#include "cuda/kernel.cuh"

/* to[p][t0 + k] = from[p][f0 + k] for k < run, pixels p < pixels; V elements at a time. */
template <int V>
static __global__ void copy_channels(operand to, int64_t wide, int64_t t0, operand from, int64_t ld, int64_t f0, int64_t run,
                                     int64_t n) {
    const int64_t i = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (i >= n) return;
    const int64_t p = i / run, k = i % run;
    float v[V];
    load<V>(from, p * ld + f0 + k, v);
    store<V>(to, p * wide + t0 + k, v);
}

static fd_status copy(fd_ctx *ctx, const fd_buf &to, int64_t t0, const fd_buf &from, int64_t f0, int64_t run) {
    const int64_t n = to.s.n * fd_pixels(to.s) * run;
    const bool wide = to.s.c % 8 == 0 && from.s.c % 8 == 0 && t0 % 8 == 0 && f0 % 8 == 0 && run % 8 == 0;
    auto kernel = wide ? copy_channels<8> : copy_channels<1>;
    FD_LAUNCH(kernel, grid_of(wide ? n / 8 : n), dim3(THREADS), 0, as_operand(to), to.s.c, t0, as_operand(from), from.s.c, f0,
              run, n);
    return fd_cuda_launched(ctx);
}

static fd_status run_concat(fd_ctx *ctx, const fd_call *c) {
    int64_t to = 0;
    for (int k = 0; k < FD_CONCAT_MAX && c->in[k].p; k++) {
        FD_TRY(copy(ctx, c->out[0], to, c->in[k], 0, c->in[k].s.c));
        to += c->in[k].s.c;
    }
    return FD_OK;
}
static fd_status run_slice(fd_ctx *ctx, const fd_call *c) {
    return copy(ctx, c->out[0], 0, c->in[0], c->attr.c0, c->out[0].s.c);
}

const fd_kernel fd_cuda_concat = {NULL, run_concat, NULL};
const fd_kernel fd_cuda_slice = {NULL, run_slice, NULL};
