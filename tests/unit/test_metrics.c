/* Moments, Fréchet distance, KID, precision/recall and inception score, against closed forms and plain loops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "eval/frechet.h"
#include "eval/inception_score.h"
#include "eval/kid.h"
#include "eval/moments.h"
#include "eval/prdc.h"

#define near(a, b, tol) \
    do { \
        double a_ = (a), b_ = (b); \
        if (!(fabs(a_ - b_) <= (tol))) fail_msg("%s = %.17g, want %.17g", #a, a_, b_); \
    } while (0)

enum { N = 1500, D = 7 };
static float x[N][D], y[N][D];
static double sigma[D][D], other[D][D], mu[D], mu2[D];

/* Correlated columns; offset shifts all of them. */
static void fill(float v[][D], int n, uint64_t seed, double offset, double scale) {
    for (int i = 0; i < n; i++) {
        fd_rng r = {.seed = seed, .purpose = FD_RNG_TEST, .index = (uint64_t)i};
        double shared = fd_rng_normal(&r, 100);
        for (int k = 0; k < D; k++)
            v[i][k] = (float)(offset + scale * (shared + (k + 1) * fd_rng_normal(&r, (uint64_t)k)));
    }
}

static void moments_of(float v[][D], int n, int batch, double *m, double *s) {
    fd_ctx ctx = {0};
    fd_moments a;
    assert_int_equal(fd_moments_init(&ctx, &a, D), FD_OK);
    for (int i = 0; i < n; i += batch)
        assert_int_equal(fd_moments_add(&ctx, &a, v[i], n - i < batch ? n - i : batch), FD_OK);
    assert_int_equal(a.n, n);
    assert_int_equal(fd_moments_get(&ctx, &a, m, s), FD_OK);
    fd_moments_free(&a);
}

/* Two-pass sums in 80-bit arithmetic, with a mean 20,000 times the deviation. */
static void moments_are_exact(void **state) {
    fill(x, N, 1, 1000, 0.05);
    moments_of(x, N, N, mu, sigma[0]);
    long double m[D] = {0};
    for (int i = 0; i < N; i++)
        for (int k = 0; k < D; k++) m[k] += (long double)x[i][k] / N;
    for (int k = 0; k < D; k++) near(mu[k], (double)m[k], 1e-12 * 1000);
    for (int p = 0; p < D; p++)
        for (int q = 0; q < D; q++) {
            long double s = 0;
            for (int i = 0; i < N; i++) s += (x[i][p] - m[p]) * (x[i][q] - m[q]);
            near(sigma[p][q], (double)(s / (N - 1)), 1e-11 * sqrt(sigma[p][p] * sigma[q][q]));
            assert_true(sigma[p][q] == sigma[q][p]);
        }
}

static void cutting_and_order(void **state) {
    fill(x, N, 2, 3, 1);
    moments_of(x, N, N, mu, sigma[0]);
    moments_of(x, N, 1, mu2, other[0]);                       /* another batch size: the same bits */
    assert_memory_equal(mu, mu2, sizeof mu);
    assert_memory_equal(sigma, other, sizeof sigma);
    for (int i = 0; i < N; i++) memcpy(y[i], x[N - 1 - i], sizeof x[0]);
    moments_of(y, N, 64, mu2, other[0]);                      /* another order */
    for (int p = 0; p < D; p++) {
        near(mu2[p], mu[p], 1e-12);
        for (int q = 0; q < D; q++) near(other[p][q], sigma[p][q], 1e-12 * sqrt(sigma[p][p] * sigma[q][q]));
    }
    fd_ctx ctx = {0};                                          /* three parts, merged */
    fd_moments a, b, empty;
    assert_int_equal(fd_moments_init(&ctx, &a, D), FD_OK);
    assert_int_equal(fd_moments_init(&ctx, &b, D), FD_OK);
    assert_int_equal(fd_moments_init(&ctx, &empty, D), FD_OK);
    assert_int_equal(fd_moments_add(&ctx, &a, x[0], 700), FD_OK);
    assert_int_equal(fd_moments_add(&ctx, &b, x[700], 1), FD_OK);
    assert_int_equal(fd_moments_merge(&ctx, &a, &b), FD_OK);
    assert_int_equal(fd_moments_merge(&ctx, &a, &empty), FD_OK);
    assert_int_equal(fd_moments_merge(&ctx, &empty, &a), FD_OK);
    assert_int_equal(fd_moments_add(&ctx, &empty, x[701], N - 701), FD_OK);
    assert_int_equal(fd_moments_get(&ctx, &empty, mu2, other[0]), FD_OK);
    assert_int_equal(empty.n, N);
    for (int p = 0; p < D; p++) {
        near(mu2[p], mu[p], 1e-12);
        for (int q = 0; q < D; q++) near(other[p][q], sigma[p][q], 1e-12 * sqrt(sigma[p][p] * sigma[q][q]));
    }
    fd_moments_free(&a);
    fd_moments_free(&b);
    fd_moments_free(&empty);
}

static void moments_refuse(void **state) {
    fd_ctx ctx = {0};
    fd_moments a, b;
    assert_int_equal(fd_moments_init(&ctx, &a, 0), FD_E_ARG);
    fd_clear(&ctx);
    assert_int_equal(fd_moments_init(&ctx, &a, 2), FD_OK);
    assert_int_equal(fd_moments_init(&ctx, &b, 3), FD_OK);
    float bad[] = {1, 2, 3, NAN};
    assert_int_equal(fd_moments_merge(&ctx, &a, &b), FD_E_SHAPE);
    fd_clear(&ctx);
    assert_int_equal(fd_moments_add(&ctx, &a, bad, 2), FD_E_NUMERIC);
    assert_non_null(strstr(ctx.message, "sample 1, feature 1"));
    fd_clear(&ctx);
    assert_int_equal(fd_moments_get(&ctx, &a, mu, sigma[0]), FD_E_ARG);   /* one good row only */
    fd_moments_free(&a);
    fd_moments_free(&b);
    fd_clear(&ctx);
    fd_alloc_fail_at(2);
    assert_int_equal(fd_moments_init(&ctx, &a, 300), FD_E_NOMEM);
    fd_alloc_fail_at(0);
}

/* Diagonal covariances: sum of (sqrt a - sqrt b)^2. A common rotation changes nothing. */
static void frechet_closed_form(void **state) {
    fd_ctx ctx = {0};
    double m1[3] = {1, 2, 3}, m2[3] = {1, 0, 4}, a[3] = {4, 1, 0}, b[3] = {9, 0, 1e-4};
    double s1[9] = {0}, s2[9] = {0}, q[9], r1[9] = {0}, r2[9] = {0}, want = 5;
    for (int k = 0; k < 3; k++) {
        s1[4 * k] = a[k];
        s2[4 * k] = b[k];
        want += pow(sqrt(a[k]) - sqrt(b[k]), 2);
    }
    fd_frechet_result f;
    assert_int_equal(fd_frechet(&ctx, 3, m1, s1, m2, s2, &f), FD_OK);
    near(f.distance, want, 1e-12);
    near(f.mean_part, 5, 1e-12);
    double u[3] = {1 / 3., 2 / 3., 2 / 3.};                   /* reflection I - 2 u u^T */
    for (int i = 0; i < 9; i++) q[i] = (i % 4 == 0) - 2 * u[i / 3] * u[i % 3];
    for (int i = 0; i < 9; i++)
        for (int k = 0; k < 3; k++) {
            r1[i] += q[i / 3 * 3 + k] * a[k] * q[i % 3 * 3 + k];
            r2[i] += q[i / 3 * 3 + k] * b[k] * q[i % 3 * 3 + k];
        }
    assert_int_equal(fd_frechet(&ctx, 3, m1, r1, m2, r2, &f), FD_OK);
    near(f.distance, want, 1e-6);                             /* each lacks a direction of the other: sqrt(machine epsilon) */
    assert_int_equal(fd_frechet(&ctx, 3, m1, r1, m1, r1, &f), FD_OK);
    near(f.distance, 0, 1e-12);
    assert_true(f.distance >= 0);
    s1[4] = NAN;
    assert_int_equal(fd_frechet(&ctx, 3, m1, s1, m2, s2, &f), FD_E_NUMERIC);
    assert_non_null(strstr(ctx.message, "(1, 1)"));
    fd_clear(&ctx);
    s1[4] = -1;
    assert_int_equal(fd_frechet(&ctx, 3, m1, s1, m2, s2, &f), FD_E_NUMERIC);
}

/* Fewer samples than dimensions, symmetry in the two sets. */
static void frechet_rank_deficient(void **state) {
    fd_ctx ctx = {0};
    fd_frechet_result f, g;
    fill(x, 4, 5, 0, 1);
    fill(y, 5, 6, 0.5, 1);
    moments_of(x, 4, 4, mu, sigma[0]);
    moments_of(y, 5, 5, mu2, other[0]);
    assert_int_equal(fd_frechet(&ctx, D, mu, sigma[0], mu2, other[0], &f), FD_OK);
    assert_int_equal(fd_frechet(&ctx, D, mu2, other[0], mu, sigma[0], &g), FD_OK);
    assert_true(isfinite(f.distance) && f.distance > 0);
    near(f.distance, g.distance, 1e-12);
    /* The identity and a line: (sqrt 1 - sqrt 3)^2 along it, 1 in each of the others. */
    memset(sigma, 0, sizeof sigma);
    for (int i = 0; i < D; i++) sigma[i][i] = 1;
    for (int i = 0; i < D; i++)
        for (int k = 0; k < D; k++) other[i][k] = 3.0 / D;
    assert_int_equal(fd_frechet(&ctx, D, mu, sigma[0], mu, other[0], &f), FD_OK);
    near(f.distance, pow(1 - sqrt(3), 2) + D - 1, 1e-12);
}

static double kid_loops(float a[][D], int n, float b[][D], int m) {
    double sum[3] = {0};
    for (int which = 0; which < 3; which++)
        for (int i = 0; i < (which == 1 ? m : n); i++)
            for (int j = 0; j < (which == 0 ? n : m); j++) {
                const float *p = which == 1 ? b[i] : a[i], *q = which == 0 ? a[j] : b[j];
                double dot = 0;
                for (int k = 0; k < D; k++) dot += (double)p[k] * q[k];
                if (which == 2 || i != j) sum[which] += pow(dot / D + 1, 3);
            }
    return sum[0] / ((double)n * (n - 1)) + sum[1] / ((double)m * (m - 1)) - 2 * sum[2] / ((double)n * m);
}

static void kid_equals_loops(void **state) {
    fd_ctx ctx = {0};
    double k;
    fill(x, N, 7, 0, 0.2);
    fill(y, N, 8, 0.1, 0.25);
    assert_int_equal(fd_kid(&ctx, x[0], 700, y[0], 1100, D, &k), FD_OK);   /* blocks of 512: whole, diagonal, rest */
    double want = kid_loops(x, 700, y, 1100);
    near(k, want, 1e-10 * fabs(want));
    int64_t ix[2][3] = {{0, 5, 9}, {1, 2, 3}}, iy[2][3] = {{4, 4, 8}, {0, 1, 2}};
    float a[3][D], b[3][D];
    double v[2];
    for (int s = 0; s < 2; s++) {
        for (int i = 0; i < 3; i++) {
            memcpy(a[i], x[ix[s][i]], sizeof a[i]);
            memcpy(b[i], y[iy[s][i]], sizeof b[i]);
        }
        v[s] = kid_loops(a, 3, b, 3);
    }
    fd_kid_result r;
    assert_int_equal(fd_kid_subsets(&ctx, x[0], N, y[0], N, D, 2, 3, ix[0], iy[0], &r), FD_OK);
    near(r.mean, (v[0] + v[1]) / 2, 1e-12);
    near(r.std, fabs(v[0] - v[1]) / 2, 1e-12);
    assert_int_equal(fd_kid_random(&ctx, x[0], N, y[0], N, D, 20, 100, 3, &r), FD_OK);
    assert_int_equal(fd_kid(&ctx, x[0], N, y[0], N, D, &k), FD_OK);
    near(r.mean, k, 5 * r.std / sqrt(20) + 0.1 * k);          /* five standard errors */
    ix[0][0] = N;
    assert_int_equal(fd_kid_subsets(&ctx, x[0], N, y[0], N, D, 2, 3, ix[0], iy[0], &r), FD_E_ARG);
    fd_clear(&ctx);
    assert_int_equal(fd_kid(&ctx, x[0], 1, y[0], N, D, &k), FD_E_ARG);
    fd_clear(&ctx);
    x[3][2] = INFINITY;
    assert_int_equal(fd_kid(&ctx, x[0], 10, y[0], 10, D, &k), FD_E_NUMERIC);
    assert_non_null(strstr(ctx.message, "sample 3, feature 2"));
}

/* Real 0 1 2 3 on a line, k = 1: every radius is 1. Generated 1.5, 4 and 10: radii 2.5, 2.5, 6. */
static void prdc_by_hand(void **state) {
    fd_ctx ctx = {0};
    float real[] = {0, 1, 2, 3}, fake[] = {1.5f, 4, 10};
    fd_prdc_result r;
    assert_int_equal(fd_prdc(&ctx, real, 4, fake, 3, 1, 1, false, &r), FD_OK);
    near(r.precision, 2 / 3., 1e-15);          /* 4 lies at distance 1 of 3: inside with <= only */
    near(r.recall, 1, 1e-15);
    near(r.density, 3 / 3., 1e-15);
    near(r.coverage, 3 / 4., 1e-15);           /* 0 has nobody within 1 */
    assert_int_equal(fd_prdc(&ctx, real, 4, fake, 3, 1, 1, true, &r), FD_OK);
    near(r.precision, 1 / 3., 1e-15);
    near(r.density, 2 / 3., 1e-15);
    near(r.coverage, 2 / 4., 1e-15);
    double far[] = {100, 101}, close[] = {0, 0.5, 1};
    assert_int_equal(fd_prdc_double(&ctx, close, 3, far, 2, 1, 1, false, &r), FD_OK);
    near(r.precision + r.recall + r.density + r.coverage, 0, 0);
    assert_int_equal(fd_prdc(&ctx, real, 4, fake, 3, 1, 3, false, &r), FD_E_ARG);
    fd_clear(&ctx);
    fake[1] = NAN;
    assert_int_equal(fd_prdc(&ctx, real, 4, fake, 3, 1, 1, false, &r), FD_E_NUMERIC);
    assert_non_null(strstr(ctx.message, "generated sample 1"));
}

/* Certain predictions spread over 4 classes: exp(ln 4). The same prediction everywhere: 1. */
static void inception_score_limits(void **state) {
    fd_ctx ctx = {0};
    float z[8][4] = {{0}};
    double mean, std, v[2];
    for (int i = 0; i < 8; i++) z[i][i % 4] = 1000;
    assert_int_equal(fd_inception_score(&ctx, z[0], 8, 4, 2, &mean, &std, v), FD_OK);
    near(mean, 4, 1e-12);
    near(std, 0, 1e-12);
    for (int i = 0; i < 8; i++)
        for (int k = 0; k < 4; k++) z[i][k] = (float)k;
    for (int k = 0; k < 4; k++) z[7][k] = (float)-k;
    assert_int_equal(fd_inception_score(&ctx, z[0], 8, 4, 2, &mean, &std, v), FD_OK);
    near(v[0], 1, 1e-12);
    assert_true(v[1] > 1.01);
    near(std, (v[1] - v[0]) / 2, 1e-12);
    assert_int_equal(fd_inception_score(&ctx, z[0], 8, 4, 9, &mean, &std, NULL), FD_E_ARG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_exact), cmocka_unit_test(cutting_and_order), cmocka_unit_test(moments_refuse),
        cmocka_unit_test(frechet_closed_form), cmocka_unit_test(frechet_rank_deficient),
        cmocka_unit_test(kid_equals_loops),
        cmocka_unit_test(prdc_by_hand), cmocka_unit_test(inception_score_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
