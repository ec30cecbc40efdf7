#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "models/net.h"

enum { R = 8, N = 2, C = 3, EACH = C * R * R };

static fd_net_config config(fd_family family, fd_precond_type precond) {
    fd_net_config c;
    fd_net_config_preset(&c, family);
    c.precond = precond;
    c.resolution = R;
    c.model_channels = 8;
    c.levels = 2;
    c.channel_mult[0] = 1;
    c.channel_mult[1] = 2;
    c.num_blocks = 1;
    c.nattn = 0;
    return c;
}

/* The definitions, the other way round: from the time of the process to the noise level. */
static void coefficients(void **state) {
    (void)state;
    float skip, out, in, noise;
    for (double t = 0.001; t <= 1; t += 0.001) {
        fd_net_config c = config(FD_FAMILY_DDPMPP, FD_PRECOND_VP);
        double sigma = sqrt(exp(0.5 * 19.9 * t * t + 0.1 * t) - 1);
        fd_precond_coefficients(&c, &sigma, 1, &skip, &out, &in, &noise);
        assert_true(skip == 1 && out == (float)-sigma && fabs(in * sqrt(sigma * sigma + 1) - 1) < 1e-6);
        assert_true(fabs(noise / (999 * t) - 1) < 2e-6);
        c.precond = FD_PRECOND_VE;
        fd_precond_coefficients(&c, &sigma, 1, &skip, &out, &in, &noise);
        assert_true(skip == 1 && out == (float)sigma && in == 1 && fabs(exp(noise) * 2 / sigma - 1) < 1e-6);
        c.precond = FD_PRECOND_EDM;
        fd_precond_coefficients(&c, &sigma, 1, &skip, &out, &in, &noise);
        /* EDM's are made so that variances add up: c_skip is Wiener's filter, c_in x has variance 1. */
        assert_true(fabs(skip - 0.25 * in * in) < 1e-6 && fabs(out - 0.5 * sigma * in) < 1e-6 * fabs(out));
    }
}

/* iDDPM's levels satisfy u_j^2 + 1 = 1 / (product of the clipped ratios): for early steps, where nothing is clipped,
 * that is alpha_bar(1000) cancelled from a telescoping product. */
static double iddpm_level(int j) {
    double ratio = 1;
    for (int k = 1000; k > j; k--) {
        double a = sin(M_PI / 2 * (k - 1) / 1000 / 1.008), b = sin(M_PI / 2 * k / 1000 / 1.008);
        ratio *= fmax(a * a / (b * b), 0.001);
    }
    return sqrt(1 / ratio - 1);
}

static void iddpm_levels(void **state) {
    (void)state;
    fd_net_config c = config(FD_FAMILY_ADM, FD_PRECOND_IDDPM);
    float skip, out, in, noise;
    double low, high;
    fd_precond_range(&c, &low, &high);
    assert_true(fabs(low / iddpm_level(999) - 1) < 1e-9 && fabs(high / iddpm_level(0) - 1) < 1e-9);
    for (int j = 1; j < 1000; j += 7) {
        double here = iddpm_level(j), next = iddpm_level(j + 1), between = here + 0.4 * (next - here);
        assert_true(here > next);
        assert_true(fabs(fd_precond_round(&c, between) / here - 1) < 1e-9);
        fd_precond_coefficients(&c, &between, 1, &skip, &out, &in, &noise);
        assert_true(noise == 999 - j && out == (float)-between);
    }
    assert_true(fd_precond_round(&c, 1e9) == high);
    assert_true(fd_precond_round(&c, 1e-9) == low);
    c.precond = FD_PRECOND_VP;
    assert_true(fd_precond_round(&c, 0.123) == 0.123);
}

static void denoise(fd_net *net, const float *x, double sigma, float *D) {
    fd_ctx ctx = {.threads = 1};
    fd_denoiser *d;
    double sigmas[N] = {sigma, sigma};
    if (fd_denoiser_new(&ctx, net, N, NULL, &d) != FD_OK ||
        fd_denoiser_run(&ctx, d, x, sigmas, NULL, NULL, D) != FD_OK)
        fail_msg("%s", ctx.message);
    fd_denoiser_free(d);
}

/* The same U-Net under two preconditionings, asked so that it sees the same picture and noise label: from one result
 * follows F, and from F the other. iDDPM's network gives twice the channels, of which only the first half matter. */
static void same_network(void **state) {
    (void)state;
    static const fd_precond_type kinds[] = {FD_PRECOND_VP, FD_PRECOND_VE, FD_PRECOND_IDDPM};
    for (size_t k = 0; k < FD_COUNT(kinds); k++) {
        fd_ctx ctx = {0};
        fd_net_config edm = config(FD_FAMILY_ADM, FD_PRECOND_EDM), other = config(FD_FAMILY_ADM, kinds[k]);
        fd_net *a, *b;
        float x[N * EACH], y[N * EACH], D[N * EACH], E[N * EACH], o[4], e[4];
        assert_int_equal(fd_net_new(&ctx, &edm, &a), FD_OK);
        assert_int_equal(fd_net_new(&ctx, &other, &b), FD_OK);
        assert_int_equal(fd_net_fill_formula(&ctx, a, "x:", 1), FD_OK);
        assert_int_equal(fd_net_fill_formula(&ctx, b, "x:", 1), FD_OK);
        for (int i = 0; i < a->params.n; i++) {      /* a tensor is the beginning of its namesake */
            const fd_param *p = &a->params.list[i], *q = &b->params.list[i];
            assert_string_equal(p->name, q->name);
            assert_true(p->count == q->count || (kinds[k] == FD_PRECOND_IDDPM && q->count == 2 * p->count));
            memcpy(b->params.w + q->offset, a->params.w + p->offset, (size_t)p->count * sizeof(float));
        }
        fd_params_touch(&b->params);
        double sigma = kinds[k] == FD_PRECOND_VE ? 3 : fd_precond_round(&other, 0.02), twin;
        fd_precond_coefficients(&other, &sigma, 1, &o[0], &o[1], &o[2], &o[3]);
        twin = exp(4 * (double)o[3]);                /* its EDM label is the other's */
        fd_precond_coefficients(&edm, &twin, 1, &e[0], &e[1], &e[2], &e[3]);
        for (int i = 0; i < N * EACH; i++) {
            x[i] = (float)sin(i);
            y[i] = x[i] * o[2] / e[2];
        }
        denoise(b, x, sigma, D);
        denoise(a, y, twin, E);
        double worst = 0, size = 0;
        for (int i = 0; i < N * EACH; i++) {
            double F = (E[i] - (double)e[0] * y[i]) / e[1], want = (double)o[0] * x[i] + o[1] * F;
            worst = fmax(worst, fabs(D[i] - want));
            size = fmax(size, fabs(o[1] * F));
        }
        if (!(worst < 1e-4 * size)) fail_msg("kind %d: off by %g of %g", (int)kinds[k], worst, size);
        fd_net_free(a);
        fd_net_free(b);
    }
}

static void names(void **state) {
    (void)state;
    fd_ctx ctx = {0};
    fd_arena a = {0};
    fd_net_config c = config(FD_FAMILY_ADM, FD_PRECOND_IDDPM), back;
    const char *json;
    assert_int_equal(fd_net_config_format(&ctx, &a, &c, &json), FD_OK);
    assert_non_null(strstr(json, "\"precond\":\"iddpm\""));
    assert_int_equal(fd_net_config_parse(&ctx, "x", json, strlen(json), &back), FD_OK);
    assert_int_equal(back.precond, FD_PRECOND_IDDPM);
    char *wrong = fd_arena_strdup(&ctx, &a, json);
    memcpy(strstr(wrong, "iddpm"), "ieepm", 5);
    assert_int_equal(fd_net_config_parse(&ctx, "x", wrong, strlen(wrong), &back), FD_E_FORMAT);
    assert_non_null(strstr(ctx.message, "network option precond: needs \"edm\", \"vp\", \"ve\" or \"iddpm\""));
    fd_arena_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(coefficients), cmocka_unit_test(iddpm_levels),
                                       cmocka_unit_test(same_network), cmocka_unit_test(names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
