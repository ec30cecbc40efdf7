#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/safetensors.h"

static char path[64], path2[64];

/* A file in memory: header text and `bytes` bytes of data. */
static fd_bytes make(const char *header, size_t bytes) {
    uint64_t n = strlen(header);
    uint8_t *p = calloc(1, 8 + n + bytes);
    memcpy(p, &n, 8);
    memcpy(p + 8, header, n);
    for (size_t i = 0; i < bytes; i++) p[8 + n + i] = (uint8_t)i;
    return (fd_bytes){p, 8 + n + bytes};
}

static void refuses(const char *header, size_t bytes, fd_status code, const char *message) {
    fd_ctx ctx = {0};
    fd_safetensors s;
    fd_bytes b = make(header, bytes);
    assert_int_equal(fd_safetensors_parse(&ctx, b, "x.st", &s), code);
    if (!strstr(ctx.message, message)) fail_msg("'%s' not in '%s'", message, ctx.message);
    if (strncmp(ctx.message, "x.st", 4)) fail_msg("no file name in '%s'", ctx.message);
    free((void *)b.data);
}

#define T(name, dtype, shape, a, b) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #a "," #b "]}"

static void hostile_headers(void **state) {
    refuses("{" T("a", "F32", "[2]", 0, 8) "}", 7, FD_E_FORMAT, "tensor 'a': data lies at bytes 0 to 8, the file has "
            "7");
    refuses("{" T("a", "F32", "[2]", 0, 8) "}", 9, FD_E_FORMAT, "1 bytes after the last tensor");
    refuses("{" T("a", "F32", "[2]", 0, 4) "}", 4, FD_E_FORMAT, "its shape needs 8 bytes, its offsets give 4");
    refuses("{" T("a", "F32", "[2]", 8, 0) "}", 8, FD_E_FORMAT, "data lies at");
    refuses("{" T("a", "F32", "[2]", -8, 0) "}", 8, FD_E_FORMAT, "allowed are 0");
    refuses("{" T("a", "F32", "[-1]", 0, 8) "}", 8, FD_E_FORMAT, "key 'shape' is -1");
    refuses("{" T("a", "F32", "[4294967296,4294967296]", 0, 8) "}", 8, FD_E_FORMAT, "out of range");
    refuses("{" T("a", "F32", "[4611686018427387904]", 0, 8) "}", 8, FD_E_FORMAT, "out of range");
    refuses("{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, FD_E_FORMAT, "lists 9 numbers");
    refuses("{" T("a", "F32", "[2.0]", 0, 8) "}", 8, FD_E_FORMAT, "list of integers");
    refuses("{" T("a", "F32", "[2]", 0, 99999999999999999999) "}", 8, FD_E_FORMAT, "not valid JSON");
    refuses("{" T("a", "F8_E4M3", "[2]", 0, 2) "}", 2, FD_E_UNSUPPORTED, "tensor 'a': dtype 'F8_E4M3'");
    refuses("{" T("a", "F32", "[1]", 0, 4) "," T("a", "F32", "[1]", 4, 8) "}", 8, FD_E_FORMAT, "duplicate");
    refuses("{" T("a", "F32", "[2]", 0, 8) "," T("b", "F32", "[2]", 4, 12) "}", 12, FD_E_FORMAT, "overlaps");
    refuses("{" T("a", "F32", "[1]", 0, 4) "," T("b", "F32", "[1]", 8, 12) "}", 12, FD_E_FORMAT, "belong to no "
            "tensor");
    refuses("{" T("a", "F32", "[1]", 4, 8) "}", 8, FD_E_FORMAT, "belong to no tensor");
    refuses("{\"a\":5}", 0, FD_E_FORMAT, "not an object");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 4, FD_E_FORMAT, "key 'data_offsets' is missing");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0]}}", 4, FD_E_FORMAT, "two numbers");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"x\":1}}", 4, FD_E_FORMAT, "unknown key");
    refuses("{\"__metadata__\":[]}", 0, FD_E_FORMAT, "__metadata__ is not an object");
    refuses("{\"__metadata__\":{\"k\":1}}", 0, FD_E_FORMAT, "key 'k' is not text");
    refuses("[]", 0, FD_E_FORMAT, "not a JSON object");
    refuses("{} x", 0, FD_E_FORMAT, "not valid JSON");
    fd_ctx ctx = {0};
    fd_safetensors s;
    uint8_t huge[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, '{', '}'};
    assert_int_equal(fd_safetensors_parse(&ctx, (fd_bytes){huge, sizeof huge}, "x.st", &s), FD_E_FORMAT);
    fd_safetensors_close(&s);
    fd_clear(&ctx);
    assert_int_equal(fd_safetensors_open(&ctx, "/nonexistent.safetensors", &s), FD_E_IO);
    fd_safetensors_close(&s);
}

static void every_truncation_and_every_flipped_byte(void **state) {
    fd_bytes b = make("{\"__metadata__\":{\"a\":\"b\"}," T("w", "F32", "[2,1]", 0, 8) "," T("v", "I64", "[]", 8,
                                                                                            16) "}", 16);
    for (size_t n = 0; n < b.size; n++) {
        fd_ctx ctx = {0};
        fd_safetensors s;
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, b.data, n);
        assert_int_equal(fd_safetensors_parse(&ctx, (fd_bytes){copy, n}, "x.st", &s), FD_E_FORMAT);
        free(copy);
    }
    for (size_t i = 0; i < b.size; i++)
        for (int bit = 0; bit < 8; bit++) {
            fd_ctx ctx = {0};
            fd_safetensors s;
            ((uint8_t *)b.data)[i] ^= (uint8_t)(1 << bit);
            if (fd_safetensors_parse(&ctx, b, "x.st", &s) == FD_OK)
                for (int k = 0; k < s.n; k++) {                  /* whatever was accepted can be read */
                    float out[16];
                    assert_true(s.tensor[k].count <= 16);
                    fd_safetensors_read_f32(&ctx, &s, s.tensor[k].name, -1, NULL, out);
                }
            fd_safetensors_close(&s);
            ((uint8_t *)b.data)[i] ^= (uint8_t)(1 << bit);
        }
    free((void *)b.data);
}

static void writes_and_reads_back(void **state) {
    fd_ctx ctx = {0};
    float f[6] = {1, -2, 3.5f, 0, INFINITY, -0.0f};
    double d[2] = {1.0 / 3, 1e300};
    uint16_t h[5] = {0x3c00, 0xc000, 0x0001, 0x7c00, 0x83ff}, b[2] = {0x3f80, 0xc040};
    int64_t l[2] = {-5, INT64_MAX};
    uint8_t u[3] = {0, 128, 255};
    fd_st_tensor t[] = {{.name = "z.f32", .dtype = FD_ST_F32, .rank = 2, .dim = {2, 3}, .data = f},
                        {.name = "a.f64", .dtype = FD_ST_F64, .rank = 1, .dim = {2}, .data = d},
                        {.name = "h", .dtype = FD_ST_F16, .rank = 1, .dim = {5}, .data = h},
                        {.name = "b", .dtype = FD_ST_BF16, .rank = 1, .dim = {2}, .data = b},
                        {.name = "l", .dtype = FD_ST_I64, .rank = 1, .dim = {2}, .data = l},
                        {.name = "s", .dtype = FD_ST_F32, .rank = 0, .data = f + 2},
                        {.name = "empty", .dtype = FD_ST_F32, .rank = 2, .dim = {0, 7}, .data = f},
                        {.name = "u", .dtype = FD_ST_U8, .rank = 1, .dim = {3}, .data = u}};
    fd_st_meta meta[] = {{"kind", "test \"q\""}, {"é", "ü"}};
    assert_int_equal(fd_safetensors_write(&ctx, path, t, FD_COUNT(t), meta, 2), FD_OK);
    assert_int_equal(fd_safetensors_write(&ctx, path2, t, FD_COUNT(t), meta, 2), FD_OK);
    fd_bytes x, y;
    assert_int_equal(fd_file_map(&ctx, path, &x), FD_OK);
    assert_int_equal(fd_file_map(&ctx, path2, &y), FD_OK);
    assert_true(x.size == y.size && !memcmp(x.data, y.data, x.size));      /* equal input, equal bytes */
    fd_file_unmap(&x);
    fd_file_unmap(&y);
    fd_safetensors s;
    assert_int_equal(fd_safetensors_open(&ctx, path, &s), FD_OK);
    assert_int_equal(s.n, FD_COUNT(t));
    assert_int_equal(((const uint8_t *)s.tensor[0].data - s.map.data) % 64, 0);
    assert_string_equal(s.tensor[0].name, "z.f32");
    assert_string_equal(fd_safetensors_meta(&s, "kind"), "test \"q\"");
    assert_string_equal(fd_safetensors_meta(&s, "é"), "ü");
    assert_null(fd_safetensors_meta(&s, "none"));
    float out[6];
    int64_t shape[2] = {2, 3}, wide[1] = {6}, li[2];
    assert_int_equal(fd_safetensors_read_f32(&ctx, &s, "z.f32", 2, shape, out), FD_OK);
    assert_memory_equal(out, f, sizeof f);
    assert_int_equal(fd_safetensors_read_f32(&ctx, &s, "h", -1, NULL, out), FD_OK);
    assert_true(out[0] == 1 && out[1] == -2 && out[2] == 0x1p-24f && isinf(out[3]) && out[4] == -0x3ffp-24f);
    assert_int_equal(fd_safetensors_read_f32(&ctx, &s, "b", -1, NULL, out), FD_OK);
    assert_true(out[0] == 1 && out[1] == -3);
    assert_int_equal(fd_safetensors_read_f32(&ctx, &s, "u", -1, NULL, out), FD_OK);
    assert_true(out[1] == 128 && out[2] == 255);
    assert_int_equal(fd_safetensors_read_f32(&ctx, &s, "s", 0, NULL, out), FD_OK);
    assert_true(out[0] == 3.5f);
    double dd[2];
    assert_int_equal(fd_safetensors_read_f64(&ctx, &s, "a.f64", -1, NULL, dd), FD_OK);
    assert_memory_equal(dd, d, sizeof d);
    assert_int_equal(fd_safetensors_read_i64(&ctx, &s, "l", -1, NULL, li), FD_OK);
    assert_memory_equal(li, l, sizeof l);
    assert_int_equal(fd_safetensors_read_i64(&ctx, &s, "b", -1, NULL, li), FD_E_SHAPE);
    fd_clear(&ctx);
    assert_int_equal(fd_safetensors_read_f32(&ctx, &s, "z.f32", 1, wide, out), FD_E_SHAPE);
    assert_non_null(strstr(ctx.message, "tensor 'z.f32' has shape [2,3], [6] is needed"));
    fd_clear(&ctx);
    assert_int_equal(fd_safetensors_read_f32(&ctx, &s, "nope", -1, NULL, out), FD_E_ARG);
    assert_non_null(strstr(ctx.message, "tensor 'nope' is missing"));
    fd_clear(&ctx);
    /* The digest ignores order, sees names, shapes and data. */
    char a[65], c[65];
    assert_int_equal(fd_safetensors_digest(&ctx, s.tensor, s.n, a), FD_OK);
    fd_st_tensor swapped[FD_COUNT(t)];
    for (size_t i = 0; i < FD_COUNT(t); i++) swapped[i] = t[FD_COUNT(t) - 1 - i];
    assert_int_equal(fd_safetensors_digest(&ctx, swapped, FD_COUNT(t), c), FD_OK);
    assert_string_equal(a, c);
    u[2] = 254;
    assert_int_equal(fd_safetensors_digest(&ctx, swapped, FD_COUNT(t), c), FD_OK);
    assert_string_not_equal(a, c);
    fd_safetensors_close(&s);
    fd_safetensors_close(&s);
}

static void writer_refuses(void **state) {
    fd_ctx ctx = {0};
    float f = 1;
    fd_st_tensor t[] = {{.name = "a", .dtype = FD_ST_F32, .data = &f}, {.name = "a", .dtype = FD_ST_F32, .data = &f}};
    unlink(path);
    assert_int_equal(fd_safetensors_write(&ctx, path, t, 2, NULL, 0), FD_E_ARG);
    assert_non_null(strstr(ctx.message, "'a' is used twice"));
    t[1].name = "__metadata__";
    fd_clear(&ctx);
    assert_int_equal(fd_safetensors_write(&ctx, path, t, 2, NULL, 0), FD_E_ARG);
    t[1].name = "\xff";
    fd_clear(&ctx);
    assert_int_equal(fd_safetensors_write(&ctx, path, t, 2, NULL, 0), FD_E_ARG);
    t[1] = (fd_st_tensor){.name = "big", .dtype = FD_ST_F32, .rank = 2, .dim = {INT64_MAX, 2}, .data = &f};
    fd_clear(&ctx);
    assert_int_equal(fd_safetensors_write(&ctx, path, t, 2, NULL, 0), FD_E_FORMAT);
    fd_clear(&ctx);
    assert_int_equal(fd_safetensors_write(&ctx, "/nonexistent/x", t, 1, NULL, 0), FD_E_IO);
    assert_false(fd_file_exists(path));
    for (uint64_t k = 1; k < 6; k++) {                     /* memory running out anywhere leaves no file */
        fd_clear(&ctx);
        fd_alloc_fail_at(k);
        if (fd_safetensors_write(&ctx, path, t, 1, NULL, 0) != FD_OK) assert_false(fd_file_exists(path));
        fd_safetensors s = {0};
        if (fd_file_exists(path)) assert_true(fd_safetensors_open(&ctx, path, &s) == FD_OK || ctx.code == FD_E_NOMEM);
        fd_alloc_fail_at(0);
        fd_safetensors_close(&s);
        unlink(path);
    }
}

int main(void) {
    snprintf(path, sizeof path, "/tmp/fd-test-st-%ld.safetensors", (long)getpid());
    snprintf(path2, sizeof path2, "/tmp/fd-test-st-%ld-2.safetensors", (long)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_headers), cmocka_unit_test(every_truncation_and_every_flipped_byte),
        cmocka_unit_test(writes_and_reads_back), cmocka_unit_test(writer_refuses)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    unlink(path2);
    return failed;
}
