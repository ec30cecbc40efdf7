#include "eval/moments.h"

#include <math.h>
#include <string.h>

#include "eval/blas.h"

fd_status fd_moments_init(fd_ctx *ctx, fd_moments *m, int d) {
    *m = (fd_moments){.d = d};
    if (d < 1 || d > 65536) return FD_FAIL(ctx, FD_E_ARG, "moments: %d features per sample, want 1 … 65536", d);
    size_t n = (size_t)d;
    m->mean = fd_arena_alloc(ctx, &m->arena, n * sizeof(double));
    m->centre = fd_arena_alloc(ctx, &m->arena, n * sizeof(double));
    m->chunk = fd_arena_alloc(ctx, &m->arena, n * FD_MOMENTS_CHUNK * sizeof(double));
    m->m2 = fd_arena_alloc(ctx, &m->arena, n * n * sizeof(double));
    if (m->mean && m->centre && m->chunk && m->m2) return FD_OK;
    fd_moments_free(m);
    return FD_E_NOMEM;
}

void fd_moments_free(fd_moments *m) {
    fd_arena_free(&m->arena);
    *m = (fd_moments){0};
}

/* Joins n rows with mean `mean`, whose centred products are already in m->m2. */
static void join(fd_moments *m, const double *mean, int64_t n) {
    double total = (double)(m->joined + n), share = (double)n / total;
    if (m->joined) {
        for (int k = 0; k < m->d; k++) m->centre[k] = mean[k] - m->mean[k];
        int before = fd_blas_fix(FD_BLAS_THREADS);
        cblas_dsyr(CblasRowMajor, CblasLower, m->d, (double)m->joined * share, m->centre, 1, m->m2, m->d);
        fd_blas_restore(before);
        for (int k = 0; k < m->d; k++) m->mean[k] += share * m->centre[k];
    } else {
        memcpy(m->mean, mean, sizeof(double) * (size_t)m->d);
    }
    m->joined += n;
}

static void flush(fd_moments *m) {
    int d = m->d, n = m->waiting;
    if (n == 0) return;
    double *mean = m->centre;
    memset(mean, 0, sizeof(double) * (size_t)d);
    /* the mean of values around their first row: no digits lost to a large common offset */
    const double *first = m->chunk;
    for (int i = 1; i < n; i++)
        for (int k = 0; k < d; k++) mean[k] += m->chunk[(size_t)i * (size_t)d + (size_t)k] - first[k];
    for (int k = 0; k < d; k++) mean[k] = first[k] + mean[k] / n;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < d; k++) m->chunk[(size_t)i * (size_t)d + (size_t)k] -= mean[k];
    int before = fd_blas_fix(FD_BLAS_THREADS);
    cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, d, n, 1, m->chunk, d, 1, m->m2, d);
    fd_blas_restore(before);
    double *copy = m->chunk;                    /* free now, and join wants centre for itself */
    memcpy(copy, mean, sizeof(double) * (size_t)d);
    join(m, copy, n);
    m->waiting = 0;
}

static fd_status add(fd_ctx *ctx, fd_moments *m, const float *f, const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double *row = m->chunk + (size_t)m->waiting * (size_t)m->d;
        for (int k = 0; k < m->d; k++) {
            row[k] = f ? (double)f[i * m->d + k] : x[i * m->d + k];
            if (!isfinite(row[k]))
                return FD_FAIL(ctx, FD_E_NUMERIC, "features: sample %lld, feature %d is %g: images or feature "
                               "network are broken", (long long)m->n, k, row[k]);
        }
        m->n++;
        if (++m->waiting == FD_MOMENTS_CHUNK) flush(m);
    }
    return FD_OK;
}

fd_status fd_moments_add(fd_ctx *ctx, fd_moments *m, const float *x, int64_t n) { return add(ctx, m, x, NULL, n); }
fd_status fd_moments_add_double(fd_ctx *ctx, fd_moments *m, const double *x, int64_t n) {
    return add(ctx, m, NULL, x, n);
}

fd_status fd_moments_merge(fd_ctx *ctx, fd_moments *m, fd_moments *from) {
    if (m->d != from->d)
        return FD_FAIL(ctx, FD_E_SHAPE, "moments: cannot merge %d features with %d", m->d, from->d);
    flush(m);
    flush(from);
    if (from->joined == 0) return FD_OK;
    for (size_t i = 0; i < (size_t)m->d * (size_t)m->d; i++) m->m2[i] += from->m2[i];
    join(m, from->mean, from->joined);
    m->n += from->n;
    return FD_OK;
}

fd_status fd_moments_get(fd_ctx *ctx, fd_moments *m, double *mu, double *sigma) {
    if (m->n < 2)
        return FD_FAIL(ctx, FD_E_ARG, "moments: a covariance needs at least 2 samples, got %lld", (long long)m->n);
    flush(m);
    size_t d = (size_t)m->d;
    memcpy(mu, m->mean, sizeof(double) * d);
    for (size_t i = 0; i < d; i++)
        for (size_t k = 0; k <= i; k++)
            sigma[i * d + k] = sigma[k * d + i] = m->m2[i * d + k] / (double)(m->n - 1);
    return FD_OK;
}
