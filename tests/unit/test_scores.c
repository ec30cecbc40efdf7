/* The list of metrics, extrapolation to infinitely many pictures, and results that do not depend on threads. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/interrupt.h"
#include "base/rng.h"
#include "eval/scores.h"

enum { N = 1200, D = 8 };
static float x[N][D], y[N][D];

static void fill(float v[][D], uint64_t seed, double offset) {
    for (int i = 0; i < N; i++) {
        fd_rng r = {.seed = seed, .purpose = FD_RNG_TEST, .index = (uint64_t)i};
        for (int k = 0; k < D; k++) v[i][k] = (float)(offset + fd_rng_normal(&r, (uint64_t)k));
    }
}

static void test_words(void **state) {
    (void)state;
    fd_ctx ctx = {0};
    unsigned which;
    assert_int_equal(fd_score_parse(&ctx, "fid", &which), FD_OK);
    assert_int_equal(which, FD_SCORE_FD);
    assert_false(fd_score_needs_features(which));
    assert_int_equal(fd_score_parse(&ctx, "is,kid,prdc,fd-infinity,kid", &which), FD_OK);
    assert_int_equal(which, FD_SCORE_IS | FD_SCORE_KID | FD_SCORE_PRDC | FD_SCORE_FD_INFINITY);
    assert_true(fd_score_needs_real_features(which));
    assert_int_equal(fd_score_parse(&ctx, "is", &which), FD_OK);
    assert_false(fd_score_needs_reference(which) || fd_score_needs_features(which));
    static const char *const wrong[] = {"", ",", "fd,", ",fd", "f", "fids", "fd kid", "FD"};
    for (size_t i = 0; i < FD_COUNT(wrong); i++) {
        fd_clear(&ctx);
        assert_int_equal(fd_score_parse(&ctx, wrong[i], &which), FD_E_ARG);
    }
}

/* Standard normal features against their true moments: the distance of n of them is c / n, of infinitely many 0. */
static void test_infinity(void **state) {
    (void)state;
    fd_ctx ctx = {0};
    double mu[D] = {0}, sigma[D][D] = {{0}};
    for (int k = 0; k < D; k++) sigma[k][k] = 1;
    fd_reference ref = {.d = D, .mu = mu, .sigma = sigma[0]};
    fd_infinity_result r, again;
    fill(x, 1, 0);
    assert_int_equal(fd_infinity(&ctx, x[0], N, &ref, 5, &r), FD_OK);
    assert_int_equal(r.sizes[0], N / 10);
    assert_int_equal(r.sizes[FD_INFINITY_POINTS - 1], N);
    /* |mean|^2 gives d / n, the covariance about d (d + 1) / (8 n): 17 / n here */
    assert_true(r.slope > 8 && r.slope < 35);
    assert_true(fabs(r.distance) < 0.3 * r.distances[0] && fabs(r.distance) < 5 * r.error + 0.01);
    assert_int_equal(fd_infinity(&ctx, x[0], N, &ref, 5, &again), FD_OK);
    assert_memory_equal(&r, &again, sizeof r);
    fill(x, 1, 0.5);                                   /* moved by a half in 8 directions: 8 / 4 */
    assert_int_equal(fd_infinity(&ctx, x[0], N, &ref, 5, &r), FD_OK);
    assert_true(fabs(r.distance - 2) < 0.25);
    assert_int_equal(fd_infinity(&ctx, x[0], 60, &ref, 5, &r), FD_OK);     /* n / 10 is below d */
    assert_int_equal(r.sizes[0], 30);
    assert_int_equal(fd_infinity(&ctx, x[0], 19, &ref, 5, &r), FD_E_ARG);
}

static void test_threads(void **state) {
    (void)state;
    fd_ctx one = {.threads = 1}, two = {.threads = 2};
    double mu[D] = {0}, sigma[D][D] = {{0}};
    for (int k = 0; k < D; k++) sigma[k][k] = 1;
    fd_score_spec spec = FD_SCORE_DEFAULTS;
    fd_scores a, b;
    fill(x, 2, 0);
    fill(y, 3, 0.1);
    fd_reference ref = {.d = D, .mu = mu, .sigma = sigma[0], .features = x[0], .nfeatures = N};
    fd_measured mine = {.stats = {.d = D, .mu = mu, .sigma = sigma[0], .features = y[0], .nfeatures = N}};
    spec.which = FD_SCORE_FD | FD_SCORE_KID | FD_SCORE_PRDC;
    spec.kid_subsets = 7;
    assert_int_equal(fd_scores_compute(&one, &spec, &mine, &ref, &a), FD_OK);
    assert_int_equal(fd_scores_compute(&two, &spec, &mine, &ref, &b), FD_OK);
    assert_true(a.kid == b.kid && a.kid_subsets.mean == b.kid_subsets.mean && a.prdc.density == b.prdc.density);
    assert_true(a.kid != 0 && a.prdc.recall > 0.5);
    ref.d = D - 1;
    assert_int_equal(fd_scores_compute(&one, &spec, &mine, &ref, &a), FD_E_SHAPE);
    ref.features = NULL;
    fd_clear(&one);
    assert_int_equal(fd_scores_compute(&one, &spec, &mine, &ref, &a), FD_E_ARG);
    fd_clear(&one);
    assert_int_equal(fd_scores_compute(&one, &spec, &mine, NULL, &a), FD_E_ARG);
    fd_clear(&one);
    spec.which = FD_SCORE_IS;
    assert_int_equal(fd_scores_compute(&one, &spec, &mine, NULL, &a), FD_E_ARG);
}

/* What takes minutes with many pictures ends after a signal. */
static void test_interrupt(void **state) {
    (void)state;
    fd_ctx ctx = {.quiet = true};
    double k, mu[D] = {0}, sigma[D][D] = {{0}};
    fd_kid_result r;
    fd_prdc_result p;
    fd_infinity_result f;
    fd_reference ref = {.d = D, .mu = mu, .sigma = sigma[0]};
    fd_interrupt_install();
    raise(SIGTERM);
    assert_int_equal(fd_kid(&ctx, x[0], N, y[0], N, D, &k), FD_E_CANCELLED);
    fd_clear(&ctx);
    assert_int_equal(fd_kid_random(&ctx, x[0], N, y[0], N, D, 3, 50, 1, &r), FD_E_CANCELLED);
    fd_clear(&ctx);
    assert_int_equal(fd_prdc(&ctx, x[0], N, y[0], N, D, 3, false, &p), FD_E_CANCELLED);
    fd_clear(&ctx);
    assert_int_equal(fd_infinity(&ctx, x[0], N, &ref, 5, &f), FD_E_CANCELLED);
    fd_clear(&ctx);
    fd_interrupt_clear();
    assert_int_equal(fd_kid(&ctx, x[0], N, y[0], N, D, &k), FD_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_words), cmocka_unit_test(test_infinity),
                                       cmocka_unit_test(test_threads), cmocka_unit_test(test_interrupt)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
