#include "eval/kid.h"

#include <math.h>
#include <omp.h>

#include "base/arena.h"
#include "base/interrupt.h"
#include "base/rng.h"
#include "eval/blas.h"

#define BLOCK 512

/* Rows index[from …] (or from … themselves) of x as doubles. */
static void gather(const float *x, int d, const int64_t *index, int64_t from, int n, double *out) {
    for (int i = 0; i < n; i++) {
        const float *row = x + (index ? index[from + i] : from + i) * d;
        for (int k = 0; k < d; k++) out[(size_t)i * (size_t)d + (size_t)k] = row[k];
    }
}

/* One block of the kernel's sum: rows i… of x with rows j… of y. a, b [BLOCK][d], k [BLOCK][BLOCK]. */
static double block_sum(const float *x, const int64_t *ix, int64_t nx, int64_t i, const float *y, const int64_t *iy,
                        int64_t ny, int64_t j, int d, bool same, double *a, double *b, double *k) {
    int m = nx - i < BLOCK ? (int)(nx - i) : BLOCK, n = ny - j < BLOCK ? (int)(ny - j) : BLOCK;
    double sum = 0;
    gather(x, d, ix, i, m, a);
    gather(y, d, iy, j, n, b);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, d, 1.0 / d, a, d, b, d, 0, k, n);
    for (int p = 0; p < m; p++) {
        double row = 0;
        for (int q = 0; q < n; q++) {
            double v = k[p * n + q] + 1;
            if (!same || i + p != j + q) row += v * v * v;
        }
        sum += row;
    }
    return same && j > i ? 2 * sum : sum;           /* the kernel is symmetric: upper blocks count twice */
}

/* What all sums share: memory for every thread, and the sums of one row of blocks. */
typedef struct {
    int d, threads;
    double *a, *b, *k;               /* per thread */
    double *part;                    /* of a row of blocks, added in their order */
} space;

/* Sum of the kernel over all pairs; with `same` the pairs of a sample with itself are left out. */
static double kernel_sum(const float *x, const int64_t *ix, int64_t nx, const float *y, const int64_t *iy, int64_t ny,
                         bool same, const space *s) {
    const int64_t columns = (ny + BLOCK - 1) / BLOCK;
    const size_t rows = (size_t)BLOCK * (size_t)s->d;
    double total = 0;
    for (int64_t i = 0; i < nx && !fd_interrupted(); i += BLOCK) {
        const int64_t first = same ? i / BLOCK : 0;
#pragma omp parallel for schedule(dynamic, 1) num_threads(s->threads)
        for (int64_t j = first; j < columns; j++) {
            const size_t t = (size_t)omp_get_thread_num();
            s->part[j] = block_sum(x, ix, nx, i, y, iy, ny, j * BLOCK, s->d, same, s->a + t * rows, s->b + t * rows,
                                   s->k + t * BLOCK * BLOCK);
        }
        for (int64_t j = first; j < columns; j++) total += s->part[j];
    }
    return total;
}

static double mmd(const float *x, const int64_t *ix, int64_t nx, const float *y, const int64_t *iy, int64_t ny,
                  const space *s) {
    double m = (double)nx, n = (double)ny;
    int before = fd_blas_fix(1);     /* the threads are ours */
    double v = kernel_sum(x, ix, nx, x, ix, nx, true, s) / (m * (m - 1)) +
               kernel_sum(y, iy, ny, y, iy, ny, true, s) / (n * (n - 1)) -
               2 * kernel_sum(x, ix, nx, y, iy, ny, false, s) / (m * n);
    fd_blas_restore(before);
    return v;
}

static fd_status check(fd_ctx *ctx, const char *which, const float *x, int64_t n, int d) {
    if (n < 2 || d < 1)
        return FD_FAIL(ctx, FD_E_ARG, "KID: %s has %lld samples of %d features, need at least 2 of 1", which,
                       (long long)n, d);
    for (int64_t i = 0; i < n * d; i++)
        if (!isfinite(x[i]))
            return FD_FAIL(ctx, FD_E_NUMERIC, "KID: %s, sample %lld, feature %d is %g", which, (long long)(i / d),
                           (int)(i % d), x[i]);
    return FD_OK;
}

static fd_status scratch(fd_ctx *ctx, fd_arena *arena, int d, int64_t most, space *s) {
    *s = (space){.d = d, .threads = ctx->threads > 0 ? ctx->threads : omp_get_max_threads()};
    int64_t columns = (most + BLOCK - 1) / BLOCK;
    if (s->threads > columns) s->threads = (int)columns;
    FD_NEW(ctx, arena, s->a, fd_mul_size((size_t)s->threads * BLOCK, (size_t)d));
    FD_NEW(ctx, arena, s->b, fd_mul_size((size_t)s->threads * BLOCK, (size_t)d));
    FD_NEW(ctx, arena, s->k, (size_t)s->threads * BLOCK * BLOCK);
    FD_NEW(ctx, arena, s->part, columns);
    return FD_OK;
}

fd_status fd_kid(fd_ctx *ctx, const float *x, int64_t nx, const float *y, int64_t ny, int d, double *out) {
    FD_TRY(check(ctx, "the reference set", x, nx, d));
    FD_TRY(check(ctx, "the generated set", y, ny, d));
    fd_arena arena = {0};
    space w;
    fd_status s = scratch(ctx, &arena, d, nx > ny ? nx : ny, &w);
    if (s == FD_OK) *out = mmd(x, NULL, nx, y, NULL, ny, &w);
    if (s == FD_OK && fd_interrupted()) s = FD_FAIL(ctx, FD_E_CANCELLED, "interrupted during KID");
    fd_arena_free(&arena);
    return s;
}

static fd_status over_subsets(fd_ctx *ctx, fd_arena *arena, const float *x, const float *y, int d, int subsets,
                              int size, const int64_t *ix, const int64_t *iy, fd_kid_result *out) {
    double *v, sum = 0, sq = 0;
    space w;
    FD_TRY(scratch(ctx, arena, d, size, &w));
    FD_NEW(ctx, arena, v, subsets);
    for (int s = 0; s < subsets; s++) {
        v[s] = mmd(x, ix + (int64_t)s * size, size, y, iy + (int64_t)s * size, size, &w);
        sum += v[s];
    }
    if (fd_interrupted()) return FD_FAIL(ctx, FD_E_CANCELLED, "interrupted during KID");
    for (int s = 0; s < subsets; s++) sq += (v[s] - sum / subsets) * (v[s] - sum / subsets);
    *out = (fd_kid_result){.mean = sum / subsets, .std = sqrt(sq / subsets)};
    return FD_OK;
}

fd_status fd_kid_subsets(fd_ctx *ctx, const float *x, int64_t nx, const float *y, int64_t ny, int d, int subsets,
                         int size, const int64_t *ix, const int64_t *iy, fd_kid_result *out) {
    FD_TRY(check(ctx, "the reference set", x, nx, d));
    FD_TRY(check(ctx, "the generated set", y, ny, d));
    if (subsets < 1 || size < 2)
        return FD_FAIL(ctx, FD_E_ARG, "KID: %d subsets of %d samples, need at least 1 of 2", subsets, size);
    for (int64_t i = 0; i < (int64_t)subsets * size; i++)
        if (ix[i] < 0 || ix[i] >= nx || iy[i] < 0 || iy[i] >= ny)
            return FD_FAIL(ctx, FD_E_ARG, "KID: index %lld of a subset is outside its set", (long long)i);
    fd_arena arena = {0};
    fd_status s = over_subsets(ctx, &arena, x, y, d, subsets, size, ix, iy, out);
    fd_arena_free(&arena);
    return s;
}

/* The first `size` places of a Fisher-Yates shuffle of 0 … n-1. */
static void draw(const fd_rng *r, int64_t n, int size, int64_t *order, int64_t *out) {
    for (int64_t i = 0; i < n; i++) order[i] = i;
    for (int i = 0; i < size; i++) {
        int64_t j = i + (int64_t)fd_rng_below(r, (uint64_t)i, (uint64_t)(n - i)), keep = order[i];
        out[i] = order[j];
        order[j] = keep;
    }
}

static fd_status draw_all(fd_ctx *ctx, fd_arena *arena, int64_t nx, int64_t ny, int subsets, int size, uint64_t seed,
                          int64_t **ix, int64_t **iy) {
    int64_t *order;
    FD_NEW(ctx, arena, *ix, (size_t)subsets * (size_t)size);
    FD_NEW(ctx, arena, *iy, (size_t)subsets * (size_t)size);
    FD_NEW(ctx, arena, order, nx > ny ? nx : ny);
    for (int s = 0; s < subsets; s++) {
        fd_rng r = {.seed = seed, .purpose = FD_RNG_SUBSET, .index = 2 * (uint64_t)s};
        draw(&r, nx, size, order, *ix + (int64_t)s * size);
        r.index++;
        draw(&r, ny, size, order, *iy + (int64_t)s * size);
    }
    return FD_OK;
}

fd_status fd_kid_random(fd_ctx *ctx, const float *x, int64_t nx, const float *y, int64_t ny, int d, int subsets,
                        int size, uint64_t seed, fd_kid_result *out) {
    if (size > nx) size = (int)nx;
    if (size > ny) size = (int)ny;
    if (subsets < 1 || size < 2)
        return FD_FAIL(ctx, FD_E_ARG, "KID: %d subsets of %d samples, need at least 1 of 2", subsets, size);
    fd_arena arena = {0};
    int64_t *ix, *iy;
    fd_status s = draw_all(ctx, &arena, nx, ny, subsets, size, seed, &ix, &iy);
    if (s == FD_OK) s = fd_kid_subsets(ctx, x, nx, y, ny, d, subsets, size, ix, iy, out);
    fd_arena_free(&arena);
    return s;
}
