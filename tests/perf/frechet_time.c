/* frechet_time — seconds of the Fréchet distance from moments, by number of features and of pictures.
 *
 *   frechet_time [FEATURES PICTURES]…     without arguments: 2048 features, 10,000 and 1,000 pictures
 *
 * The moments are those of normal numbers whose deviations fall over three decades, as features' do.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <cblas.h>

#include "base/arena.h"
#include "base/progress.h"
#include "base/rng.h"
#include "eval/frechet.h"

/* Covariance of n rows about a mean of 0: only its spectrum and rank matter here. */
static fd_status covariance(fd_ctx *ctx, int d, int n, uint64_t which, double *sigma) {
    const size_t width = (size_t)d;
    float *row = fd_alloc(ctx, width * sizeof *row);
    double *x = fd_alloc(ctx, width * (size_t)n * sizeof *x);
    if (row && x) {
        for (int i = 0; i < n; i++) {
            fd_rng r = {which, FD_RNG_TEST, (uint64_t)i};
            fd_rng_normals(&r, 0, width, row);
            for (int k = 0; k < d; k++) x[(size_t)i * width + (size_t)k] = row[k] * pow(10, -3.0 * k / d);
        }
        cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, d, n, 1.0 / n, x, d, 0, sigma, d);
    }
    fd_free(row);
    fd_free(x);
    return ctx->code;
}

static fd_status trial(fd_ctx *ctx, int d, int n) {
    const size_t square = (size_t)d * (size_t)d;
    double *mu = fd_alloc(ctx, (size_t)d * sizeof *mu), *a = fd_alloc(ctx, square * sizeof *a), *b = fd_alloc(ctx, square * sizeof *b);
    fd_frechet_result f = {0};
    fd_status s = mu && a && b ? covariance(ctx, d, n, 1, a) : FD_E_NOMEM;
    if (s == FD_OK) s = covariance(ctx, d, n, 2, b);
    for (int i = 0; s == FD_OK && i < 3; i++) {
        double start = fd_now();
        s = fd_frechet(ctx, d, mu, a, mu, b, &f);
        if (s == FD_OK) printf("%6d features %7d pictures  %7.3f s   distance %.9g\n", d, n, fd_now() - start, f.distance);
    }
    fd_free(mu);
    fd_free(a);
    fd_free(b);
    return s;
}

int main(int argc, char **argv) {
    fd_ctx ctx = {0};
    fd_status s = FD_OK;
    for (int i = 1; s == FD_OK && i + 1 < argc; i += 2) s = trial(&ctx, atoi(argv[i]), atoi(argv[i + 1]));
    if (argc < 3) {
        s = trial(&ctx, 2048, 10000);
        if (s == FD_OK) s = trial(&ctx, 2048, 1000);
    }
    if (s != FD_OK) fprintf(stderr, "frechet_time: %s\n", ctx.message);
    return s != FD_OK;
}
