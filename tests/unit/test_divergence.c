/* The table of divergences against its definitions in 80-bit arithmetic, and against identities between its columns.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "fdiv/divergence.h"

typedef long double ld;

/* f, f', f'', h of row i straight from the definitions in r. */
static void definition(int i, double l_, ld out[4]) {
    ld l = l_, r = expl(l), s = sqrtl(r);
    ld rows[FD_DIVERGENCES][3] = {
        {-l, -1 / r, 1 / (r * r)},
        {(r + 1) * logl(0.5L + 0.5L / r), logl((r + 1) / (2 * r)) - 1 / r, 1 / (r * r * (r + 1))},
        {r * l - (r + 1) * logl((r + 1) / 2), logl(2 * r / (r + 1)), 1 / (r * (r + 1))},
        {1 - s, -1 / (2 * s), 1 / (4 * r * s)},
        {r * l, l + 1, 1 / r},
        {(r - 1) * l, l + 1 - 1 / r, 1 / r + 1 / (r * r)},
        {(1 - r) * (1 - r) / r, 1 - 1 / (r * r), 2 / (r * r * r)},
        {(r - 1) * (r - 1), 2 * (r - 1), 2},
    };
    for (int k = 0; k < 3; k++) out[k] = rows[i][k];
    out[3] = rows[i][2] * r * r;
}

static double relative(ld a, ld b) { return (double)(b == 0 ? fabsl(a) : fabsl(a - b) / fabsl(b)); }

static void equals_definitions(void **state) {
    for (int i = 0; i < FD_DIVERGENCES; i++) {
        const fd_divergence *d = fd_divergence_at(i);
        double (*const forms[4])(double) = {d->f, d->df, d->d2f, d->h};
        for (int step = -2000; step <= 2000; step += 7) {      /* l = 0 itself is left to the next test */
            double l = step * 0.01;
            ld want[4];
            definition(i, l, want);
            for (int k = 0; k < 4; k++) {
                /* the definitions themselves lose digits where f or f' crosses zero: 80-bit rounding over the size */
                double slack = fabsl(want[k]) < 0.01L ? 1e-18 / (double)fabsl(want[k] ? want[k] : 1) : 0;
                if (!(relative(forms[k](l), want[k]) < 1e-12 + slack))
                    fail_msg("%s: form %d at l = %g: %.17g, want %.17Lg", d->name, k, l, forms[k](l), want[k]);
            }
        }
    }
}

/* Near r = 1:  f = f'(1) (r-1) + f''(1) (r-1)^2 / 2 + O(l^3); forms that subtract big numbers fail here. */
static void accurate_near_one(void **state) {
    for (int i = 0; i < FD_DIVERGENCES; i++) {
        const fd_divergence *d = fd_divergence_at(i);
        assert_true(d->f(0) == 0);
        double l = 1e-5, e = expm1(l), third = d->d2f(0) * 8;   /* f''' is below 8 f'' in every row */
        double series = d->df(0) * e + 0.5 * d->d2f(0) * e * e;
        if (!(fabs(d->f(l) - series) <= third * e * e * e))
            fail_msg("%s: %.17g, series %.17g", d->name, d->f(l), series);
    }
    double l = 1e-7;    /* f of js is l^2/4 (1 + l/2 + …), fourteen digits below its terms */
    assert_true(fabs(fd_divergence_at(2)->f(l) / (0.25 * l * l) - (1 + l / 2)) < 1e-12);
}

static void columns_agree(void **state) {
    for (int i = 0; i < FD_DIVERGENCES; i++) {
        const fd_divergence *d = fd_divergence_at(i);
        double constant = d->h(0.3) / d->weight(0.3);
        for (double l = -6; l <= 6; l += 0.375) {
            double r = exp(l), eps = 1e-5;
            double slope = (d->f(l + eps) - d->f(l - eps)) / (2 * eps) / r;        /* df/dr = df/dl / r */
            assert_true(fabs(slope - d->df(l)) <= 1e-8 * (1 + fabs(d->df(l))));
            double curve = (d->df(l + eps) - d->df(l - eps)) / (2 * eps) / r;
            assert_true(fabs(curve - d->d2f(l)) <= 1e-8 * (1 + fabs(d->d2f(l))));
            assert_true(fabs(d->h(l) / (d->d2f(l) * r * r) - 1) < 1e-13);
            assert_true(fabs(d->h(l) / d->weight(l) / constant - 1) < 1e-13);      /* training weight ~ h */
            assert_true(fabs(d->weight_r((float)r) / d->weight(log((float)r)) - 1) < 1e-4);
            assert_true(d->d2f(l) > 0);
        }
        assert_int_equal(d->constant, !strcmp(d->name, "rkl"));
    }
    assert_true(fabs(fd_divergence_at(6)->weight(-20) - 1e8) < 1e-4);   /* neyman: r stays above 1e-8 */
    assert_true(fd_divergence_at(6)->weight_r(1e-12f) == 1.0f / 1e-8f);
}

static void names(void **state) {
    static const char *const order[] = {"rkl", "sf", "js", "sh", "kl", "jf", "neyman", "pearson"};
    static const char *const other[][2] = {{"forward-kl", "kl"}, {"Forward KL", "kl"}, {"reverse_kl", "rkl"},
                                           {"dmd2", "rkl"}, {"Jensen-Shannon", "js"}, {"hellinger", "sh"},
                                           {"JEFFREYS", "jf"}, {"PEARSON", "pearson"}};
    fd_ctx ctx = {0};
    const fd_divergence *d = NULL;
    for (int i = 0; i < FD_DIVERGENCES; i++) {
        assert_string_equal(fd_divergence_at(i)->name, order[i]);
        assert_int_equal(fd_divergence_find(&ctx, order[i], &d), FD_OK);
        assert_ptr_equal(d, fd_divergence_at(i));
        assert_int_equal(fd_divergence_find(&ctx, fd_divergence_at(i)->title, &d), FD_OK);
        assert_ptr_equal(d, fd_divergence_at(i));
    }
    for (size_t i = 0; i < FD_COUNT(other); i++) {
        assert_int_equal(fd_divergence_find(&ctx, other[i][0], &d), FD_OK);
        assert_string_equal(d->name, other[i][1]);
    }
    assert_null(fd_divergence_at(-1));
    assert_null(fd_divergence_at(FD_DIVERGENCES));
    static const char *const bad[] = {"", "k", "chi", "kl2", "forward", "dmd2 dmd",
                                      "a name that is much longer than any of ours"};
    for (size_t i = 0; i < FD_COUNT(bad); i++) {
        fd_clear(&ctx);
        assert_int_equal(fd_divergence_find(&ctx, bad[i], &d), FD_E_ARG);
        assert_non_null(strstr(ctx.message, bad[i]));
        for (int k = 0; k < FD_DIVERGENCES; k++) assert_non_null(strstr(ctx.message, order[k]));
    }
    assert_int_equal(fd_divergence_find(&ctx, NULL, &d), FD_E_ARG);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(equals_definitions), cmocka_unit_test(accurate_near_one),
                                       cmocka_unit_test(columns_agree), cmocka_unit_test(names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
