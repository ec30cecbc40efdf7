#include "eval/kid.h"

#include <cblas.h>
#include <math.h>

#include "base/arena.h"
#include "base/rng.h"

#define BLOCK 512

/* Rows index[from …] (or from … themselves) of x as doubles. */
static void gather(const float *x, int d, const int64_t *index, int64_t from, int n, double *out) {
    for (int i = 0; i < n; i++) {
        const float *row = x + (index ? index[from + i] : from + i) * d;
        for (int k = 0; k < d; k++) out[(size_t)i * (size_t)d + (size_t)k] = row[k];
    }
}

/* Sum of the kernel over all pairs; with `same` the pairs of a sample with itself are left out. */
static double kernel_sum(const float *x, const int64_t *ix, int64_t nx, const float *y, const int64_t *iy, int64_t ny,
                         int d, bool same, double *a, double *b, double *k) {
    double total = 0;
    for (int64_t i = 0; i < nx; i += BLOCK) {
        int m = nx - i < BLOCK ? (int)(nx - i) : BLOCK;
        gather(x, d, ix, i, m, a);
        for (int64_t j = same ? i : 0; j < ny; j += BLOCK) {
            int n = ny - j < BLOCK ? (int)(ny - j) : BLOCK;
            gather(y, d, iy, j, n, b);
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, d, 1.0 / d, a, d, b, d, 0, k, n);
            double sum = 0;
            for (int p = 0; p < m; p++) {
                double row = 0;
                for (int q = 0; q < n; q++) {
                    double v = k[p * n + q] + 1;
                    if (!same || i + p != j + q) row += v * v * v;
                }
                sum += row;
            }
            total += same && j > i ? 2 * sum : sum;     /* the kernel is symmetric: upper blocks count twice */
        }
    }
    return total;
}

/* a, b [BLOCK][d], k [BLOCK][BLOCK] */
static double mmd(const float *x, const int64_t *ix, int64_t nx, const float *y, const int64_t *iy, int64_t ny, int d,
                  double *a, double *b, double *k) {
    double m = (double)nx, n = (double)ny;
    return kernel_sum(x, ix, nx, x, ix, nx, d, true, a, b, k) / (m * (m - 1)) +
           kernel_sum(y, iy, ny, y, iy, ny, d, true, a, b, k) / (n * (n - 1)) -
           2 * kernel_sum(x, ix, nx, y, iy, ny, d, false, a, b, k) / (m * n);
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

static fd_status scratch(fd_ctx *ctx, fd_arena *arena, int d, double **a, double **b, double **k) {
    FD_NEW(ctx, arena, *a, (size_t)BLOCK * (size_t)d);
    FD_NEW(ctx, arena, *b, (size_t)BLOCK * (size_t)d);
    FD_NEW(ctx, arena, *k, BLOCK * BLOCK);
    return FD_OK;
}

fd_status fd_kid(fd_ctx *ctx, const float *x, int64_t nx, const float *y, int64_t ny, int d, double *out) {
    FD_TRY(check(ctx, "the reference set", x, nx, d));
    FD_TRY(check(ctx, "the generated set", y, ny, d));
    fd_arena arena = {0};
    double *a, *b, *k;
    fd_status s = scratch(ctx, &arena, d, &a, &b, &k);
    if (s == FD_OK) *out = mmd(x, NULL, nx, y, NULL, ny, d, a, b, k);
    fd_arena_free(&arena);
    return s;
}

static fd_status over_subsets(fd_ctx *ctx, fd_arena *arena, const float *x, const float *y, int d, int subsets,
                              int size, const int64_t *ix, const int64_t *iy, fd_kid_result *out) {
    double *a, *b, *k, *v, sum = 0, sq = 0;
    FD_TRY(scratch(ctx, arena, d, &a, &b, &k));
    FD_NEW(ctx, arena, v, subsets);
    for (int s = 0; s < subsets; s++) {
        v[s] = mmd(x, ix + (int64_t)s * size, size, y, iy + (int64_t)s * size, size, d, a, b, k);
        sum += v[s];
    }
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
