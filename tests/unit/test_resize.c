/* Resampling gives Pillow's pixels; the digests were made with Pillow 13 on the same bytes: LANCZOS for sets, and for clean-fid's
 * way to Inception's input BICUBIC of each plane in mode "F", clipped to 0 … 255, minus 128, over 128, as float32. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/formula.h"
#include "base/sha256.h"
#include "eval/inception_input.h"
#include "io/resize.h"

static const struct { int w, h, c, to_w, to_h; const char *digest; } cases[] = {
    {32, 32, 3, 16, 16, "5e26795f434f32f4db22dc7b5d2df451cfec6c6e195f02f95699e0de02794c46"},
    {37, 29, 3, 64, 64, "08289f71fc7570e428294e47800501ec4fab4e0bb6dc7074681912d2f918b7fe"},
    {75, 75, 1, 32, 32, "301aa380936307cc4bc75567ebd2d42ae5fc154bf5b4ae255b9241d04b827df4"},
    {100, 80, 3, 33, 80, "2c0cd1c852e9c71335a3978e3528ae3c1979d6176f88e3614406ec2e63702d91"},
    {5, 5, 3, 1, 1, "2c58048c97777d847d48c3c163b4d08aa07af1e90a1d394ee0bb4f4eea54353e"},
};

static void test_pillow(void **state) {
    (void)state;
    static fd_ctx ctx;
    for (size_t k = 0; k < FD_COUNT(cases); k++) {
        size_t n = (size_t)cases[k].w * (size_t)cases[k].h * (size_t)cases[k].c;
        fd_image in = {.p = fd_alloc(&ctx, n), .w = cases[k].w, .h = cases[k].h, .c = cases[k].c}, out;
        for (size_t i = 0; i < n; i++) in.p[i] = (uint8_t)(fd_splitmix64(i) >> 56);
        assert_int_equal(fd_image_resize(&ctx, &in, FD_FILTER_LANCZOS, cases[k].to_w, cases[k].to_h, &out), FD_OK);
        fd_sha256 s;
        char hex[65];
        fd_sha256_init(&s);
        fd_sha256_add(&s, out.p, (size_t)out.w * (size_t)out.h * (size_t)out.c);
        fd_sha256_hex(&s, hex);
        assert_string_equal(hex, cases[k].digest);
        fd_free(in.p);
        fd_free(out.p);
    }
}

static const struct { int w, h, c; const char *digest; } clean_cases[] = {
    {32, 32, 3, "cf1f9437e51ab677d03b3a79e63fa3df99d6f54eb5c49e1b81d63199d80c7917"},
    {299, 64, 3, "43b3027fd42d783e0e8eb1a4eacbac04f219dd2a664815fee349c045f21b70e5"},
    {20, 299, 1, "ebd6a027ff0d2f115a79c81cedcc055f323c9c38f9416689b48971323ed0e465"},
    {640, 400, 3, "6cfb7aa218728977eab401c250d0cad1a24a16fbea622cd7abfdf78bad9a2d15"},
    {1000, 301, 1, "ed72f3b627afa4818e4000021653e343b97973d44fa9b18497b8db40aa5b7fac"},
    {299, 299, 3, "313b5a0f514f727804a64e4d828b6b0644d6522395ca268607efa477ed1e456e"},
};

static void test_clean_fid(void **state) {
    (void)state;
    static fd_ctx ctx;
    static float out[3 * 299 * 299];
    for (size_t k = 0; k < FD_COUNT(clean_cases); k++) {
        int w = clean_cases[k].w, h = clean_cases[k].h, c = clean_cases[k].c;
        size_t n = (size_t)w * (size_t)h * (size_t)c;
        uint8_t *in = fd_alloc(&ctx, n);
        fd_resizer *r;
        fd_sha256 s;
        char hex[65];
        for (size_t i = 0; i < n; i++) in[i] = (uint8_t)(fd_splitmix64(i) >> 56);
        assert_int_equal(fd_resizer_new(&ctx, FD_RESIZE_CLEAN, c, h, w, &r), FD_OK);
        fd_resizer_run(r, in, 1, out);
        fd_sha256_init(&s);
        fd_sha256_add(&s, out, sizeof out);
        fd_sha256_hex(&s, hex);
        assert_string_equal(hex, clean_cases[k].digest);
        fd_resizer_free(r);
        fd_free(in);
    }
}

static void test_limits(void **state) {
    (void)state;
    static fd_ctx ctx;
    uint8_t p[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    fd_image in = {.p = p, .w = 5, .h = 2, .c = 1}, out;
    assert_int_equal(fd_image_crop(&ctx, &in, 1, 0, 2, 2, &out), FD_OK);
    assert_true(out.p[0] == 2 && out.p[1] == 3 && out.p[2] == 7 && out.p[3] == 8);
    fd_image_free(&out);
    assert_int_equal(fd_image_crop(&ctx, &in, 4, 0, 2, 2, &out), FD_E_ARG);
    fd_clear(&ctx);
    assert_int_equal(fd_image_crop(&ctx, &in, 0, -1, 2, 2, &out), FD_E_ARG);
    fd_clear(&ctx);
    assert_int_equal(fd_image_resize(&ctx, &in, FD_FILTER_BOX, 0, 4, &out), FD_E_ARG);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pillow), cmocka_unit_test(test_clean_fid), cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
