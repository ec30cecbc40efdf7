/* Optimiser kernels: steps worked out by hand, independence of the way the block is cut, non-finite gradients. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <omp.h>

#include <cmocka.h>

#include "train/optim.h"

#define near(a, b, tol) \
    do { \
        double a_ = (a), b_ = (b); \
        if (!(fabs(a_ - b_) <= (tol))) fail_msg("%s = %.9g, want %.9g", #a, a_, b_); \
    } while (0)

enum { N = 100001 };
static float w0[N], g0[N], w[N], g[N], m[N], v[N], a[N], w2[N], m2[N], v2[N], a2[N];

/* The first Adam step moves every weight by lr against the sign of its gradient, whatever the size; the second by
 * hand. */
static void adam_by_hand(void **state) {
    float x[4] = {1, 2, 3, 4}, d[4] = {0.5f, -20, 1e-3f, 0}, mm[4] = {0}, vv[4] = {0};
    fd_adam o = {.lr = 0.1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    fd_range all = {0, 4};
    fd_adamw_step(&o, 1, &all, 1, x, d, mm, vv, 1, NULL, 0);
    double want1[] = {0.9, 2.1, 2.9, 4};
    for (int i = 0; i < 4; i++) near(x[i], want1[i], 2e-6);
    near(mm[0], 0.05, 1e-8);
    near(vv[0], 0.00025, 1e-10);
    float d2[4] = {-1, -20, 0, 0};
    fd_adamw_step(&o, 2, &all, 1, x, d2, mm, vv, 1, NULL, 0);
    double m1 = 0.9 * 0.05 - 0.1, v1 = 0.999 * 0.00025 + 0.001;
    near(x[0], 0.9 - 0.1 / (1 - 0.81) * m1 / (sqrt(v1) / sqrt(1 - 0.998001) + 1e-8), 1e-6);
    near(x[1], 2.2, 3e-6);
    near(x[3], 4, 0);
}

static void decay_clip_and_average(void **state) {
    float x[2] = {1, -2}, d[2] = {30, 40}, mm[2] = {0}, vv[2] = {0}, e1[2] = {0, 0}, e2[2] = {1, 1};
    fd_adam o = {.lr = 0.1, .beta1 = 0.5, .beta2 = 0.5, .eps = 1, .weight_decay = 0.5};
    fd_range all = {0, 2};
    fd_grad_stats s = fd_grad_measure(&all, 1, d);
    near(s.norm, 50, 1e-12);
    double f = fd_clip_factor(s.norm, 10);
    near(f, 0.2, 1e-8);
    near(fd_clip_factor(5, 10), 1, 0);
    near(fd_clip_factor(5, 0), 1, 0);
    near(fd_clip_factor(INFINITY, 10), 0, 0);
    near(fd_clip_factor(NAN, 0), 0, 0);
    fd_ema emas[2] = {{e1, 0.75}, {e2, 0.5}};
    fd_adamw_step(&o, 1, &all, 1, x, d, mm, vv, f, emas, 2);
    /* clipped gradient 6, 8; m/(1-b1) = g, sqrt(v)/sqrt(1-b2) = g; step lr g/(g+1) */
    double want[] = {0.95 - 0.1 * 6 / 7, -1.9 - 0.1 * 8 / 9};
    for (int i = 0; i < 2; i++) {
        near(x[i], want[i], 1e-6);
        near(e1[i], 0.25 * want[i], 1e-6);
        near(e2[i], 0.5 + 0.5 * want[i], 1e-6);
    }
}

static void fill(void) {
    for (int i = 0; i < N; i++) {
        w0[i] = sinf(i * 0.37f);
        g0[i] = sinf(i * 0.77f) * expf(6 * sinf(i * 0.011f));
    }
}

static void start(float *x, float *mm, float *vv, float *e) {
    memcpy(x, w0, sizeof w0);
    memcpy(e, w0, sizeof w0);
    memset(mm, 0, sizeof m);
    memset(vv, 0, sizeof v);
}

/* Same bits for one range, many ranges, fused or separate average, one thread or several. */
static void cutting_changes_nothing(void **state) {
    fill();
    fd_adam o = {.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01};
    fd_range one = {0, N}, many[] = {{0, 7}, {7, 50000}, {50007, 1}, {50008, N - 50008}};
    int threads = omp_get_max_threads();
    start(w, m, v, a);
    start(w2, m2, v2, a2);
    double norm = 0;
    for (int n = 1; n <= 3; n++) {
        omp_set_num_threads(3);
        fd_ema fused = {a, 0.9};
        fd_adamw_step(&o, n, &one, 1, w, g0, m, v, 0.5, &fused, 1);
        norm = fd_grad_measure(&one, 1, g0).norm;
        omp_set_num_threads(1);
        fd_adamw_step(&o, n, many, 4, w2, g0, m2, v2, 0.5, NULL, 0);
        fd_ema_update(many, 4, w2, a2, 0.9);
        assert_true(norm == fd_grad_measure(&one, 1, g0).norm);
    }
    omp_set_num_threads(threads);
    assert_memory_equal(w, w2, sizeof w);
    assert_memory_equal(m, m2, sizeof m);
    assert_memory_equal(v, v2, sizeof v);
    assert_memory_equal(a, a2, sizeof a);
    assert_memory_not_equal(w, w0, sizeof w);
    double sum = 0;
    for (int i = 0; i < N; i++) sum += (double)g0[i] * g0[i];
    near(norm / sqrt(sum), 1, 1e-13);
}

/* What lies outside the ranges stays as it was. */
static void only_inside(void **state) {
    fill();
    fd_adam o = {.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    fd_range part = {100, 5000};
    start(w, m, v, a);
    fd_ema e = {a, 0.5};
    fd_adamw_step(&o, 1, &part, 1, w, g0, m, v, 1, &e, 1);
    for (int i = 0; i < N; i++) {
        int inside = i >= 100 && i < 5100;
        assert_int_equal(w[i] != w0[i], inside && g0[i] != 0);
        assert_int_equal(m[i] != 0, inside && g0[i] != 0);
        if (!inside) assert_true(a[i] == w0[i]);
    }
}

static void nonfinite(void **state) {
    fill();
    memcpy(g, g0, sizeof g);
    fd_range part[] = {{0, 10}, {10, N - 10}};
    assert_int_equal(fd_grad_measure(part, 2, g).nonfinite, 0);
    assert_int_equal(fd_grad_measure(part, 2, g).first_nonfinite, -1);
    g[70000] = NAN;
    g[70001] = INFINITY;
    g[99999] = -INFINITY;
    fd_grad_stats s = fd_grad_measure(part, 2, g);
    assert_int_equal(s.nonfinite, 3);
    assert_int_equal(s.infinite, 2);
    assert_int_equal(s.first_nonfinite, 70000);
    assert_false(isfinite(s.norm));
    fd_grad_repair(part, 2, g);
    assert_true(g[70000] == 0 && g[70001] == FLT_MAX && g[99999] == -FLT_MAX);
    assert_int_equal(fd_grad_measure(part, 2, g).nonfinite, 0);   /* double holds the square of the largest float */
}

static void half_life(void **state) {
    near(pow(fd_ema_beta(64, 6400, 0, 0), 100), 0.5, 1e-12);
    near(fd_ema_beta(64, 1e9, 0.05, 12800), pow(0.5, 0.1), 1e-15);    /* half-life 5 % of 12,800 = 640 */
    near(fd_ema_beta(64, 100, 0.05, 12800), pow(0.5, 0.64), 1e-15);
    near(fd_ema_beta(64, 100, 0.05, 0), 0, 0);                        /* first step copies */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(adam_by_hand), cmocka_unit_test(decay_clip_and_average),
                                       cmocka_unit_test(cutting_changes_nothing), cmocka_unit_test(only_inside),
                                       cmocka_unit_test(nonfinite), cmocka_unit_test(half_life)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
