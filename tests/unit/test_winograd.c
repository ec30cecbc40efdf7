/* Convolutions: an image has the same bits in any batch and with any number of threads, whichever algorithm runs, and
 * Winograd's error is what its source says. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/rng.h"
#include "cpu/conv_choice.h"

static fd_ctx ctx;
static fd_arena arena;

static void ok(fd_status s) {
    if (s != FD_OK) fail_msg("%s: %s", fd_status_name(s), ctx.message);
}

static float *normals(uint64_t stream, int64_t n) {
    float *p = fd_arena_alloc(&ctx, &arena, (size_t)n * sizeof(float));
    assert_non_null(p);
    fd_rng_normals(&(fd_rng){7, FD_RNG_TEST, stream}, 0, (size_t)n, p);
    return p;
}

typedef struct { int64_t c, k, h, w; int block; fd_dtype dt; } shape;
static const shape shapes[] = {{256, 256, 8, 8, 16, FD_F32}, {512, 64, 16, 16, 16, FD_F32}, {48, 80, 9, 7, 16, FD_F32},
                               {24, 40, 6, 6, 8, FD_F32}, {128, 128, 8, 8, 128, FD_F32},
                               {48, 80, 7, 9, 80, FD_F32}, {256, 64, 33, 17, 256, FD_F32}, {32, 32, 16, 16, 32, FD_F32},
                               {72, 40, 10, 6, 8, FD_F32}, {144, 112, 12, 20, 16, FD_F32}};

/* Runs the first n images; returns y, or dx for backward. x and the result are numbers of s->dt. */
static float *convolve(const shape *s, bool backward, const float *x, const float *w, const float *b, int64_t n,
                       int threads, const char *algo) {
    const fd_kernel *kernel = backward ? &fd_cpu_conv2d_bwd_x : &fd_cpu_conv2d;
    static uint64_t version = 1;
    int64_t in = backward ? s->k : s->c, out = backward ? s->c : s->k;
    float *y = fd_arena_alloc(&ctx, &arena, (size_t)(n * out * s->h * s->w) * sizeof(float));
    fd_call c = {.attr = {.stride = 1, .pad = 1, .pad_w = 1, .h = (int)s->h, .w = (int)s->w}, .threads = threads};
    int in_block = s->block > 16 ? (int)in : s->block, out_block = s->block > 16 ? (int)out : s->block;
    c.in[0] = (fd_buf){NULL, {n, in, s->h, s->w}, in_block, s->dt};
    c.in[1] = (fd_buf){NULL, {s->k, s->c, 3, 3}, 1, FD_F32};
    if (b) c.in[2] = (fd_buf){NULL, {1, s->k, 1, 1}, 1, FD_F32};
    c.out[0] = (fd_buf){NULL, {n, out, s->h, s->w}, out_block, s->dt};
    c.version[1] = &version;
    ok(kernel->prepare(&ctx, &c));
    assert_true(!algo || strstr(c.algo, algo));
    c.in[0].p = (void *)x, c.in[1].p = (void *)w, c.in[2].p = (void *)b, c.out[0].p = y;
    c.work = fd_alloc(&ctx, c.work_bytes);
    assert_non_null(c.work);
    ok(kernel->run(&ctx, &c));
    fd_free(c.work);
    kernel->release(c.state);
    return y;
}

static void same_bits(void **state) {
    for (size_t i = 0; i < FD_COUNT(shapes); i++)
        for (int pass = 0; pass < 5; pass++) {
            const shape *s = &shapes[i];
            const int64_t each = s->h * s->w;
            const bool backward = pass == 1 || pass == 4;
            const bool amx = pass > 2 && s->block > 16 && fd_cpu_has_amx();
            if ((pass == 2 && s->block > 16) || (pass > 2 && !amx)) continue;
            fd_cpu_conv_algorithm(pass == 2 ? FD_CONV_DIRECT : amx ? FD_CONV_AMX : FD_CONV_WINOGRAD);
            const char *algo = pass == 2 ? NULL : amx ? "AMX" : "winograd";
            float *x = normals(1, 16 * (backward ? s->k : s->c) * each), *w = normals(2, s->k * s->c * 9);
            float *b = backward ? NULL : normals(3, s->k);
            float *want = convolve(s, backward, x, w, b, 16, 2, algo);
            for (int64_t n = 1; n < 16; n = 2 * n + 1) {
                float *got = convolve(s, backward, x, w, b, n, n == 1 ? 3 : n == 3 ? 1 : n == 7 ? 11 : 2, algo);
                assert_memory_equal(want, got, (size_t)(n * (backward ? s->c : s->k) * each) * sizeof(float));
            }
            fd_arena_free(&arena);
        }
    fd_cpu_conv_algorithm(FD_CONV_AUTO);
    (void)state;
}

/* dw and db of n images. */
static float *gradients(const shape *s, const float *dy, const float *x, int64_t n, int threads, const char *algo) {
    const fd_kernel *kernel = &fd_cpu_conv2d_bwd_w;
    const int64_t count = s->k * s->c * 9;
    float *g = fd_arena_alloc(&ctx, &arena, (size_t)(count + s->k) * sizeof(float));
    fd_call c = {.attr = {.stride = 1, .pad = 1, .pad_w = 1, .h = (int)s->h, .w = (int)s->w}, .threads = threads};
    const bool last = s->block > 16;
    c.in[0] = (fd_buf){NULL, {n, s->k, s->h, s->w}, last ? (int)s->k : s->block, s->dt};
    c.in[1] = (fd_buf){NULL, {n, s->c, s->h, s->w}, last ? (int)s->c : s->block, s->dt};
    c.out[0] = (fd_buf){NULL, {s->k, s->c, 3, 3}, 1, FD_F32};
    c.out[1] = (fd_buf){NULL, {1, s->k, 1, 1}, 1, FD_F32};
    ok(kernel->prepare(&ctx, &c));
    assert_true(strstr(c.algo, algo));
    c.in[0].p = (void *)dy, c.in[1].p = (void *)x, c.out[0].p = g, c.out[1].p = g + count;
    c.work = fd_arena_alloc(&ctx, &arena, c.work_bytes + 64);
    ok(kernel->run(&ctx, &c));
    kernel->release(c.state);
    return g;
}

static void same_gradients(void **state) {
    for (size_t i = 0; i < FD_COUNT(shapes); i++)
        for (int amx = 0; amx < 2; amx++) {
            const shape *s = &shapes[i];
            const int64_t n = 9, each = s->h * s->w;
            if (amx && (s->block <= 16 || !fd_cpu_has_amx())) continue;
            fd_cpu_conv_algorithm(amx ? FD_CONV_AMX : FD_CONV_WINOGRAD);
            float *dy = normals(1, n * s->k * each), *x = normals(2, n * s->c * each);
            const float *want = gradients(s, dy, x, n, 1, amx ? "AMX" : "winograd");
            for (int threads = 2; threads < 6; threads++)
                assert_memory_equal(want, gradients(s, dy, x, n, threads, amx ? "AMX" : "winograd"),
                                    (size_t)(s->k * s->c * 9 + s->k) * sizeof(float));
            fd_arena_free(&arena);
        }
    fd_cpu_conv_algorithm(FD_CONV_AUTO);
    (void)state;
}

static double element(const shape *s, const float *p, int64_t channels, int64_t c, int64_t y, int64_t x) {
    if (y < 0 || y >= s->h || x < 0 || x >= s->w) return 0;
    fd_buf b = {(void *)p, {1, channels, s->h, s->w}, s->block > 16 ? (int)channels : s->block, FD_F32};
    return p[fd_at(&b, 0, c, y, x)];
}

/* Relative L2 error against float64 for one image of normal numbers. */
static double forward_error(const shape *s, const char *algo) {
    float *x = normals(1, s->c * s->h * s->w), *w = normals(2, s->k * s->c * 9);
    float *y = convolve(s, false, x, w, NULL, 1, 2, algo);
    double err = 0, norm = 0;
    for (int64_t k = 0; k < s->k; k += 5)
        for (int64_t i = 0; i < s->h * s->w; i++) {
            double sum = 0;
            for (int64_t c = 0; c < s->c; c++)
                for (int t = 0; t < 9; t++)
                    sum += w[(k * s->c + c) * 9 + t] * element(s, x, s->c, c, i / s->w + t / 3 - 1, i % s->w + t % 3 - 1);
            double d = element(s, y, s->k, k, i / s->w, i % s->w) - sum;
            err += d * d;
            norm += sum * sum;
        }
    fd_arena_free(&arena);
    return sqrt(err / norm);
}

static void error(void **state) {
    (void)state;
    fd_cpu_conv_algorithm(FD_CONV_WINOGRAD);
    for (size_t i = 0; i < FD_COUNT(shapes); i++) {
        double e = forward_error(&shapes[i], "winograd");
        print_message("%d channels: relative L2 error %.2g\n", (int)shapes[i].c, e);
        assert_true(e < 3e-6);
        if (shapes[i].block <= 16 || !fd_cpu_has_amx()) continue;
        fd_cpu_conv_algorithm(FD_CONV_AMX);
        e = forward_error(&shapes[i], "AMX");
        fd_cpu_conv_algorithm(FD_CONV_WINOGRAD);
        print_message("  on AMX, each factor as two bf16 numbers: %.2g\n", e);
        assert_true(e < 6e-6);                       /* 4.4e-6 is inherent: conv_amx.c */
    }
    fd_cpu_conv_algorithm(FD_CONV_AUTO);
}

/* Pictures of four tiles in bf16: the direct algorithm where the processor has bf16 products, at any batch, with the same
 * bits; the two algorithms differ by the roundings of bf16, 2^-9 of the result and as much of every weight. */
static void few_tiles(void **state) {
    (void)state;
    const shape s = {256, 256, 8, 8, 16, FD_BF16};
    const int64_t each = 256 * 64, most = 8;
    float *wide = normals(1, most * each), *w = normals(2, 256 * 256 * 9), *b = normals(3, 256);
    uint16_t *x = fd_arena_alloc(&ctx, &arena, (size_t)(most * each) * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < most * each; i++) x[i] = fd_f32_to_bf16(wide[i]);
    const char *algo = fd_cpu_has_bf16() ? "bf16" : "winograd";
    const uint16_t *want = (uint16_t *)convolve(&s, false, (float *)x, w, b, most, 2, algo);
    const uint16_t *one = (uint16_t *)convolve(&s, false, (float *)x, w, b, 1, 1, algo);
    assert_memory_equal(want, one, (size_t)each * sizeof *one);
    fd_cpu_conv_algorithm(FD_CONV_WINOGRAD);
    const uint16_t *other = (uint16_t *)convolve(&s, false, (float *)x, w, b, 1, 2, "winograd");
    fd_cpu_conv_algorithm(FD_CONV_AUTO);
    double apart = 0, size = 0;
    for (int64_t i = 0; i < each; i++) {
        double d = fd_bf16_to_f32(one[i]) - fd_bf16_to_f32(other[i]), o = fd_bf16_to_f32(other[i]);
        apart += d * d;
        size += o * o;
    }
    print_message("direct in bf16 and Winograd: %.2g apart\n", sqrt(apart / size));
    assert_true(sqrt(apart / size) < 4e-3);
    fd_arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits), cmocka_unit_test(same_gradients), cmocka_unit_test(few_tiles), cmocka_unit_test(error)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
