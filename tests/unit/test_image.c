#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rng.h"
#include "io/image.h"

/* 8x8 pixels, red growing to the right, green downwards; baseline 4:2:0. */
static const uint8_t small_jpeg[] = {
    0xff, 0xd8, 0xff, 0xe0, 0x00, 0x10, 0x4a, 0x46, 0x49, 0x46, 0x00, 0x01, 0x01, 0x00, 0x00, 0x01, 0x00, 0x01,
    0x00, 0x00, 0xff, 0xdb, 0x00, 0x43, 0x00, 0x10, 0x0b, 0x0c, 0x0e, 0x0c, 0x0a, 0x10, 0x0e, 0x0d, 0x0e, 0x12,
    0x11, 0x10, 0x13, 0x18, 0x28, 0x1a, 0x18, 0x16, 0x16, 0x18, 0x31, 0x23, 0x25, 0x1d, 0x28, 0x3a, 0x33, 0x3d,
    0x3c, 0x39, 0x33, 0x38, 0x37, 0x40, 0x48, 0x5c, 0x4e, 0x40, 0x44, 0x57, 0x45, 0x37, 0x38, 0x50, 0x6d, 0x51,
    0x57, 0x5f, 0x62, 0x67, 0x68, 0x67, 0x3e, 0x4d, 0x71, 0x79, 0x70, 0x64, 0x78, 0x5c, 0x65, 0x67, 0x63, 0xff,
    0xdb, 0x00, 0x43, 0x01, 0x11, 0x12, 0x12, 0x18, 0x15, 0x18, 0x2f, 0x1a, 0x1a, 0x2f, 0x63, 0x42, 0x38, 0x42,
    0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63,
    0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63,
    0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0x63, 0xff, 0xc0, 0x00, 0x11,
    0x08, 0x00, 0x08, 0x00, 0x08, 0x03, 0x01, 0x22, 0x00, 0x02, 0x11, 0x01, 0x03, 0x11, 0x01, 0xff, 0xc4, 0x00,
    0x15, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x06, 0xff, 0xc4, 0x00, 0x17, 0x10, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x21, 0x31, 0xff, 0xc4, 0x00, 0x15, 0x01, 0x01, 0x01, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x04, 0xff, 0xc4, 0x00, 0x18,
    0x11, 0x00, 0x03, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x02, 0x03, 0x11, 0x12, 0xff, 0xda, 0x00, 0x0c, 0x03, 0x01, 0x00, 0x02, 0x11, 0x03, 0x11, 0x00, 0x3f, 0x00,
    0x9f, 0x9e, 0x1e, 0x60, 0x0a, 0xda, 0x8d, 0xa1, 0x0a, 0xbf, 0x07, 0xff, 0xd9};

static void make_pixels(fd_image *m, uint8_t *p, int w, int h, int c) {
    *m = (fd_image){.p = p, .w = w, .h = h, .c = c};
    fd_rng r = {.seed = 1, .purpose = FD_RNG_TEST};
    for (int i = 0; i < w * h * c; i++) p[i] = (uint8_t)(i % 7 ? i : (int)fd_rng_below(&r, (uint64_t)i, 256));
}

static void png_round_trip_and_text(void **state) {
    fd_ctx ctx = {0};
    static uint8_t pixels[3 * 50 * 40];
    for (int c = 1; c <= 3; c += 2)
        for (int w = 1; w <= 50; w += 7) {
            fd_arena a = {0};
            fd_image m, back;
            make_pixels(&m, pixels, w, 40, c);
            fd_png_text text[] = {{"seed", "17"}, {"note", "two\nlines"}};
            fd_bytes one, two;
            assert_int_equal(fd_png_encode(&ctx, &a, &m, text, 2, &one), FD_OK);
            assert_int_equal(fd_png_encode(&ctx, &a, &m, text, 2, &two), FD_OK);
            assert_true(one.size == two.size && !memcmp(one.data, two.data, one.size));
            assert_int_equal(fd_image_decode(&ctx, one, "x", &back), FD_OK);
            assert_true(back.w == w && back.h == 40 && back.c == c);
            assert_memory_equal(back.p, m.p, (size_t)(w * 40 * c));
            fd_image_free(&back);
            assert_string_equal(fd_png_find_text(&ctx, &a, one, "seed"), "17");
            assert_string_equal(fd_png_find_text(&ctx, &a, one, "note"), "two\nlines");
            assert_null(fd_png_find_text(&ctx, &a, one, "see"));
            fd_arena_free(&a);
        }
    char path[64];
    snprintf(path, sizeof path, "/tmp/fd-test-image-%ld.png", (long)getpid());
    fd_image m, back;
    make_pixels(&m, pixels, 5, 4, 3);
    assert_int_equal(fd_png_save(&ctx, path, &m, NULL, 0), FD_OK);
    assert_int_equal(fd_image_load(&ctx, path, &back), FD_OK);
    assert_memory_equal(back.p, m.p, 60);
    fd_image_free(&back);
    unlink(path);
    assert_int_equal(fd_image_load(&ctx, path, &back), FD_E_IO);
    fd_clear(&ctx);
    fd_arena a = {0};
    fd_bytes b;
    fd_png_text bad = {"", "x"};
    assert_int_equal(fd_png_encode(&ctx, &a, &m, &bad, 1, &b), FD_E_ARG);
    fd_clear(&ctx);
    fd_image none = {.p = pixels, .w = 0, .h = 5, .c = 3};
    assert_int_equal(fd_png_encode(&ctx, &a, &none, NULL, 0, &b), FD_E_ARG);
    assert_non_null(strstr(ctx.message, "cannot make PNG"));
    fd_arena_free(&a);
}

/* 2 x 2, 24 bits, bottom row first, blue green red, rows filled up to 4 bytes. */
static const uint8_t small_bmp[70] = {
    'B', 'M', 70, 0, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 24, 0,
    [54] = 7, 8, 9, 10, 11, 12, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0};

static void decode_copy(const uint8_t *data, size_t n, fd_status want) {
    fd_ctx ctx = {0};
    fd_image m;
    uint8_t *copy = malloc(n ? n : 1);          /* exact size, so that a read beyond it is seen */
    memcpy(copy, data, n);
    fd_status s = fd_image_decode(&ctx, (fd_bytes){copy, n}, "pic", &m);
    if (want != FD_OK) {
        if (s != want) fail_msg("%zu bytes: status %d, %s", n, s, ctx.message);
        assert_int_equal(strncmp(ctx.message, "pic: ", 5), 0);
        assert_null(m.p);
    }
    fd_image_free(&m);
    free(copy);
}

static void damaged_pictures(void **state) {
    fd_ctx ctx = {0};
    fd_arena a = {0};
    static uint8_t pixels[12 * 10 * 3];
    fd_image m;
    fd_bytes png;
    make_pixels(&m, pixels, 12, 10, 3);
    assert_int_equal(fd_png_encode(&ctx, &a, &m, NULL, 0, &png), FD_OK);
    static const uint8_t ppm[] = "P6 2 2 255\nabcdefghijkl", pgm[] = "P5 2 2 255\nabcd";
    struct { const uint8_t *p; size_t n; } files[] = {
        {png.data, png.size}, {small_jpeg, sizeof small_jpeg}, {ppm, sizeof ppm - 1}, {pgm, sizeof pgm - 1},
        {small_bmp, sizeof small_bmp}};
    for (size_t k = 0; k < FD_COUNT(files); k++) {
        decode_copy(files[k].p, files[k].n, FD_OK);
        for (size_t n = 0; n < files[k].n; n++) decode_copy(files[k].p, n, FD_E_FORMAT);
        uint8_t *copy = malloc(files[k].n);
        memcpy(copy, files[k].p, files[k].n);
        for (size_t i = 0; i < files[k].n; i++)            /* a changed byte may decode, but never crashes */
            for (int v = 0; v < 256; v += 37) {
                copy[i] ^= (uint8_t)(v | 1);
                decode_copy(copy, files[k].n, FD_OK);
                copy[i] = files[k].p[i];
            }
        free(copy);
    }
    static const uint8_t wide[] = "P6 2 2 65535\nabcdefghijklmnopqrstuvwx", odd[] = "P5 2 x 255\nabcd";
    decode_copy(wide, sizeof wide, FD_E_UNSUPPORTED);
    decode_copy(odd, sizeof odd, FD_E_FORMAT);
    static const uint8_t noise[] = "<html>not a picture</html>", bomb[] = "P6 30000 2000 255\nabc";
    decode_copy(noise, sizeof noise, FD_E_FORMAT);
    decode_copy(bomb, sizeof bomb, FD_E_FORMAT);
    for (uint64_t k = 1; k < 12; k++) {                     /* memory running out anywhere is reported */
        fd_image out;
        fd_clear(&ctx);
        fd_alloc_fail_at(k);
        fd_image_decode(&ctx, png, "pic", &out);
        fd_alloc_fail_at(0);
        fd_image_free(&out);
        fd_alloc_fail_at(k);
        fd_clear(&ctx);
        fd_image_decode(&ctx, (fd_bytes){small_jpeg, sizeof small_jpeg}, "pic", &out);
        fd_alloc_fail_at(0);
        fd_image_free(&out);
    }
    fd_arena_free(&a);
}

static void jpeg_pnm_bmp(void **state) {
    fd_ctx ctx = {0};
    fd_image m;
    assert_int_equal(fd_image_decode(&ctx, (fd_bytes){small_jpeg, sizeof small_jpeg}, "j", &m), FD_OK);
    assert_true(m.w == 8 && m.h == 8 && m.c == 3);
    /* Pillow gives the same numbers. */
    assert_true(m.p[0] == 4 && m.p[1] == 2 && m.p[2] == 111);
    const uint8_t *last = m.p + 63 * 3;
    assert_true(last[0] == 109 && last[1] == 110 && last[2] == 140);
    fd_image_free(&m);
    assert_int_equal(fd_image_decode(&ctx, (fd_bytes){(const uint8_t *)"P5 # a note\n 2 2\n255\nabcd", 25}, "p", &m),
                     FD_OK);
    assert_true(m.c == 1 && m.w == 2 && !memcmp(m.p, "abcd", 4));
    fd_image_free(&m);
    static const uint8_t pixels[] = {3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10};
    assert_int_equal(fd_image_decode(&ctx, (fd_bytes){small_bmp, sizeof small_bmp}, "b", &m), FD_OK);
    assert_true(m.w == 2 && m.h == 2 && m.c == 3);
    assert_memory_equal(m.p, pixels, sizeof pixels);
    fd_image_free(&m);
    uint8_t other[sizeof small_bmp];
    memcpy(other, small_bmp, sizeof other);
    memcpy(other + 22, (int32_t[]){-2}, 4);             /* top row first */
    assert_int_equal(fd_image_decode(&ctx, (fd_bytes){other, sizeof other}, "b", &m), FD_OK);
    assert_memory_equal(m.p, pixels + 6, 6);
    fd_image_free(&m);
    other[30] = 1;                                      /* run lengths */
    decode_copy(other, sizeof other, FD_E_UNSUPPORTED);
    assert_true(fd_image_name("a/b.PNG") && fd_image_name("x.jpeg") && !fd_image_name("x.txt") &&
                !fd_image_name("png"));
}

static void grids_and_plane_order(void **state) {
    fd_ctx ctx = {0};
    uint8_t chw[3 * 3 * 2 * 2], back[12];               /* three pictures 2x2 */
    for (int i = 0; i < 36; i++) chw[i] = (uint8_t)i;
    fd_image m;
    assert_int_equal(fd_image_grid(&ctx, chw, 3, 3, 2, 2, 0, 1, 2, &m), FD_OK);
    assert_true(m.w == 9 && m.h == 9 && m.c == 3);
    assert_true(m.p[0] == 0 && m.p[1] == 4 && m.p[2] == 8 && m.p[3] == 0);          /* doubled */
    assert_true(m.p[4 * 3] == 255 && m.p[4 * 9 * 3] == 255 && m.p[80 * 3] == 255);  /* gap, empty cell */
    assert_int_equal(m.p[5 * 3], 12);
    assert_int_equal(m.p[(5 * 9 + 2) * 3 + 1], 24 + 4 + 1);
    fd_image_free(&m);
    assert_int_equal(fd_image_from_chw(&ctx, chw + 12, 3, 2, 2, &m), FD_OK);
    fd_image_to_chw(&m, back);
    assert_memory_equal(back, chw + 12, 12);
    fd_image_free(&m);
    assert_int_equal(fd_image_grid(&ctx, chw, 0, 3, 2, 2, 0, 1, 2, &m), FD_E_ARG);
    fd_clear(&ctx);
    assert_int_equal(fd_image_grid(&ctx, chw, 1, 2, 2, 2, 0, 1, 2, &m), FD_E_ARG);
    fd_clear(&ctx);
    assert_int_equal(fd_image_grid(&ctx, chw, 3, 3, 2, 2, 0, 0, 1 << 20, &m), FD_E_FORMAT);
    fd_image_free(&m);
}

static void a_small_file_holds_no_giant(void **state) {
    fd_ctx ctx = {0};
    fd_arena a = {0};
    fd_image m = {.w = 5000, .h = 5000, .c = 3}, back;
    fd_bytes file;
    m.p = fd_alloc(&ctx, (size_t)m.w * (size_t)m.h * 3);            /* 72 MiB of zeros */
    assert_int_equal(fd_png_encode(&ctx, &a, &m, NULL, 0, &file), FD_OK);
    assert_true(file.size < 1 << 20);
    assert_int_equal(fd_image_decode(&ctx, file, "x", &back), FD_E_FORMAT);
    assert_non_null(strstr(ctx.message, "too large to trust"));
    m.h = 3500;                                                      /* 50 MiB */
    fd_clear(&ctx);
    assert_int_equal(fd_png_encode(&ctx, &a, &m, NULL, 0, &file), FD_OK);
    assert_int_equal(fd_image_decode(&ctx, file, "x", &back), FD_OK);
    fd_image_free(&back);
    fd_image_free(&m);
    fd_arena_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_round_trip_and_text), cmocka_unit_test(damaged_pictures), cmocka_unit_test(jpeg_pnm_bmp),
        cmocka_unit_test(grids_and_plane_order), cmocka_unit_test(a_small_file_holds_no_giant)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
