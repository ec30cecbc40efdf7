/* dropout: a thread makes one block of four words, which decide four consecutive pixels of a channel; its neighbours are
 * the next channels, so memory is walked in order. Where the pixels do not come in fours, one block per element. */
#include "cuda/philox.cuh"

extern "C" {
#include "base/rng.h"
}

struct mask {
    uint32_t k0, k1, id, least;      /* a word of at least `least` keeps its element */
    float factor;
};

static __device__ __forceinline__ void words_of(const mask &m, const uint32_t *counter, int64_t sample, uint32_t block,
                                                uint32_t (&word)[4]) {
    word[0] = block;
    word[1] = m.id;
    word[2] = counter[2 * sample];
    word[3] = counter[2 * sample + 1];
    philox(word, m.k0, m.k1);
}

/* P pixels per thread: 4, or 1 with its word picked from the block. */
template <int P>
static __global__ void drop(operand y, operand x, const uint32_t *counter, int64_t n, int64_t channels, int64_t hw, mask m) {
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n / P) return;
    const int64_t c = i % channels, group = i / channels, groups = hw / P;
    const int64_t sample = group / groups, pixel = group % groups * P, e = c * hw + pixel;
    uint32_t word[4];
    words_of(m, counter, sample, (uint32_t)(e / 4), word);
    for (int k = 0; k < P; k++) {
        const int64_t at = (sample * hw + pixel + k) * channels + c;
        const uint32_t w = P == 4 ? word[k] : word[e % 4];
        put(y, at, w >= m.least ? get(x, at) * m.factor : 0.0f);
    }
}

static fd_status run(fd_ctx *ctx, const fd_call *c) {
    const fd_buf *x = &c->in[0];
    const int64_t n = fd_count(x->s), hw = fd_pixels(x->s);
    const fd_attr *a = &c->attr;
    /* u >= p with u = (word >> 8) 2^-24 is word >> 8 >= p 2^24 */
    const mask m = {(uint32_t)a->seed, (uint32_t)(a->seed >> 32) ^ FD_RNG_DROPOUT, a->id,
                    (uint32_t)ceil((double)a->p * 0x1p24) << 8, (float)(1.0 / (1.0 - (double)a->p))};
    const int p = hw % 4 == 0 ? 4 : 1;
    auto kernel = p == 4 ? drop<4> : drop<1>;
    FD_LAUNCH(kernel, grid_of(n / p), dim3(THREADS), 0, as_operand(c->out[0]), as_operand(*x), (const uint32_t *)c->in[1].p, n,
              x->s.c, hw, m);
    return fd_cuda_launched(ctx);
}

const fd_kernel fd_cuda_dropout = {NULL, run, NULL};
