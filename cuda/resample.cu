/* resample: every output vector of channels is a sum of at most 4 x 4 input vectors, which the first-level cache holds
 * for the neighbours. */
#include "cuda/kernel.cuh"

struct filter {
    float taps[4];
    float gain;
    int ntaps, pad, up;
};

/* Position of tap k for output coordinate i, or -1 where it meets no input. */
static __device__ __forceinline__ int source(const filter &f, int i, int k, int size) {
    int r = f.up ? i + f.pad - k : 2 * i + k - f.pad;
    if (f.up) {
        if (r < 0 || r % 2) return -1;
        r /= 2;
    }
    return r >= 0 && r < size ? r : -1;
}

template <int V>
static __global__ void filter_pixels(operand y, operand x, int64_t n, int channels, int h, int w, int oh, int ow, filter f) {
    const int64_t i = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (i >= n) return;
    const int64_t pixel = i / channels;
    const int c = (int)(i % channels), ox = (int)(pixel % ow), oy = (int)(pixel / ow % oh);
    const int64_t sample = pixel / ow / oh;
    float sum[V];
    for (int k = 0; k < V; k++) sum[k] = 0;
    for (int a = 0; a < f.ntaps; a++) {
        const int r = source(f, oy, a, h);
        if (r < 0) continue;
        for (int b = 0; b < f.ntaps; b++) {
            const int s = source(f, ox, b, w);
            if (s < 0) continue;
            float v[V];
            load<V>(x, ((sample * h + r) * w + s) * channels + c, v);
            const float factor = f.taps[a] * f.taps[b];
            for (int k = 0; k < V; k++) sum[k] += factor * v[k];
        }
    }
    for (int k = 0; k < V; k++) sum[k] *= f.gain;
    store<V>(y, i, sum);
}

static fd_status run(fd_ctx *ctx, const fd_call *c) {
    const fd_buf *x = &c->in[0], *y = &c->out[0];
    const int64_t n = fd_count(y->s);
    filter f = {{0, 0, 0, 0}, c->attr.gain, c->attr.ntaps, c->attr.pad, c->attr.up};
    for (int k = 0; k < f.ntaps; k++) f.taps[k] = c->attr.taps[k];
    const int v = vector_of(y->s.c);
    auto kernel = v == 8 ? filter_pixels<8> : filter_pixels<1>;
    FD_LAUNCH(kernel, grid_of(n / v), dim3(THREADS), 0, as_operand(*y), as_operand(*x), n, (int)y->s.c, (int)x->s.h,
              (int)x->s.w, (int)y->s.h, (int)y->s.w, f);
    return fd_cuda_launched(ctx);
}

const fd_kernel fd_cuda_resample = {NULL, run, NULL};
