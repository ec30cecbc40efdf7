#include "eval/fd_infinity.h"

#include <math.h>

#include "base/interrupt.h"
#include "base/rng.h"
#include "eval/frechet.h"
#include "eval/moments.h"

enum { DRAWS = 1 << 20 };      /* purpose FD_RNG_SUBSET is KID's too: other indices */

static fd_status one(fd_ctx *ctx, fd_arena *a, const float *features, int64_t n, const fd_reference *ref,
                     const fd_rng *rng, int64_t *order, double *mu, double *sigma, int64_t size, double *out) {
    const int d = ref->d;
    fd_moments m;
    fd_frechet_result f;
    for (int64_t i = 0; i < n; i++) order[i] = i;
    for (int64_t i = 0; i < size; i++) {       /* the first places of a Fisher-Yates shuffle */
        int64_t j = i + (int64_t)fd_rng_below(rng, (uint64_t)i, (uint64_t)(n - i)), keep = order[i];
        order[i] = order[j];
        order[j] = keep;
    }
    FD_TRY(fd_moments_init(ctx, &m, d));
    fd_status s = FD_OK;
    for (int64_t i = 0; i < size && s == FD_OK; i++) s = fd_moments_add(ctx, &m, features + order[i] * d, 1);
    if (s == FD_OK) s = fd_moments_get(ctx, &m, mu, sigma);
    fd_moments_free(&m);
    if (s == FD_OK) s = fd_frechet(ctx, d, mu, sigma, ref->mu, ref->sigma, &f);
    if (s == FD_OK) *out = f.distance;
    return s;
}

/* Least squares of y over x = 1/size. */
static void fit(fd_infinity_result *r) {
    const int n = FD_INFINITY_POINTS;
    double mx = 0, my = 0, sxx = 0, sxy = 0, left = 0;
    for (int k = 0; k < n; k++) mx += 1.0 / (double)r->sizes[k] / n, my += r->distances[k] / n;
    for (int k = 0; k < n; k++) {
        double x = 1.0 / (double)r->sizes[k] - mx;
        sxx += x * x;
        sxy += x * (r->distances[k] - my);
    }
    r->slope = sxy / sxx;
    r->distance = my - r->slope * mx;
    for (int k = 0; k < n; k++) {
        double e = r->distances[k] - r->distance - r->slope / (double)r->sizes[k];
        left += e * e;
    }
    r->error = sqrt(left / (n - 2) * (1.0 / n + mx * mx / sxx));
}

fd_status fd_infinity(fd_ctx *ctx, const float *features, int64_t n, const fd_reference *ref, uint64_t seed,
                      fd_infinity_result *out) {
    if (n < 20) return FD_FAIL(ctx, FD_E_ARG, "extrapolation needs 20 images at least, got %lld", (long long)n);
    fd_arena a = {0};
    const size_t d = (size_t)ref->d;
    int64_t least = n / 10 > ref->d ? n / 10 : n / 2;
    int64_t *order = fd_arena_alloc(ctx, &a, fd_mul_size((size_t)n, sizeof *order));
    double *mu = fd_arena_alloc(ctx, &a, d * sizeof *mu), *sigma = fd_arena_alloc(ctx, &a, d * d * sizeof *sigma);
    fd_status s = order && mu && sigma ? FD_OK : FD_E_NOMEM;
    for (int k = 0; k < FD_INFINITY_POINTS && s == FD_OK; k++) {
        fd_rng rng = {.seed = seed, .purpose = FD_RNG_SUBSET, .index = DRAWS + (uint64_t)k};
        out->sizes[k] = least + (n - least) * k / (FD_INFINITY_POINTS - 1);
        if (fd_interrupted()) s = FD_FAIL(ctx, FD_E_CANCELLED, "interrupted during FD-infinity");
        else s = one(ctx, &a, features, n, ref, &rng, order, mu, sigma, out->sizes[k], &out->distances[k]);
    }
    fd_arena_free(&a);
    if (s == FD_OK) fit(out);
    return s;
}
