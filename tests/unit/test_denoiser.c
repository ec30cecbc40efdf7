/* Networks that run: the denoiser and the feature network, against themselves. Golden cases compare them with
 * PyTorch. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "models/net.h"

#define N 3
#define R 8
#define IMAGE (3 * R * R)

static fd_ctx ctx;
static float x[N * IMAGE], labels[N * 4], augment[N * 2];
static const double sigma[N] = {0.01, 0.7, 40};

static void ok(fd_status s) {
    if (s != FD_OK) fail_msg("%s: %s", fd_status_name(s), ctx.message);
}

static int inputs(void **state) {
    (void)state;
    fd_rng r = {1, FD_RNG_TEST, 0};
    fd_rng_normals(&r, 0, N * IMAGE, x);
    fd_rng_normals(&r, 100000, N * 2, augment);
    for (int i = 0; i < N; i++) labels[4 * i + i] = 1;
    return 0;
}

static fd_net_config config(fd_family f) {
    fd_net_config c;
    fd_net_config_preset(&c, f);
    c.resolution = R;
    c.model_channels = f == FD_FAMILY_ADM ? 64 : 8;
    c.levels = 2;
    c.channel_mult[0] = 1;
    c.channel_mult[1] = 2;
    c.num_blocks = 1;
    c.attn_resolutions[0] = 4;
    c.nattn = 1;
    c.label_dim = 4;
    c.augment_dim = 2;
    return c;
}

static fd_net *formula_net(const fd_net_config *c) {
    fd_net *net;
    ok(fd_net_new(&ctx, c, &net));
    ok(fd_net_fill_formula(&ctx, net, "test:", 1));
    return net;
}

static fd_denoiser *denoiser(fd_net *net, int batch, fd_run_options o) {
    fd_denoiser *d;
    o.backend = fd_backend_reference();
    ok(fd_denoiser_new(&ctx, net, batch, &o, &d));
    return d;
}

static double distance(const float *a, const float *b, int n) {
    double d = 0, s = 0;
    for (int i = 0; i < n; i++) {
        d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        s += (double)b[i] * b[i];
    }
    return sqrt(d / s);
}

/* An image is the same bits alone and in a batch. */
static void batch_does_not_matter(void **state) {
    (void)state;
    for (int f = FD_FAMILY_DDPMPP; f <= FD_FAMILY_ADM; f++) {
        fd_net_config c = config((fd_family)f);
        fd_net *net = formula_net(&c);
        fd_denoiser *many = denoiser(net, N, (fd_run_options){.augment = true});
        fd_denoiser *one = denoiser(net, 1, (fd_run_options){.augment = true});
        float all[N * IMAGE], single[IMAGE];
        ok(fd_denoiser_run(&ctx, many, x, sigma, labels, augment, all));
        for (int i = 0; i < N; i++) {
            ok(fd_denoiser_run(&ctx, one, x + i * IMAGE, sigma + i, labels + 4 * i, augment + 2 * i, single));
            assert_memory_equal(single, all + i * IMAGE, sizeof single);
        }
        fd_denoiser_free(many);
        fd_denoiser_free(one);
        fd_net_free(net);
    }
}

static void absent_means_zero(void **state) {
    (void)state;
    static const float zeros[N * 4];
    fd_net_config c = config(FD_FAMILY_NCSNPP);
    fd_net *net = formula_net(&c);
    fd_denoiser *with = denoiser(net, N, (fd_run_options){.augment = true}),
                *without = denoiser(net, N, (fd_run_options){0});
    float a[N * IMAGE], b[N * IMAGE];
    ok(fd_denoiser_run(&ctx, with, x, sigma, zeros, zeros, a));
    ok(fd_denoiser_run(&ctx, with, x, sigma, NULL, NULL, b));
    assert_memory_equal(a, b, sizeof a);
    ok(fd_denoiser_run(&ctx, without, x, sigma, NULL, NULL, b));
    assert_true(distance(a, b, N * IMAGE) < 1e-6);
    ok(fd_denoiser_run(&ctx, with, x, sigma, labels, augment, b));
    assert_true(distance(a, b, N * IMAGE) > 1e-3);
    fd_denoiser_free(with);
    fd_denoiser_free(without);
    fd_net_free(net);
}

/* The encoder alone gives the features of the whole network. */
static void features_alone(void **state) {
    (void)state;
    fd_net_config c = config(FD_FAMILY_DDPMPP);
    fd_net *net = formula_net(&c);
    fd_run_options o = {.taps = {0, 1}, .ntaps = 2};
    fd_denoiser *whole = denoiser(net, N, o), *encoder;
    o.features_only = true;
    encoder = denoiser(net, N, o);
    static float D[N * IMAGE], a[N * 8 * R * R], b[N * 8 * R * R];
    ok(fd_denoiser_run(&ctx, whole, x, sigma, labels, NULL, D));
    ok(fd_denoiser_run(&ctx, encoder, x, sigma, labels, NULL, NULL));
    for (int i = 0; i < 2; i++) {
        int n = N * fd_tap_channels(&c, i) * fd_tap_resolution(&c, i) * fd_tap_resolution(&c, i);
        ok(fd_denoiser_feature(&ctx, whole, i, a));
        ok(fd_denoiser_feature(&ctx, encoder, i, b));
        assert_memory_equal(a, b, sizeof(float) * (size_t)n);
    }
    assert_true(fd_exec_summary(fd_denoiser_exec(encoder)).flops <
                0.6 * fd_exec_summary(fd_denoiser_exec(whole)).flops);
    fd_denoiser_free(whole);
    fd_denoiser_free(encoder);
    fd_net_free(net);
}

static void bf16_is_close(void **state) {
    (void)state;
    for (int f = FD_FAMILY_DDPMPP; f <= FD_FAMILY_ADM; f++) {
        fd_net_config c = config((fd_family)f);
        fd_net *net = formula_net(&c);
        fd_denoiser *exact = denoiser(net, N, (fd_run_options){0}),
                    *rough = denoiser(net, N, (fd_run_options){.dtype = FD_BF16});
        float a[N * IMAGE], b[N * IMAGE];
        ok(fd_denoiser_run(&ctx, exact, x, sigma, labels, NULL, a));
        ok(fd_denoiser_run(&ctx, rough, x, sigma, labels, NULL, b));
        double d = distance(b, a, N * IMAGE);
        assert_true(d > 1e-5 && d < 2e-2);
        fd_denoiser_free(exact);
        fd_denoiser_free(rough);
        fd_net_free(net);
    }
}

/* A fresh network removes the noise by its preconditioning alone: F is about 0, so D = c_skip x. */
static void fresh_networks(void **state) {
    (void)state;
    for (int f = FD_FAMILY_DDPMPP; f <= FD_FAMILY_ADM; f++) {
        fd_net_config c = config((fd_family)f);
        fd_net *net;
        float D[N * IMAGE], expected[N * IMAGE];
        ok(fd_net_new(&ctx, &c, &net));
        fd_net_init_random(net, 3);
        fd_denoiser *d = denoiser(net, N, (fd_run_options){0});
        ok(fd_denoiser_run(&ctx, d, x, sigma, labels, NULL, D));
        for (int i = 0; i < N * IMAGE; i++) {
            double s = sigma[i / IMAGE];
            expected[i] = (float)(0.25 / (s * s + 0.25) * (double)x[i]);
        }
        assert_true(distance(D, expected, N * IMAGE) < 1e-3);
        fd_denoiser_free(d);
        fd_net_free(net);
    }
}

/* Every encoder and decoder runs and listens to its input. */
static void coder_types(void **state) {
    (void)state;
    float seen[6][N * IMAGE];
    for (int k = 0; k < 6; k++) {
        fd_net_config c = config(FD_FAMILY_NCSNPP);
        c.encoder_type = (fd_coder_type)(k % 3);
        c.decoder_type = (fd_coder_type)(k / 3);
        fd_net *net = formula_net(&c);
        fd_denoiser *d = denoiser(net, N, (fd_run_options){0});
        ok(fd_denoiser_run(&ctx, d, x, sigma, labels, NULL, seen[k]));
        for (int i = 0; i < N * IMAGE; i++) assert_true(isfinite(seen[k][i]));
        for (int j = 0; j < k; j++) assert_true(distance(seen[k], seen[j], N * IMAGE) > 1e-4);
        fd_denoiser_free(d);
        fd_net_free(net);
    }
}

static void misuse(void **state) {
    (void)state;
    fd_net_config c = config(FD_FAMILY_DDPMPP);
    fd_net *net = formula_net(&c);
    fd_denoiser *d = denoiser(net, N, (fd_run_options){0}), *none;
    float D[N * IMAGE];
    double zero[N] = {1, 0, 1};
    assert_int_equal(fd_denoiser_run(&ctx, d, x, zero, labels, NULL, D), FD_E_ARG);
    assert_non_null(strstr(ctx.message, "sample 1"));
    fd_clear(&ctx);
    assert_int_equal(fd_denoiser_run(&ctx, d, x, sigma, labels, augment, D), FD_E_ARG);
    fd_clear(&ctx);
    assert_int_equal(fd_denoiser_new(&ctx, net, 0, NULL, &none), FD_E_ARG);
    fd_clear(&ctx);
    fd_run_options o = {.backend = fd_backend_reference(), .taps = {5}, .ntaps = 1};
    assert_int_equal(fd_denoiser_new(&ctx, net, 1, &o, &none), FD_E_ARG);
    fd_clear(&ctx);
    fd_denoiser_free(d);
    fd_net_free(net);
}

static void feature_networks(void **state) {
    (void)state;
    for (int blocks = 0; blocks < 2; blocks++) {
        fd_net_config c;
        fd_net_config_preset(&c, FD_FAMILY_CLASSIFIER);
        c.resolution = R;
        c.num_blocks = blocks;
        c.classes[1] = 5;
        c.nclasses = 2;
        fd_net *net;
        ok(fd_net_new(&ctx, &c, &net));
        fd_net_init_random(net, 5);
        int d = fd_feature_net_dim(&c);
        fd_feature_net *f;
        fd_run_options o = {.backend = fd_backend_reference()};
        ok(fd_feature_net_new(&ctx, net, N, &o, &f));
        static float raw[N * 64], scaled[N * 64], first[N * 10], second[N * 5];
        float *logits[] = {first, second};
        ok(fd_feature_net_run(&ctx, f, x, raw, logits));
        assert_true(raw[0] != 0 && first[N * 10 - 1] != 0 && second[N * 5 - 1] != 0);
        /* The file's mean and deviation apply to the features. */
        float *mean = net->params.w + net->params.list[fd_params_find(&net->params, "features.mean")].offset;
        float *std = net->params.w + net->params.list[fd_params_find(&net->params, "features.std")].offset;
        mean[1] = 0.5f;
        std[1] = 2;
        ok(fd_feature_net_run(&ctx, f, x, scaled, NULL));
        for (int i = 0; i < N * d; i++) assert_true(scaled[i] == (i % d == 1 ? (raw[i] - 0.5f) / 2 : raw[i]));
        fd_feature_net_free(f);
        fd_net_free(net);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batch_does_not_matter),
        cmocka_unit_test(absent_means_zero),
        cmocka_unit_test(features_alone),
        cmocka_unit_test(bf16_is_close),
        cmocka_unit_test(fresh_networks),
        cmocka_unit_test(coder_types),
        cmocka_unit_test(misuse),
        cmocka_unit_test(feature_networks),
    };
    return cmocka_run_group_tests(tests, inputs, NULL);
}
