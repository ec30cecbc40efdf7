#include "train/pairs.h"

#include <string.h>

#include "base/interrupt.h"
#include "base/progress.h"
#include "base/rng.h"

/* Generated pictures have small seeds, evaluations those from a million on: here the highest bit is set. */
static uint64_t first_seed(uint64_t seed) { return 1ull << 63 | (seed & 0x7fffffff) << 32; }

static uint64_t seed_of(const fd_pairs *p, int64_t round, int i) {
    return p->seed + (uint64_t)(round * p->batch + p->first + i);
}

static bool tick(void *bar, int64_t done) {
    fd_progress_update(bar, done, NULL);
    return !fd_interrupted();
}

fd_status fd_pairs_make(fd_ctx *ctx, fd_denoiser *teacher, const fd_sampler *s, int64_t n, int batch, const fd_share *share,
                        uint64_t seed, fd_pairs *out) {
    const fd_shape x = fd_denoiser_shape(teacher);
    *out = (fd_pairs){.rounds = (n + batch - 1) / batch, .mine = share->mine, .first = share->first, .batch = batch,
                      .pixels = x.c * x.h * x.w, .seed = first_seed(seed), .label_dim = fd_denoiser_net(teacher)->config.label_dim};
    const int64_t all = out->rounds * out->mine;
    uint64_t *seeds;
    FD_NEW(ctx, &out->arena, out->images, fd_mul_size((size_t)all, (size_t)out->pixels));
    FD_NEW(ctx, &out->arena, out->classes, all);
    FD_NEW(ctx, &out->arena, seeds, all);
    for (int64_t k = 0; k < all; k++) seeds[k] = seed_of(out, k / out->mine, (int)(k % out->mine));
    fd_progress bar;
    fd_progress_start(ctx, &bar, "making pairs", "images", all);
    FD_TRY(fd_sample_seeds(ctx, s, teacher, seeds, NULL, all, out->images, out->classes, tick, &bar));
    fd_progress_end(&bar);
    return FD_OK;
}

void fd_pairs_free(fd_pairs *p) {
    fd_arena_free(&p->arena);
    *p = (fd_pairs){0};
}

void fd_pairs_batch(const fd_pairs *p, int64_t iteration, float *z, float *labels, float *images) {
    const int64_t round = iteration % p->rounds;
    if (labels) memset(labels, 0, sizeof *labels * (size_t)p->mine * (size_t)p->label_dim);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < p->mine; i++) {
        const fd_rng latent = {seed_of(p, round, i), FD_RNG_LATENT, 0};
        const uint8_t *from = p->images + (round * p->mine + i) * p->pixels;
        float *to = images + i * p->pixels;
        fd_rng_normals(&latent, 0, (size_t)p->pixels, z + i * p->pixels);
        for (int64_t k = 0; k < p->pixels; k++) to[k] = (float)from[k] / 127.5f - 1;
        if (labels) labels[(int64_t)i * p->label_dim + p->classes[round * p->mine + i]] = 1;
    }
}
