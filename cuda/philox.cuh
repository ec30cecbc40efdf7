/* philox.cuh — the counter-based random words of base/rng.h on the device: the same bits. */
#ifndef FD_CUDA_PHILOX_CUH
#define FD_CUDA_PHILOX_CUH

#include "cuda/kernel.cuh"

/* Block `counter` of Philox4x32-10 under `key`, in place. */
static __device__ __forceinline__ void philox(uint32_t (&counter)[4], uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        const uint32_t a_high = __umulhi(0xD2511F53u, counter[0]), a_low = 0xD2511F53u * counter[0];
        const uint32_t b_high = __umulhi(0xCD9E8D57u, counter[2]), b_low = 0xCD9E8D57u * counter[2];
        counter[0] = b_high ^ counter[1] ^ k0;
        counter[2] = a_high ^ counter[3] ^ k1;
        counter[1] = b_low;
        counter[3] = a_low;
    }
}

#endif
