#include "eval/frechet.h"

#include <lapacke.h>
#include <math.h>

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

/* Eigenvalues of the symmetric a [d][d] (lower triangle) into w; 'V' leaves the eigenvectors in the columns of a. */
static fd_status eigen(fd_ctx *ctx, char job, int d, double *a, double *w) {
    int info = LAPACKE_dsyevd(LAPACK_ROW_MAJOR, job, 'L', d, a, d, w);
    if (info == 0) return FD_OK;
    return FD_FAIL(ctx, FD_E_NUMERIC, "Fréchet distance: eigenvalues of a %d x %d covariance did not converge "
                   "(LAPACK dsyevd %d)", d, d, info);
}

/* a: S1 on entry. t, u [d][d], w [d] scratch. *trace = tr (S1^1/2 S2 S1^1/2)^1/2. */
static fd_status cross_trace(fd_ctx *ctx, int d, double *a, const double *s2, double *t, double *u, double *w,
                             double *trace) {
    size_t n = (size_t)d;
    FD_TRY(eigen(ctx, 'V', d, a, w));
    /* With S1 = V W V^T the matrix W^1/2 V^T S2 V W^1/2 has the eigenvalues wanted, one product earlier. */
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++) a[i * n + k] *= sqrt(fmax(w[k], 0));
    cblas_dsymm(CblasRowMajor, CblasLeft, CblasLower, d, d, 1, s2, d, a, d, 0, t, d);
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, d, d, d, 1, a, d, t, d, 0, u, d);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++) u[i * n + k] = 0.5 * (u[i * n + k] + u[k * n + i]);
    FD_TRY(eigen(ctx, 'N', d, u, w));
    *trace = 0;
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
    double *u = fd_arena_alloc(ctx, &arena, square * sizeof *u), *w = fd_arena_alloc(ctx, &arena, n * sizeof *w);
    double cross = 0, spread = 0, shift = 0;
    fd_status s = FD_E_NOMEM;
    if (a && t && u && w) {
        for (size_t i = 0; i < square; i++) a[i] = sigma1[i];
        int before = fd_blas_fix(FD_BLAS_THREADS);
        s = cross_trace(ctx, d, a, sigma2, t, u, w, &cross);
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
