/* Resampling gives Pillow's pixels; the digests were made with Pillow 13 (Image.resize, LANCZOS) on the same bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/formula.h"
#include "base/sha256.h"
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
        fd_image in = {fd_alloc(&ctx, n), cases[k].w, cases[k].h, cases[k].c}, out;
        for (size_t i = 0; i < n; i++) in.p[i] = (uint8_t)(fd_splitmix64(i) >> 56);
        assert_int_equal(fd_image_resize(&ctx, &in, cases[k].to_w, cases[k].to_h, &out), FD_OK);
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

static void test_square(void **state) {
    (void)state;
    static fd_ctx ctx;
    uint8_t p[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    fd_image in = {p, 5, 2, 1}, out;
    assert_int_equal(fd_image_centre_square(&ctx, &in, &out), FD_OK);
    assert_true(out.w == 2 && out.h == 2);
    assert_true(out.p[0] == 2 && out.p[1] == 3 && out.p[2] == 7 && out.p[3] == 8);
    fd_free(out.p);
    in = (fd_image){p, 2, 5, 1};
    assert_int_equal(fd_image_centre_square(&ctx, &in, &out), FD_OK);
    assert_true(out.p[0] == 3 && out.p[3] == 6);
    fd_free(out.p);
    assert_int_equal(fd_image_resize(&ctx, &in, 0, 4, &out), FD_E_ARG);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pillow), cmocka_unit_test(test_square)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
