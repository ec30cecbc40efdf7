/* conv2d, conv2d_bwd_x, conv2d_bwd_w: cuDNN where it is there and has a plan, else the matrix product of gemm.cuh over
 * windows that are gathered on the fly. */
#include "cuda/add_parts.cuh"
#include "cuda/conv.h"
#include "cuda/gemm.cuh"

struct geometry {
    int N, C, H, W, K, R, S, Ho, Wo, stride, pad, pad_w;
};

static geometry geometry_of(const fd_call *c, const fd_buf &x, const fd_shape &w, const fd_buf &y) {
    return geometry{(int)x.s.n, (int)x.s.c, (int)x.s.h, (int)x.s.w, (int)w.n,       (int)w.h,
                    (int)w.w,   (int)y.s.h, (int)y.s.w, c->attr.stride, c->attr.pad, c->attr.pad_w};
}

/* ---- operands of the products ------------------------------------------------------------------------------------ */

/* Row: output pixel; k: (window position, channel). */
struct window_of_output {
    static const bool rows_first = false;
    operand x;
    geometry g;
    __device__ float operator()(int64_t row, int64_t k) const {
        const int p = (int)row, q = (int)k, c = q % g.C, rs = q / g.C;
        const int y = p / g.Wo % g.Ho * g.stride + rs / g.S - g.pad, z = p % g.Wo * g.stride + rs % g.S - g.pad_w;
        if (y < 0 || z < 0 || y >= g.H || z >= g.W) return 0.0f;
        return get(x, (((int64_t)(p / (g.Ho * g.Wo)) * g.H + y) * g.W + z) * g.C + c);
    }
};
/* Row: output channel; k: (window position, channel). */
struct filter_by_output {
    static const bool rows_first = false;
    const float *w;
    geometry g;
    __device__ float operator()(int64_t row, int64_t k) const {
        const int q = (int)k;
        return w[(row * g.C + q % g.C) * (g.R * g.S) + q / g.C];
    }
};
/* Row: input pixel; k: (window position, output channel): the outputs whose window held this pixel there. */
struct outputs_of_input {
    static const bool rows_first = false;
    operand dy;
    geometry g;
    __device__ float operator()(int64_t row, int64_t k) const {
        const int p = (int)row, q = (int)k, c = q % g.K, rs = q / g.K;
        const int y = p / g.W % g.H + g.pad - rs / g.S, z = p % g.W + g.pad_w - rs % g.S;
        if (y < 0 || z < 0 || y % g.stride || z % g.stride || y / g.stride >= g.Ho || z / g.stride >= g.Wo) return 0.0f;
        return get(dy, (((int64_t)(p / (g.H * g.W)) * g.Ho + y / g.stride) * g.Wo + z / g.stride) * g.K + c);
    }
};
/* Row: input channel; k: (window position, output channel). */
struct filter_by_input {
    static const bool rows_first = true;
    const float *w;
    geometry g;
    __device__ float operator()(int64_t row, int64_t k) const {
        const int q = (int)k;
        return w[((int64_t)(q % g.K) * g.C + row) * (g.R * g.S) + q / g.K];
    }
};
/* Row: output channel; k: output pixel. */
struct gradient_by_channel {
    static const bool rows_first = true;
    operand dy;
    geometry g;
    __device__ float operator()(int64_t row, int64_t k) const { return get(dy, k * g.K + row); }
};
/* Row: (window position, channel); k: output pixel. */
struct window_by_position {
    static const bool rows_first = true;
    window_of_output window;
    __device__ float operator()(int64_t row, int64_t k) const { return window(k, row); }
};

struct store_pixel {
    operand y;
    const float *bias;
    int channels, relu;
    __device__ void operator()(int64_t m, int64_t n, float v) const {
        if (bias) v += bias[n];
        put(y, m * channels + n, relu && v < 0.0f ? 0.0f : v);
    }
};
/* Partial sums of a part of the pixels, in the parameters' order. */
struct store_filter {
    float *part;
    geometry g;
    __device__ void operator()(int64_t m, int64_t n, float v) const {
        const int q = (int)n, rs = g.R * g.S;
        part[(int64_t)blockIdx.z * g.K * g.C * rs + (m * g.C + q % g.C) * rs + q / g.C] = v;
    }
};

/* ---- bias and filters -------------------------------------------------------------------------------------------- */

static __global__ void sum_pixels(float *part, operand dy, int64_t pixels, int64_t channels, int64_t each) {
    FD_SHARED(float, scratch);
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    const int64_t c = (int64_t)blockIdx.x * WARP + lane, from = blockIdx.y * each, to = from + each < pixels ? from + each : pixels;
    float sum = 0;
    if (c < channels)
        for (int64_t i = from + warp; i < to; i += warps) sum += get(dy, i * channels + c);
    scratch[threadIdx.x] = sum;
    __syncthreads();
    if (warp || c >= channels) return;
    sum = 0;
    for (int k = 0; k < warps; k++) sum += scratch[k * WARP + lane];
    part[blockIdx.y * channels + c] = sum;
}
void fd_cuda_bias_gradient(float *db, const fd_buf *dy, float *scratch) {
    const int64_t pixels = dy->s.n * fd_pixels(dy->s), each = div_up(pixels, FD_BIAS_PARTS);
    const int parts = (int)div_up(pixels, each);
    dim3 grid((unsigned)div_up(dy->s.c, WARP), (unsigned)parts);
    FD_LAUNCH(sum_pixels, grid, dim3(THREADS), THREADS * sizeof(float), scratch, as_operand(*dy), pixels, dy->s.c, each);
    add_parts(db, scratch, parts, dy->s.c);
}

static __global__ void finish(operand y, const float *b, int relu, int64_t n, int64_t channels) {
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float v = get(y, i) + (b ? b[i % channels] : 0.0f);
    put(y, i, relu && v < 0.0f ? 0.0f : v);
}
void fd_cuda_finish_conv(const fd_buf *y, const float *b, bool relu) {
    const int64_t n = fd_count(y->s);
    if (b || relu) FD_LAUNCH(finish, grid_of(n), dim3(THREADS), 0, as_operand(*y), b, (int)relu, n, y->s.c);
}

/* packed[k][rs][c] = w[k][c][rs], or w += packed */
static __global__ void repack(operand packed, float *w, int64_t n, int64_t channels, int64_t window, int add) {
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const int64_t c = i % channels, rs = i / channels % window, k = i / channels / window, at = (k * channels + c) * window + rs;
    if (add) w[at] += get(packed, i);
    else put(packed, i, w[at]);
}
static void run_repack(void *packed, fd_dtype dt, float *w, fd_shape s, int add) {
    FD_LAUNCH(repack, grid_of(fd_count(s)), dim3(THREADS), 0, operand{packed, dt == FD_BF16}, w, fd_count(s), s.c, s.h * s.w, add);
}
void fd_cuda_pack_filter(void *to, fd_dtype dt, const float *w, fd_shape s) {
    run_repack(to, dt, const_cast<float *>(w), s, 0);
}
void fd_cuda_add_filter(float *dw, const void *from, fd_dtype dt, fd_shape s) {
    run_repack(const_cast<void *>(from), dt, dw, s, 1);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

/* The tiled kernels count in int. */
static fd_status prepare_tiled(fd_ctx *ctx, fd_call *c, const fd_buf &x, const fd_buf &y, size_t work_bytes) {
    if (fd_count(x.s) > INT32_MAX || fd_count(y.s) > INT32_MAX)
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "more than 2^31 numbers in one value; use a smaller batch per pass");
    c->algo = "tiled";
    c->work_bytes = work_bytes;
    return FD_OK;
}
static fd_status prepare(fd_ctx *ctx, fd_call *c) {
    fd_status s = fd_cudnn_prepare(ctx, c, FD_CONV_FORWARD);
    return s == FD_E_UNSUPPORTED && ctx->code == FD_OK ? prepare_tiled(ctx, c, c->in[0], c->out[0], 0) : s;
}
static fd_status run(fd_ctx *ctx, const fd_call *c) {
    if (c->state) return fd_cudnn_run(ctx, c, FD_CONV_FORWARD);
    const fd_buf *x = &c->in[0], *y = &c->out[0];
    const geometry g = geometry_of(c, *x, c->in[1].s, *y);
    run_gemm(window_of_output{as_operand(*x), g}, filter_by_output{(const float *)c->in[1].p, g},
             store_pixel{as_operand(*y), (const float *)c->in[2].p, g.K, c->attr.act}, (int64_t)g.N * g.Ho * g.Wo, g.K, (int64_t)g.R * g.S * g.C, 1);
    return fd_cuda_launched(ctx);
}

static fd_status prepare_bwd_x(fd_ctx *ctx, fd_call *c) {
    fd_status s = fd_cudnn_prepare(ctx, c, FD_CONV_BWD_X);
    return s == FD_E_UNSUPPORTED && ctx->code == FD_OK ? prepare_tiled(ctx, c, c->out[0], c->in[0], 0) : s;
}
static fd_status run_bwd_x(fd_ctx *ctx, const fd_call *c) {
    if (c->state) return fd_cudnn_run(ctx, c, FD_CONV_BWD_X);
    const fd_buf *dy = &c->in[0], *dx = &c->out[0];
    const geometry g = geometry_of(c, *dx, c->in[1].s, *dy);
    run_gemm(outputs_of_input{as_operand(*dy), g}, filter_by_input{(const float *)c->in[1].p, g},
             store_pixel{as_operand(*dx), NULL, g.C, 0}, (int64_t)g.N * g.H * g.W, g.C, (int64_t)g.R * g.S * g.K, 1);
    return fd_cuda_launched(ctx);
}

/* Parts of the pixels: as many as fill a large device, each of some hundred pixels at least. */
static int parts_of(const fd_shape &w, int64_t pixels) {
    const int64_t tiles = div_up(w.n, TILE) * div_up(w.c * w.h * w.w, TILE), wanted = div_up(512, tiles), most = div_up(pixels, 256);
    return (int)(wanted < most ? wanted : most);
}
static fd_status prepare_bwd_w(fd_ctx *ctx, fd_call *c) {
    fd_status s = fd_cudnn_prepare(ctx, c, FD_CONV_BWD_W);
    if (s != FD_E_UNSUPPORTED || ctx->code != FD_OK) return s;
    const fd_buf *dy = &c->in[0];
    const fd_shape w = c->out[0].s;
    const size_t parts = (size_t)parts_of(w, dy->s.n * fd_pixels(dy->s)) * (size_t)fd_count(w);
    return prepare_tiled(ctx, c, c->in[1], *dy, (parts + FD_BIAS_PARTS * (size_t)dy->s.c) * sizeof(float));
}
static fd_status run_bwd_w(fd_ctx *ctx, const fd_call *c) {
    if (c->state) return fd_cudnn_run(ctx, c, FD_CONV_BWD_W);
    const fd_buf *dy = &c->in[0], *x = &c->in[1];
    const fd_shape w = c->out[0].s;
    const geometry g = geometry_of(c, *x, w, *dy);
    const int64_t pixels = (int64_t)g.N * g.Ho * g.Wo, count = fd_count(w);
    const int parts = parts_of(w, pixels);
    float *part = (float *)c->work;
    run_gemm(gradient_by_channel{as_operand(*dy), g}, window_by_position{window_of_output{as_operand(*x), g}},
             store_filter{part, g}, g.K, (int64_t)g.R * g.S * g.C, pixels, parts);
    add_parts((float *)c->out[0].p, part, parts, count);
    if (c->out[1].p) fd_cuda_bias_gradient((float *)c->out[1].p, dy, part + parts * count);
    return fd_cuda_launched(ctx);
}

const fd_kernel fd_cuda_conv2d = {prepare, run, fd_cudnn_release};
const fd_kernel fd_cuda_conv2d_bwd_x = {prepare_bwd_x, run_bwd_x, fd_cudnn_release};
const fd_kernel fd_cuda_conv2d_bwd_w = {prepare_bwd_w, run_bwd_w, fd_cudnn_release};
