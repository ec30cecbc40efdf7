/* silu, silu_bwd, relu, relu_bwd, softplus, softplus_bwd, add, scale, cast, mix_rows, sq_err_bwd, broadcast_rows: one read of the
 * operands, one write. Layouts agree, so elements are walked in memory order. */
#include "cuda/kernel.cuh"

/* z[i] = f(x[i], y[i], sample of i); absent operands count as 0. `each`: elements of a sample. */
template <int V, class F>
static __global__ void map(operand z, operand x, operand y, int64_t n, int64_t each, F f) {
    const int64_t i = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (i >= n) return;
    float a[V], b[V], v[V];
    for (int k = 0; k < V; k++) a[k] = b[k] = 0;
    if (x.p) load<V>(x, i, a);
    if (y.p) load<V>(y, i, b);
    const int64_t sample = i / each;
    for (int k = 0; k < V; k++) v[k] = f(a[k], b[k], sample);
    store<V>(z, i, v);
}

template <class F>
static fd_status run_map(fd_ctx *ctx, const fd_buf &z, const fd_buf *x, const fd_buf *y, F f) {
    const int64_t n = fd_count(z.s), each = n / z.s.n;
    const operand none = {NULL, 0}, a = x ? as_operand(*x) : none, b = y ? as_operand(*y) : none;
    if (vector_of(each) == 8) {
        auto kernel = map<8, F>;
        FD_LAUNCH(kernel, grid_of(n / 8), dim3(THREADS), 0, as_operand(z), a, b, n, each, f);
    } else {
        auto kernel = map<1, F>;
        FD_LAUNCH(kernel, grid_of(n), dim3(THREADS), 0, as_operand(z), a, b, n, each, f);
    }
    return fd_cuda_launched(ctx);
}

struct silu_map {
    __device__ float operator()(float x, float, int64_t) const { return silu(x); }
};
struct silu_bwd_map {
    __device__ float operator()(float dy, float x, int64_t) const { return dy * silu_slope(x); }
};
struct relu_map {
    __device__ float operator()(float x, float, int64_t) const { return x < 0.0f ? 0.0f : x; }
};
struct relu_bwd_map {
    __device__ float operator()(float dy, float y, int64_t) const { return y > 0.0f ? dy : 0.0f; }
};
struct softplus_map {
    float a;
    __device__ float operator()(float x, float, int64_t) const {
        float v = a * x;
        return fmaxf(v, 0.0f) + log1pf(expf(-fabsf(v)));
    }
};
struct softplus_bwd_map {
    float a;
    __device__ float operator()(float dy, float x, int64_t) const { return dy * a * sigmoid(a * x); }
};
struct add_map {
    float a, b;
    __device__ float operator()(float x, float y, int64_t) const { return a * x + b * y; }
};
/* a[n] x + b[n] y; b absent: only the first term */
struct mix_map {
    const float *a, *b;
    __device__ float operator()(float x, float y, int64_t n) const { return b ? a[n] * x + b[n] * y : a[n] * x; }
};
struct sq_err_bwd_map {
    const float *dloss, *w;
    __device__ float operator()(float d, float y, int64_t n) const { return 2.0f * w[n] * dloss[n] * (d - y); }
};
struct rows_map {
    operand g;
    __device__ float operator()(float, float, int64_t n) const { return get(g, n); }
};

static fd_status run_silu(fd_ctx *ctx, const fd_call *c) { return run_map(ctx, c->out[0], &c->in[0], NULL, silu_map()); }
static fd_status run_silu_bwd(fd_ctx *ctx, const fd_call *c) {
    return run_map(ctx, c->out[0], &c->in[0], &c->in[1], silu_bwd_map());
}
static fd_status run_relu(fd_ctx *ctx, const fd_call *c) { return run_map(ctx, c->out[0], &c->in[0], NULL, relu_map()); }
static fd_status run_relu_bwd(fd_ctx *ctx, const fd_call *c) {
    return run_map(ctx, c->out[0], &c->in[0], &c->in[1], relu_bwd_map());
}
static fd_status run_softplus(fd_ctx *ctx, const fd_call *c) {
    return run_map(ctx, c->out[0], &c->in[0], NULL, softplus_map{c->attr.a});
}
static fd_status run_softplus_bwd(fd_ctx *ctx, const fd_call *c) {
    return run_map(ctx, c->out[0], &c->in[0], &c->in[1], softplus_bwd_map{c->attr.a});
}
static fd_status run_add(fd_ctx *ctx, const fd_call *c) {
    return run_map(ctx, c->out[0], &c->in[0], &c->in[1], add_map{c->attr.a, c->attr.b});
}
static fd_status run_scale(fd_ctx *ctx, const fd_call *c) {
    return run_map(ctx, c->out[0], &c->in[0], NULL, add_map{c->attr.a, 0.0f});
}
static fd_status run_cast(fd_ctx *ctx, const fd_call *c) {
    return run_map(ctx, c->out[0], &c->in[0], NULL, add_map{1.0f, 0.0f});
}
static fd_status run_mix_rows(fd_ctx *ctx, const fd_call *c) {
    const fd_buf *y = c->in[1].p ? &c->in[1] : NULL;
    return run_map(ctx, c->out[0], &c->in[0], y, mix_map{(const float *)c->in[2].p, y ? (const float *)c->in[3].p : NULL});
}
static fd_status run_sq_err_bwd(fd_ctx *ctx, const fd_call *c) {
    return run_map(ctx, c->out[0], &c->in[1], &c->in[2],
                   sq_err_bwd_map{(const float *)c->in[0].p, (const float *)c->in[3].p});
}
static fd_status run_broadcast_rows(fd_ctx *ctx, const fd_call *c) {
    return run_map(ctx, c->out[0], NULL, NULL, rows_map{as_operand(c->in[0])});
}

const fd_kernel fd_cuda_silu = {NULL, run_silu, NULL};
const fd_kernel fd_cuda_silu_bwd = {NULL, run_silu_bwd, NULL};
const fd_kernel fd_cuda_relu = {NULL, run_relu, NULL};
const fd_kernel fd_cuda_relu_bwd = {NULL, run_relu_bwd, NULL};
const fd_kernel fd_cuda_softplus = {NULL, run_softplus, NULL};
const fd_kernel fd_cuda_softplus_bwd = {NULL, run_softplus_bwd, NULL};
const fd_kernel fd_cuda_add = {NULL, run_add, NULL};
const fd_kernel fd_cuda_scale = {NULL, run_scale, NULL};
const fd_kernel fd_cuda_cast = {NULL, run_cast, NULL};
const fd_kernel fd_cuda_mix_rows = {NULL, run_mix_rows, NULL};
const fd_kernel fd_cuda_sq_err_bwd = {NULL, run_sq_err_bwd, NULL};
const fd_kernel fd_cuda_broadcast_rows = {NULL, run_broadcast_rows, NULL};
