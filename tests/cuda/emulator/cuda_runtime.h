/* cuda_runtime.h — what kernels see of an emulated device: qualifiers, vectors, indices, barriers, shuffles, intrinsics.
 * Every thread of a block is a fiber; emulator.cpp schedules them. */
#ifndef FD_EMULATOR_CUDA_RUNTIME_H
#define FD_EMULATOR_CUDA_RUNTIME_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "cuda_runtime_api.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
static inline float4 make_float4(float x, float y, float z, float w) { return float4{x, y, z, w}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return uint4{x, y, z, w}; }

namespace emulator {
extern uint3 thread_index, block_index;
extern dim3 block_size, grid_size;
void *shared_memory();
/* Waits for all threads of the block, or of the warp; `line` names the barrier: all must be at the same one. */
void block_barrier(int line);
/* Puts `bits` where the warp can see them, waits for the warp, returns what lane `from` put there. */
uint64_t exchange(uint64_t bits, int from, unsigned mask, int line);
int lane();
template <class T>
T shuffle(T v, int from, unsigned mask, int line) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "a shuffle moves 4 or 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &v, sizeof v);
    bits = exchange(bits, from, mask, line);
    memcpy(&v, &bits, sizeof v);
    return v;
}
}

#define threadIdx emulator::thread_index
#define blockIdx emulator::block_index
#define blockDim emulator::block_size
#define gridDim emulator::grid_size
#define __syncthreads() emulator::block_barrier(__LINE__)
#define __syncwarp() ((void)emulator::exchange(0, emulator::lane(), 0xffffffffu, __LINE__))
#define __shfl_xor_sync(mask, v, x) emulator::shuffle(v, emulator::lane() ^ (x), mask, __LINE__)
#define __shfl_sync(mask, v, from) emulator::shuffle(v, from, mask, __LINE__)

static inline float __uint_as_float(unsigned u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}
static inline unsigned __float_as_uint(float f) {
    unsigned u;
    memcpy(&u, &f, sizeof u);
    return u;
}
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
/* Compiled without contraction, as these are on the device. */
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }

#endif
