/* add_parts.cuh — the second half of sums that several blocks share: their parts are added in order, so that a result is
 * the same in every run. */
#ifndef FD_CUDA_ADD_PARTS_CUH
#define FD_CUDA_ADD_PARTS_CUH

#include "cuda/kernel.cuh"

/* acc[i] += sum over p of part[p][i], i < n */
static __global__ void add_parts_kernel(float *acc, const float *part, int parts, int64_t n) {
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float sum = 0;
    for (int p = 0; p < parts; p++) sum += part[p * n + i];
    acc[i] += sum;
}

static inline void add_parts(float *acc, const float *part, int parts, int64_t n) {
    FD_LAUNCH(add_parts_kernel, grid_of(n), dim3(THREADS), 0, acc, part, parts, n);
}

#endif
