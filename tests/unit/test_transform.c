/* Transforms give the pixels of EDM's and EDM2's tools; the digests were made with Pillow 13 and NumPy by the same rules on the
 * same bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/formula.h"
#include "base/sha256.h"
#include "io/transform.h"

/* digest NULL: the picture is left out. */
static const struct { fd_transform t; int w, h, c, to_w, to_h; const char *digest; } cases[] = {
    {FD_TRANSFORM_SCALE, 37, 29, 1, 16, 16, "ecf818eb5417dca6361ec3d920b46f84cd8bbc7aeb86335128c0dc95faa9d7c3"},
    {FD_TRANSFORM_CROP, 100, 75, 3, 32, 32, "9a5375a6e943d9b4ab591787e4a26cb8d46621fafd653943760c3dcd1c2be9e8"},
    {FD_TRANSFORM_CROP, 41, 64, 1, 32, 32, "f595a15e658407495c186821171e792d2411a18764311804eb6ccc1d08473ea3"},
    {FD_TRANSFORM_CROP, 20, 31, 3, 32, 32, "f74ad8cdaca9f96a89278325228a5cddd08a70afe38f8a40c26bbe1afa3e723f"},
    {FD_TRANSFORM_CROP_WIDE, 100, 80, 3, 64, 48, "614412dfb4f3d1d407cc1199db7da460fcbde0a2b4675cec8660ff7adf4a0da9"},
    {FD_TRANSFORM_CROP_WIDE, 90, 61, 1, 32, 20, "6a013f3d5275a217fa484c711fab543d1f82f7eab49674acda85b44d1d1ee0b6"},
    {FD_TRANSFORM_CROP_WIDE, 63, 80, 3, 64, 48, NULL},
    {FD_TRANSFORM_CROP_WIDE, 200, 90, 3, 64, 40, NULL},
    {FD_TRANSFORM_CROP_DHARIWAL, 500, 375, 3, 64, 64, "e3626373d45f37b7d07725b81b677348f0d8c7a50d063e86518ed48c675e5793"},
    {FD_TRANSFORM_CROP_DHARIWAL, 133, 257, 1, 64, 64, "13d98e357adc327114de7b032cb93dc233478e63544b753d1afd39eedb3759f4"},
    {FD_TRANSFORM_CROP_DHARIWAL, 64, 64, 3, 64, 64, "625e3c9eb9a774a42eb331e023d9bc4b3b2b2c575729cffaca7ae673255c4b1e"},
    {FD_TRANSFORM_CROP_DHARIWAL, 50, 41, 3, 64, 64, "9d177f53329f3dd390805cfab838504341cdf6d943c693f3abfa10fd3b8d952f"},
    {FD_TRANSFORM_CROP_DHARIWAL, 129, 128, 3, 32, 32, "48a50fc714fe586f622ab51b6283aa698c9a1641ece89ebb528f11fa33c49082"},
};

static void test_pixels(void **state) {
    (void)state;
    static fd_ctx ctx;
    for (size_t k = 0; k < FD_COUNT(cases); k++) {
        bool left_out;
        size_t n = (size_t)cases[k].w * (size_t)cases[k].h * (size_t)cases[k].c;
        fd_image m = {.p = fd_alloc(&ctx, n), .w = cases[k].w, .h = cases[k].h, .c = cases[k].c};
        for (size_t i = 0; i < n; i++) m.p[i] = (uint8_t)(fd_splitmix64(i) >> 56);
        assert_int_equal(fd_transform_image(&ctx, cases[k].t, cases[k].to_w, cases[k].to_h, &m, &left_out), FD_OK);
        assert_int_equal(left_out, !cases[k].digest);
        if (cases[k].digest) {
            fd_sha256 s;
            char hex[65];
            assert_true(m.w == cases[k].to_w && m.h == cases[k].to_w);
            fd_sha256_init(&s);
            fd_sha256_add(&s, m.p, (size_t)m.w * (size_t)m.h * (size_t)m.c);
            fd_sha256_hex(&s, hex);
            assert_string_equal(hex, cases[k].digest);
        }
        fd_image_free(&m);
    }
}

static void test_refused(void **state) {
    (void)state;
    static fd_ctx ctx;
    static const struct { fd_transform t; int w, h; } bad[] = {
        {FD_TRANSFORM_CROP, 8, 6}, {FD_TRANSFORM_SCALE, 0, 0}, {FD_TRANSFORM_CROP_WIDE, 8, 5}, {FD_TRANSFORM_CROP_WIDE, 6, 8}};
    uint8_t p[64] = {0};
    bool left_out;
    for (size_t k = 0; k < FD_COUNT(bad); k++) {
        fd_image m = {.p = p, .w = 8, .h = 8, .c = 1};
        assert_int_equal(fd_transform_image(&ctx, bad[k].t, bad[k].w, bad[k].h, &m, &left_out), FD_E_ARG);
        assert_ptr_equal(m.p, p);
        fd_clear(&ctx);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pixels), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
