/* kernel.cuh — what the kernels share: operands of either number type, vectors of them, sums over a block.
 *
 * Reads and writes go through load and store: V consecutive elements, 8 where sizes allow (16 bytes of bf16, 32 of f32),
 * else 1. The type is a branch that all threads take alike; kernels that wait for memory do not feel it, and one kernel
 * serves every mix of types. Arithmetic is f32 throughout.
 */
#ifndef FD_CUDA_KERNEL_CUH
#define FD_CUDA_KERNEL_CUH

#include <math.h>

#include <cuda_runtime.h>

#include "cuda/cuda.h"
#include "cuda/launch.cuh"

enum { WARP = 32, THREADS = 256 };
#define FULL_WARP 0xffffffffu

struct operand {
    void *p;
    int half;      /* 1: bf16, 0: f32 */
};

static inline operand as_operand(const fd_buf &b) { return operand{b.p, b.dt == FD_BF16}; }
static inline bool has(const fd_buf &b) { return fd_count(b.s) > 0; }
static inline int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
/* One-dimensional grid for n threads. */
static inline dim3 grid_of(int64_t n) { return dim3((unsigned)div_up(n, THREADS)); }
/* Elements per access for runs of `run` consecutive elements that start on vector borders. */
static inline int vector_of(int64_t run) { return run % 8 == 0 ? 8 : 1; }

static __device__ __forceinline__ float from_bf16(uint32_t bits) { return __uint_as_float(bits << 16); }
/* Round to nearest even; NaN stays NaN. */
static __device__ __forceinline__ uint32_t to_bf16(float f) {
    uint32_t u = __float_as_uint(f);
    if ((u & 0x7fffffffu) > 0x7f800000u) return u >> 16 | 0x40u;
    return (u + 0x7fffu + (u >> 16 & 1u)) >> 16;
}

static __device__ __forceinline__ float get(const operand &t, int64_t i) {
    return t.half ? from_bf16(((const uint16_t *)t.p)[i]) : ((const float *)t.p)[i];
}
static __device__ __forceinline__ void put(const operand &t, int64_t i, float v) {
    if (t.half) ((uint16_t *)t.p)[i] = (uint16_t)to_bf16(v);
    else ((float *)t.p)[i] = v;
}

/* v = elements i … i+V-1; i is a multiple of V. */
template <int V>
static __device__ __forceinline__ void load(const operand &t, int64_t i, float (&v)[V]) {
    if (V == 1) {
        v[0] = get(t, i);
    } else if (t.half) {
        for (int k = 0; k < V; k += 8) {
            uint4 w = *(const uint4 *)((const uint16_t *)t.p + i + k);
            const uint32_t u[4] = {w.x, w.y, w.z, w.w};
            for (int j = 0; j < 4; j++) {
                v[k + 2 * j] = from_bf16(u[j] & 0xffffu);
                v[k + 2 * j + 1] = from_bf16(u[j] >> 16);
            }
        }
    } else {
        for (int k = 0; k < V; k += 4) {
            float4 w = *(const float4 *)((const float *)t.p + i + k);
            v[k] = w.x, v[k + 1] = w.y, v[k + 2] = w.z, v[k + 3] = w.w;
        }
    }
}
template <int V>
static __device__ __forceinline__ void store(const operand &t, int64_t i, const float (&v)[V]) {
    if (V == 1) {
        put(t, i, v[0]);
    } else if (t.half) {
        for (int k = 0; k < V; k += 8) {
            uint32_t u[4];
            for (int j = 0; j < 4; j++) u[j] = to_bf16(v[k + 2 * j]) | to_bf16(v[k + 2 * j + 1]) << 16;
            *(uint4 *)((uint16_t *)t.p + i + k) = make_uint4(u[0], u[1], u[2], u[3]);
        }
    } else {
        for (int k = 0; k < V; k += 4)
            *(float4 *)((float *)t.p + i + k) = make_float4(v[k], v[k + 1], v[k + 2], v[k + 3]);
    }
}

static __device__ __forceinline__ float sigmoid(float v) { return 1.0f / (1.0f + expf(-v)); }
static __device__ __forceinline__ float silu(float v) { return v * sigmoid(v); }
/* d silu / dv = s (1 + v (1 - s)) */
static __device__ __forceinline__ float silu_slope(float v) {
    float s = sigmoid(v);
    return s * (1.0f + v * (1.0f - s));
}

/* Sum over the lanes of a warp, in all of them; always in the same order. */
template <class T>
static __device__ __forceinline__ T warp_sum(T v) {
    for (int k = WARP / 2; k; k /= 2) v += __shfl_xor_sync(FULL_WARP, v, k);
    return v;
}
/* Sum over the block, in thread 0; `scratch` holds one T per warp and is free again after the next barrier. */
template <class T>
static __device__ __forceinline__ T block_sum(T v, T *scratch) {
    const int warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    v = warp_sum(v);
    if (threadIdx.x % WARP == 0) scratch[warp] = v;
    __syncthreads();
    T sum = 0;
    if (threadIdx.x == 0)
        for (int k = 0; k < warps; k++) sum += scratch[k];
    return sum;
}

#endif
