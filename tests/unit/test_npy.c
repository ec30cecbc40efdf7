#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/npy.h"

static char path[64];

/* A version-1 file from header text and data. */
static fd_status parse(fd_ctx *ctx, fd_arena *a, const char *header, const void *data, size_t n, fd_npy *out) {
    size_t length = strlen(header);
    uint8_t *f = malloc(10 + length + n);
    memcpy(f, "\x93NUMPY\x01\x00", 8);
    f[8] = (uint8_t)length;
    f[9] = (uint8_t)(length >> 8);
    memcpy(f + 10, header, length);
    memcpy(f + 10 + length, data, n);
    fd_clear(ctx);
    fd_status s = fd_npy_parse(ctx, a, (fd_bytes){f, 10 + length + n}, "x.npy", out);
    free(f);
    return s;
}

static void orders_and_byte_orders(void **state) {
    fd_ctx ctx = {0};
    fd_arena a = {0};
    fd_npy m;
    int16_t columns[6] = {1, 4, 2, 5, 3, 6};
    assert_int_equal(parse(&ctx, &a, "{'descr': '<i2', 'fortran_order': True, 'shape': (2, 3), }\n", columns, 12, &m),
                     FD_OK);
    assert_true(m.rank == 2 && m.dim[0] == 2 && m.dim[1] == 3 && m.count == 6 && m.dtype == FD_NPY_I2);
    for (int i = 0; i < 6; i++) assert_int_equal(((const int16_t *)m.data)[i], i + 1);
    const double *d = fd_npy_doubles(&ctx, &a, &m);
    assert_true(d[0] == 1 && d[5] == 6);
    uint8_t big[8] = {0x3f, 0xf0, 0, 0, 0, 0, 0, 0};
    assert_int_equal(parse(&ctx, &a, "{\"shape\":(), 'fortran_order':False,'descr':'>f8'}", big, 8, &m), FD_OK);
    assert_true(m.rank == 0 && m.count == 1 && *(const double *)m.data == 1.0);
    int8_t cube[24];
    for (int i = 0; i < 24; i++) cube[i] = (int8_t)i;
    assert_int_equal(parse(&ctx, &a, "{'descr': '|i1', 'fortran_order': True, 'shape': (2, 3, 4L), }", cube, 24, &m),
                     FD_OK);
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 4; k++) assert_int_equal(((const int8_t *)m.data)[(i * 3 + j) * 4 + k],
                                                         i + 2 * j + 6 * k);
    uint16_t half[2] = {0x3c00, 0xc100};
    assert_int_equal(parse(&ctx, &a, "{'descr': '<f2', 'fortran_order': False, 'shape': (2,)}", half, 4, &m), FD_OK);
    d = fd_npy_doubles(&ctx, &a, &m);
    assert_true(d[0] == 1 && d[1] == -2.5);
    assert_int_equal(parse(&ctx, &a, "{'descr': '|b1', 'fortran_order': False, 'shape': (0, 9)}", half, 0, &m),
                     FD_OK);
    assert_int_equal(m.count, 0);
    fd_arena_free(&a);
}

static void refuses(void **state) {
    static const struct { const char *header; fd_status code; } bad[] = {
        {"", FD_E_FORMAT},
        {"{", FD_E_FORMAT},
        {"{}", FD_E_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False}", FD_E_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x", FD_E_FORMAT},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}", FD_E_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': 2}", FD_E_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", FD_E_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}", FD_E_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,2)}", FD_E_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", FD_E_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 2)}", FD_E_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,)}", FD_E_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", FD_E_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", FD_E_FORMAT},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", FD_E_FORMAT},
        {"{'x': '<f4', 'fortran_order': False, 'shape': (2,)}", FD_E_FORMAT},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", FD_E_UNSUPPORTED},
        {"{'descr': '<U4', 'fortran_order': False, 'shape': (2,)}", FD_E_UNSUPPORTED},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", FD_E_UNSUPPORTED},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", FD_E_UNSUPPORTED}};
    fd_ctx ctx = {0};
    fd_arena a = {0};
    fd_npy m;
    float two[2] = {1, 2};
    for (size_t i = 0; i < FD_COUNT(bad); i++) {
        fd_status s = parse(&ctx, &a, bad[i].header, two, sizeof two, &m);
        if (s != bad[i].code) fail_msg("%s: status %d %s", bad[i].header, s, ctx.message);
        assert_int_equal(strncmp(ctx.message, "x.npy: ", 7), 0);
    }
    assert_int_equal(parse(&ctx, &a, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", two, 8, &m), FD_OK);
    fd_clear(&ctx);
    assert_int_equal(fd_npy_load(&ctx, &a, "/nonexistent.npy", &m), FD_E_IO);
    fd_arena_free(&a);
}

static void writes_and_reads_back(void **state) {
    fd_ctx ctx = {0};
    fd_arena a = {0};
    double sigma[4] = {1, 0.5, 0.5, 2};
    int64_t labels[3] = {7, -1, INT64_MAX};
    uint8_t meta[] = "{\"n\": 5}";
    fd_npz_entry e[] = {{"sigma", {.dtype = FD_NPY_F8, .rank = 2, .dim = {2, 2}, .data = sigma}},
                        {"labels", {.dtype = FD_NPY_I8, .rank = 1, .dim = {3}, .data = labels}},
                        {"fdistill_meta", {.dtype = FD_NPY_U1, .rank = 1, .dim = {8}, .data = meta}}};
    assert_int_equal(fd_npz_write(&ctx, path, e, 3), FD_OK);
    fd_zip *z;
    fd_npy m;
    assert_int_equal(fd_zip_open(&ctx, path, &z), FD_OK);
    assert_true(fd_npz_has(z, "sigma") && !fd_npz_has(z, "mu"));
    assert_int_equal(fd_npz_read(&ctx, z, "sigma", &a, &m), FD_OK);
    assert_true(m.rank == 2 && (uintptr_t)m.data % 64 == 0 && !memcmp(m.data, sigma, sizeof sigma));
    assert_ptr_equal(fd_npy_doubles(&ctx, &a, &m), m.data);
    assert_int_equal(fd_npz_read(&ctx, z, "labels", &a, &m), FD_OK);
    assert_memory_equal(m.data, labels, sizeof labels);
    assert_int_equal(fd_npz_read(&ctx, z, "mu", &a, &m), FD_E_FORMAT);
    assert_non_null(strstr(ctx.message, "array 'mu' is missing"));
    fd_zip_close(z);
    fd_clear(&ctx);
    assert_int_equal(fd_npy_save(&ctx, path, &e[0].array), FD_OK);
    assert_int_equal(fd_npy_load(&ctx, &a, path, &m), FD_OK);
    assert_memory_equal(m.data, sigma, sizeof sigma);
    fd_bytes f;
    assert_int_equal(fd_file_map(&ctx, path, &f), FD_OK);
    assert_int_equal(f.size, 128 + sizeof sigma);
    for (size_t n = 0; n < f.size; n++) {                /* cut anywhere: an error */
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, f.data, n);
        fd_clear(&ctx);
        assert_int_equal(fd_npy_parse(&ctx, &a, (fd_bytes){copy, n}, "x", &m), FD_E_FORMAT);
        free(copy);
    }
    uint8_t *copy = malloc(f.size);
    memcpy(copy, f.data, f.size);
    for (size_t i = 0; i < f.size; i++)                  /* changed anywhere: no crash */
        for (int v = 1; v < 256; v += 6) {
            copy[i] ^= (uint8_t)v;
            fd_clear(&ctx);
            fd_npy_parse(&ctx, &a, (fd_bytes){copy, f.size}, "x", &m);
            copy[i] = f.data[i];
        }
    free(copy);
    fd_file_unmap(&f);
    fd_clear(&ctx);
    e[0].array.dim[0] = -1;
    assert_int_equal(fd_npz_write(&ctx, path, e, 3), FD_E_ARG);
    fd_arena_free(&a);
}

int main(void) {
    snprintf(path, sizeof path, "/tmp/fd-test-npy-%ld", (long)getpid());
    const struct CMUnitTest tests[] = {cmocka_unit_test(orders_and_byte_orders), cmocka_unit_test(refuses),
                                       cmocka_unit_test(writes_and_reads_back)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
