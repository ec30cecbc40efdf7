#include "eval/frechet.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "eval/blas.h"

static fd_status check(fd_ctx *ctx, const char *which, int d, const double *mu, const double *sigma) {
    for (int i = 0; i < d; i++) {
        if (!isfinite(mu[i]))
            return FD_FAIL(ctx, FD_E_NUMERIC, "Fréchet distance: mean of %s is %g at %d", which, mu[i], i);
        for (int k = 0; k <= i; k++)
            if (!isfinite(sigma[(size_t)i * (size_t)d + (size_t)k]))
                return FD_FAIL(ctx, FD_E_NUMERIC, "Fréchet distance: covariance of %s is %g at (%d, %d)", which,
                               sigma[(size_t)i * (size_t)d + (size_t)k], i, k);
        if (sigma[(size_t)i * (size_t)d + (size_t)i] < 0)
            return FD_FAIL(ctx, FD_E_NUMERIC, "Fréchet distance: variance %d of %s is negative (%g)", i, which,
                           sigma[(size_t)i * (size_t)d + (size_t)i]);
    }
    return FD_OK;
}

/* L [d][rank] with L L^T = sigma (lower triangle), rows of sigma in any order: Cholesky with pivots, the largest first, until
 * what is left is rounding. t [d][d], pivot [d] scratch. */
static fd_status factor(fd_ctx *ctx, int d, const double *sigma, double *t, int *pivot, double *l, int *rank) {
    const size_t n = (size_t)d;
    memcpy(t, sigma, n * n * sizeof *t);
    /* LAPACK's columns are our rows, so its upper triangle is our lower one. A negative tolerance: d eps max(diagonal). */
    if (LAPACKE_dpstrf(LAPACK_COL_MAJOR, 'U', d, t, d, pivot, rank, -1) < 0)
        return FD_FAIL(ctx, FD_E_NUMERIC, "Fréchet distance: a %d x %d covariance has no triangular factor (LAPACK dpstrf)", d, d);
    const size_t r = (size_t)*rank;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < r; k++) l[(size_t)(pivot[i] - 1) * r + k] = k <= i ? t[i * n + k] : 0;
    return FD_OK;
}

/* Eigenvalues of the symmetric a [d][d] (lower triangle), which is overwritten, into w. */
static fd_status eigenvalues(fd_ctx *ctx, int d, double *a, double *w) {
    int info = d ? LAPACKE_dsyevd(LAPACK_ROW_MAJOR, 'N', 'L', d, a, d, w) : 0;
    if (info == 0) return FD_OK;
    return FD_FAIL(ctx, FD_E_NUMERIC, "Fréchet distance: eigenvalues of a %d x %d covariance did not converge "
                   "(LAPACK dsyevd %d)", d, d, info);
}

/* *trace = tr (S1^1/2 S2 S1^1/2)^1/2, the sum of the roots of the eigenvalues of L^T S L, L L^T = one of the two and S the other. Of
 * the smaller rank is L: so no eigenvalue is zero but for rounding, whose root would be large. And the pivots put the large
 * numbers first, from where the solver finds small eigenvalues to their own precision. a, b, t [d][d], w [d], pivot [d] scratch. */
static fd_status cross_trace(fd_ctx *ctx, int d, const double *s1, const double *s2, double *a, double *b, double *t, double *w,
                             int *pivot, double *trace) {
    int rank1, rank2;
    FD_TRY(factor(ctx, d, s1, t, pivot, a, &rank1));
    FD_TRY(factor(ctx, d, s2, t, pivot, b, &rank2));
    const bool first = rank1 <= rank2;
    const int r = first ? rank1 : rank2;
    const size_t n = (size_t)r;
    const double *l = first ? a : b;
    double *u = first ? b : a;
    *trace = 0;
    if (!r) return FD_OK;
    cblas_dsymm(CblasRowMajor, CblasLeft, CblasLower, d, r, 1, first ? s2 : s1, d, l, r, 0, t, r);
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, r, r, d, 1, l, r, t, r, 0, u, r);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++) u[i * n + k] = 0.5 * (u[i * n + k] + u[k * n + i]);
    FD_TRY(eigenvalues(ctx, r, u, w));
    for (size_t i = 0; i < n; i++) *trace += sqrt(fmax(w[i], 0));
    return FD_OK;
}

fd_status fd_frechet(fd_ctx *ctx, int d, const double *mu1, const double *sigma1, const double *mu2,
                     const double *sigma2, fd_frechet_result *out) {
    if (d < 1) return FD_FAIL(ctx, FD_E_ARG, "Fréchet distance: %d features", d);
    FD_TRY(check(ctx, "the first set", d, mu1, sigma1));
    FD_TRY(check(ctx, "the second set", d, mu2, sigma2));
    size_t n = (size_t)d, square = n * n;
    fd_arena arena = {0};
    double *a = fd_arena_alloc(ctx, &arena, square * sizeof *a), *t = fd_arena_alloc(ctx, &arena, square * sizeof *t);
    double *b = fd_arena_alloc(ctx, &arena, square * sizeof *b), *w = fd_arena_alloc(ctx, &arena, n * sizeof *w);
    int *pivot = fd_arena_alloc(ctx, &arena, n * sizeof *pivot);
    double cross = 0, spread = 0, shift = 0;
    fd_status s = FD_E_NOMEM;
    if (a && b && t && w && pivot) {
        int before = fd_blas_fix(FD_BLAS_THREADS);
        s = cross_trace(ctx, d, sigma1, sigma2, a, b, t, w, pivot, &cross);
        fd_blas_restore(before);
    }
    fd_arena_free(&arena);
    FD_TRY(s);
    for (size_t i = 0; i < n; i++) {
        spread += sigma1[i * n + i] + sigma2[i * n + i];
        shift += (mu1[i] - mu2[i]) * (mu1[i] - mu2[i]);
    }
    double rest = fmax(0, spread - 2 * cross);
    *out = (fd_frechet_result){.distance = shift + rest, .mean_part = shift, .covariance_part = rest};
    if (!isfinite(out->distance))
        return FD_FAIL(ctx, FD_E_NUMERIC, "Fréchet distance: overflow; variances reach %g", spread);
    return FD_OK;
}
