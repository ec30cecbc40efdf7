/* The density-ratio pipeline: numbers worked out by hand, bins, refusals, and the noise levels behind it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "fdiv/ratio.h"

#define near(a, b, tol) \
    do { \
        double a_ = (a), b_ = (b); \
        if (!(fabs(a_ - b_) <= (tol))) fail_msg("%s = %.9g, want %.9g", #a, a_, b_); \
    } while (0)

static const fd_divergence *by_name(const char *name) {
    fd_ctx ctx = {0};
    const fd_divergence *d = NULL;
    assert_int_equal(fd_divergence_find(&ctx, name, &d), FD_OK);
    return d;
}

/* Two samples in bin 0 with r = 1 and 3, one in bin 9 with l = 50 (cut to r = 20), one in bin 5 with l = -50 (0.1).
 */
static void by_hand(void **state) {
    fd_ctx ctx = {0};
    fd_ratio r;
    fd_ratio_config c = fd_ratio_defaults();
    c.ema = 0.5f;
    assert_int_equal(fd_ratio_init(&ctx, &c, &r), FD_OK);
    float l3 = logf(3);
    float logits[] = {0, 0, l3 + 1, l3 - 1, 50, 50, -50, -50}, h[4], rn[4], lm[4], lc[4];
    double t[] = {0.002, 7.9, 80, 44.0};
    int64_t bin[4];
    fd_ratio_stages s = {.l_mean = lm, .l_clamped = lc, .r_normalised = rn, .bin_index = bin};
    fd_ratio_stats st;
    assert_int_equal(fd_ratio_apply(&ctx, &r, by_name("kl"), logits, 2, t, 4, h, &s, &st), FD_OK);
    /* bins: 0.5*1 + 0.5*mean */
    near(r.bins[0], 1.5, 1e-6);
    near(r.bins[9], 10.5, 2e-5);
    near(r.bins[5], 0.55, 1e-6);
    near(r.bins[1], 1, 0);
    double want_r[] = {1 / 1.5, 3 / 1.5, 20 / 10.5, 0.1 / 0.55}, mean = 0;
    for (int i = 0; i < 4; i++) mean += want_r[i] / 4;
    int want_bin[] = {0, 0, 9, 5};
    for (int i = 0; i < 4; i++) {
        near(rn[i], want_r[i], 3e-6);
        near(h[i], want_r[i] / mean, 5e-6);
        assert_int_equal(bin[i], want_bin[i]);
    }
    near(lm[2], 50, 0);
    near(lc[2], 10, 0);
    near(lc[3], -10, 0);
    near(st.clip_low, 0.25, 0);
    near(st.clip_high, 0.25, 0);
    near(st.h_mean, 1, 2e-6);
    near(st.h_max, h[1], 0);
    near(st.h_min, h[3], 0);
    near(st.logit_mean, l3 / 4, 1e-6);
    near(st.logit_std, sqrt((l3 * l3 + 5000) / 4 - l3 * l3 / 16), 1e-5);
    near(st.r_mean, 24.1 / 4, 1e-6);
    assert_int_equal(st.count[0], 2);
    assert_int_equal(r.seen[0], 2);
    assert_int_equal(r.seen[1], 0);

    /* reverse KL: exactly 1, bins still move */
    assert_int_equal(fd_ratio_apply(&ctx, &r, by_name("rkl"), logits, 2, t, 4, h, NULL, &st), FD_OK);
    for (int i = 0; i < 4; i++) near(h[i], 1, 0);
    near(r.bins[0], 0.5 * 1.5 + 0.5 * 2, 2e-6);
    assert_int_equal(r.seen[0], 4);
}

static void normalisations_off(void **state) {
    fd_ctx ctx = {0};
    fd_ratio r;
    fd_ratio_config c = fd_ratio_defaults();
    c.normalise_bins = c.normalise_h = false;
    assert_int_equal(fd_ratio_init(&ctx, &c, &r), FD_OK);
    float logits[] = {-1, 0, 1}, h[3];
    double t[] = {1, 1, 1};
    for (int i = 0; i < FD_DIVERGENCES; i++) {
        const fd_divergence *d = fd_divergence_at(i);
        assert_int_equal(fd_ratio_apply(&ctx, &r, d, logits, 1, t, 3, h, NULL, NULL), FD_OK);
        for (int k = 0; k < 3; k++) near(h[k], d->weight(logits[k]), 2e-6 * d->weight(logits[k]));
    }
}

/* Any order of the samples gives the same bins, and the same h for each sample up to the rounding of one mean. */
static void order_does_not_matter(void **state) {
    enum { N = 257 };
    fd_ctx ctx = {0};
    fd_ratio a, b;
    fd_ratio_config c = fd_ratio_defaults();
    assert_int_equal(fd_ratio_init(&ctx, &c, &a), FD_OK);
    b = a;
    float la[N], lb[N], ha[N], hb[N];
    double ta[N], tb[N];
    for (int i = 0; i < N; i++) {
        la[i] = 4 * sinf(i * 1.7f);
        ta[i] = 40 + 39 * sin(i * 0.9);
        lb[N - 1 - i] = la[i];
        tb[N - 1 - i] = ta[i];
    }
    assert_int_equal(fd_ratio_apply(&ctx, &a, by_name("js"), la, 1, ta, N, ha, NULL, NULL), FD_OK);
    assert_int_equal(fd_ratio_apply(&ctx, &b, by_name("js"), lb, 1, tb, N, hb, NULL, NULL), FD_OK);
    assert_memory_equal(a.bins, b.bins, sizeof a.bins);   /* double sums of clamped floats are exact */
    for (int i = 0; i < N; i++) near(hb[N - 1 - i], ha[i], 2e-7 * ha[i]);
}

static void spacings(void **state) {
    fd_ctx ctx = {0};
    fd_polynomial p;
    fd_polynomial_init(&p, 0.002, 80, 7);
    for (int which = 0; which < 3; which++) {
        fd_spacing s;
        assert_int_equal(fd_spacing_find(&ctx, fd_spacing_name((fd_spacing)which), &s), FD_OK);
        assert_int_equal(s, which);
        fd_ratio r;
        fd_ratio_config c = fd_ratio_defaults();
        c.spacing = s;
        assert_int_equal(fd_ratio_init(&ctx, &c, &r), FD_OK);
        double share[10] = {0};
        int last = 0;
        for (int j = FD_POLYNOMIAL_FIRST; j <= FD_POLYNOMIAL_LAST; j++) {
            int k = fd_ratio_bin(&r, p.level[j]);
            assert_true(k >= last && k < 10);
            last = k;
            share[k] += 1.0 / 997;
        }
        /* sigma: the shares published for the polynomial distribution; quantile: a tenth each, to within one level */
        static const double published[] = {.640, .096, .061, .045, .037, .030, .027, .023, .021, .019};
        for (int k = 0; k < 10; k++) {
            if (s == FD_SPACING_SIGMA) near(share[k], published[k], 0.001);
            if (s == FD_SPACING_QUANTILE) near(share[k], 0.1, 1.01 / 997);
        }
        near(fd_ratio_bin(&r, 1e-9), 0, 0);
        near(fd_ratio_bin(&r, 1e9), 9, 0);
        if (s == FD_SPACING_LOG_SIGMA) {                 /* factor 40000^(1/10) = 2.885 per bin */
            near(fd_ratio_bin(&r, 0.002 * 2.8), 0, 0);
            near(fd_ratio_bin(&r, 0.002 * 2.9), 1, 0);
            near(fd_ratio_bin(&r, 80 / 2.8), 9, 0);
            near(fd_ratio_bin(&r, 80 / 2.9), 8, 0);
        }
    }
    fd_spacing s;
    assert_int_equal(fd_spacing_find(&ctx, "linear", &s), FD_E_ARG);
    assert_non_null(strstr(ctx.message, "log-sigma"));
}

static void refusals(void **state) {
    fd_ctx ctx = {0};
    fd_ratio r;
    const fd_ratio_config good = fd_ratio_defaults();
    struct { fd_ratio_config c; const char *word; } bad[9];
    for (int i = 0; i < 9; i++) bad[i].c = good;
    bad[0].c.bins = 0, bad[0].word = "bins";
    bad[1].c.bins = 65, bad[1].word = "bins";
    bad[2].c.ema = 1, bad[2].word = "ema";
    bad[3].c.ema = NAN, bad[3].word = "ema";
    bad[4].c.logit_clamp = 0, bad[4].word = "logit clamp";
    bad[5].c.r_min = 30, bad[5].word = "r_min";
    bad[6].c.t_min = 0, bad[6].word = "t_min";
    bad[7].c.t_max = INFINITY, bad[7].word = "t_max";
    bad[8].c.rho = 0, bad[8].word = "rho";
    for (int i = 0; i < 9; i++) {
        fd_clear(&ctx);
        assert_int_equal(fd_ratio_init(&ctx, &bad[i].c, &r), FD_E_ARG);
        assert_non_null(strstr(ctx.message, bad[i].word));
    }
    fd_clear(&ctx);
    assert_int_equal(fd_ratio_init(&ctx, &good, &r), FD_OK);
    float logits[] = {0, NAN}, h[2] = {7, 7};
    double t[] = {1, 1};
    fd_ratio before = r;
    assert_int_equal(fd_ratio_apply(&ctx, &r, by_name("js"), logits, 1, t, 2, h, NULL, NULL), FD_E_NUMERIC);
    assert_non_null(strstr(ctx.message, "sample 1"));
    assert_memory_equal(&r, &before, sizeof r);
    near(h[0], 7, 0);
    fd_clear(&ctx);
    assert_int_equal(fd_ratio_apply(&ctx, &r, by_name("js"), logits, 1, t, 0, h, NULL, NULL), FD_E_SHAPE);
}

static void noise_levels(void **state) {
    double g[18];
    fd_karras_grid(18, 0.002, 80, 7, g);
    near(g[0], 80, 1e-12);
    near(g[17], 0.002, 1e-15);
    near(g[9], pow(pow(80, 1 / 7.) + 9 / 17. * (pow(0.002, 1 / 7.) - pow(80, 1 / 7.)), 7), 1e-13);
    fd_polynomial p;
    fd_polynomial_init(&p, 0.002, 80, 7);
    near(p.level[500], 2.527, 5e-4);                    /* published landmarks */
    near(p.level[998], 79.56, 5e-3);
    near(p.level[2], 0.0021, 5e-5);
    near(p.level[100], 0.01675, 5e-6);
    near(fd_polynomial_quantile(&p, 0), p.level[2], 0);
    near(fd_polynomial_quantile(&p, 1), p.level[998], 0);

    fd_rng rng = {.seed = 5, .purpose = FD_RNG_TEST, .index = 0};
    int below = 0, n = 4000;
    double low = 1e9, high = 0, sum = 0, sq = 0;
    for (int i = 0; i < n; i++) {
        double t = fd_polynomial_draw(&p, &rng, (uint64_t)i);
        below += t < 1;
        low = fmin(low, t);
        high = fmax(high, t);
        double l = log(fd_sigma_lognormal(&rng, (uint64_t)i, -1.2, 1.2));
        sum += l;
        sq += l * l;
    }
    near(below / (double)n, 0.403, 5 * sqrt(0.403 * 0.597 / n));    /* five standard errors */
    assert_true(low >= p.level[2] && high <= p.level[998]);
    near(sum / n, -1.2, 5 * 1.2 / sqrt(n));
    near(sqrt(sq / n - sum * sum / n / n), 1.2, 5 * 1.2 / sqrt(2.0 * n));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand), cmocka_unit_test(normalisations_off),
                                       cmocka_unit_test(order_does_not_matter), cmocka_unit_test(spacings),
                                       cmocka_unit_test(refusals), cmocka_unit_test(noise_levels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
