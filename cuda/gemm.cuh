/* gemm.cuh — a tiled matrix product whose operands are read through functions: a convolution and its
 * two gradients are the same loop with different addresses.
 *
 *   out(m, n, sum_k a(m, k) b(n, k))      m < M, n < N, k in the part of K that blockIdx.z names
 *
 * A block of 256 threads makes 64 x 64 results, 16 terms at a time from shared memory; a thread has 4 x 4 of them. Sums run
 * over k in order, so a result does not depend on the tile it lies in.
 */
#ifndef FD_CUDA_GEMM_CUH
#define FD_CUDA_GEMM_CUH

#include "cuda/kernel.cuh"

enum { TILE = 64, DEPTH = 16, PITCH = TILE + 4 };
static const size_t gemm_shared = 2 * DEPTH * PITCH * sizeof(float);

/* A, B: __device__ float operator()(int64_t row, int64_t k), and rows_first: neighbouring rows, not neighbouring k, lie
 * together in memory. Out: __device__ void operator()(int64_t m, int64_t n, float). */
template <class A, class B, class Out>
static __global__ void gemm(A a, B b, Out out, int64_t M, int64_t N, int64_t K, int64_t part) {
    FD_SHARED(float, left);
    float *right = left + DEPTH * PITCH;
    const int64_t m0 = (int64_t)blockIdx.x * TILE, n0 = (int64_t)blockIdx.y * TILE;
    const int64_t from = blockIdx.z * part, to = from + part < K ? from + part : K;
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    float sum[4][4] = {};
    for (int64_t k0 = from; k0 < to; k0 += DEPTH) {
        for (int i = threadIdx.x; i < TILE * DEPTH; i += THREADS) {
            const int ka = A::rows_first ? i / TILE : i % DEPTH, ra = A::rows_first ? i % TILE : i / DEPTH;
            const int kb = B::rows_first ? i / TILE : i % DEPTH, rb = B::rows_first ? i % TILE : i / DEPTH;
            left[ka * PITCH + ra] = m0 + ra < M && k0 + ka < to ? a(m0 + ra, k0 + ka) : 0.0f;
            right[kb * PITCH + rb] = n0 + rb < N && k0 + kb < to ? b(n0 + rb, k0 + kb) : 0.0f;
        }
        __syncthreads();
        for (int k = 0; k < DEPTH; k++) {
            const float4 x = *(const float4 *)(left + k * PITCH + 4 * ty), y = *(const float4 *)(right + k * PITCH + 4 * tx);
            const float u[4] = {x.x, x.y, x.z, x.w}, v[4] = {y.x, y.y, y.z, y.w};
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++) sum[i][j] += u[i] * v[j];
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            const int64_t m = m0 + 4 * ty + i, n = n0 + 4 * tx + j;
            if (m < M && n < N) out(m, n, sum[i][j]);
        }
}

/* parts > 1: K is shared out among blocks; `out` then sees each part's sum with blockIdx.z as its number. */
template <class A, class B, class Out>
static void run_gemm(A a, B b, Out out, int64_t M, int64_t N, int64_t K, int parts) {
    const int64_t part = div_up(div_up(K, parts), DEPTH) * DEPTH;
    auto kernel = gemm<A, B, Out>;
    FD_LAUNCH(kernel, dim3((unsigned)div_up(M, TILE), (unsigned)div_up(N, TILE), (unsigned)parts), dim3(THREADS), gemm_shared, a, b,
              out, M, N, K, part);
}

#endif
