#include "train/feed.h"

#include <string.h>

/* A permutation of [0, 2^bits) from a few keyed mixing rounds: a Feistel network on two halves of the index. Values
 * outside [0, n) are walked on until they fall inside (on average less than four steps, since 2^bits < 4n). */
static uint64_t permute(uint64_t seed, uint64_t epoch, uint64_t i, uint64_t n) {
    int half = 1;
    while (half < 31 && (1ull << 2 * half) < n) half++;
    uint32_t mask = (1u << half) - 1;
    do {
        uint32_t l = (uint32_t)(i >> half) & mask, r = (uint32_t)i & mask;
        for (uint32_t round = 0; round < 4; round++) {
            uint32_t word[4];
            fd_rng stream = {seed, FD_RNG_SHUFFLE, epoch};
            fd_rng_words(&stream, (uint64_t)round << 32 | r, word);
            uint32_t next = (l ^ word[0]) & mask;
            l = r;
            r = next;
        }
        i = (uint64_t)l << half | r;
    } while (i >= n);
    return i;
}

int64_t fd_feed_index(const fd_feed *f, uint64_t k) {
    uint64_t n = (uint64_t)f->data->n;
    return (int64_t)permute(f->seed, k / n, k % n, n);
}

fd_status fd_feed_images(fd_ctx *ctx, const fd_feed *f, uint64_t k, int n, float *images, float *labels) {
    const fd_dataset *d = f->data;
    int64_t pixels = (int64_t)d->c * d->h * d->w;
    fd_arena a = {0};
    uint8_t *raw = fd_arena_alloc(ctx, &a, (size_t)pixels);
    fd_status s = raw ? FD_OK : FD_E_NOMEM;
    for (int i = 0; s == FD_OK && i < n; i++) {
        s = fd_dataset_get(ctx, d, fd_feed_index(f, k + (uint64_t)i), raw, labels ? labels + (int64_t)i * d->label_dim : NULL);
        float *x = images + i * pixels;
        for (int64_t p = 0; p < pixels; p++) x[p] = (float)raw[p] / 127.5f - 1;
    }
    fd_arena_free(&a);
    return s;
}

void fd_feed_normals(uint64_t seed, fd_rng_purpose purpose, uint64_t k, int n, int64_t count, float *out) {
#pragma omp parallel for schedule(static)
    for (int i = 0; i < n; i++) {
        fd_rng r = {seed, purpose, k + (uint64_t)i};
        fd_rng_normals(&r, 0, (size_t)count, out + i * count);
    }
}
