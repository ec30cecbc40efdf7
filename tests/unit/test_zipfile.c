#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/zipfile.h"

static char path[64], path2[64];

static fd_bytes text(const char *s) { return (fd_bytes){(const uint8_t *)s, strlen(s)}; }

static fd_status write_small(fd_ctx *ctx, const char *to) {
    fd_zip_writer *w;
    fd_bytes two[] = {text("first "), text("and second")}, none = {NULL, 0};
    FD_TRY(fd_zip_create(ctx, to, &w));
    fd_status s = fd_zip_add(ctx, w, "a/b.txt", two, 2);
    if (s == FD_OK) s = fd_zip_add(ctx, w, "empty", &none, 1);
    if (s == FD_OK) s = fd_zip_add(ctx, w, "b\xc3\xbc.txt", two, 1);
    if (s == FD_OK) return fd_zip_commit(ctx, w);
    fd_zip_abandon(w);
    return s;
}

static void round_trip(void **state) {
    fd_ctx ctx = {0};
    fd_arena a = {0};
    assert_int_equal(write_small(&ctx, path), FD_OK);
    assert_int_equal(write_small(&ctx, path2), FD_OK);
    fd_bytes x, y, data;
    assert_int_equal(fd_file_map(&ctx, path, &x), FD_OK);
    assert_int_equal(fd_file_map(&ctx, path2, &y), FD_OK);
    assert_true(x.size == y.size && !memcmp(x.data, y.data, x.size));
    fd_file_unmap(&x);
    fd_file_unmap(&y);
    fd_zip *z;
    assert_int_equal(fd_zip_open(&ctx, path, &z), FD_OK);
    assert_int_equal(fd_zip_count(z), 3);
    assert_string_equal(fd_zip_path(z), path);
    assert_int_equal(fd_zip_find(z, "a/b.txt"), 0);
    assert_int_equal(fd_zip_find(z, "empty"), 1);
    assert_int_equal(fd_zip_find(z, "b\xc3\xbc.txt"), 2);
    assert_int_equal(fd_zip_find(z, "a/b.tx"), -1);
    assert_int_equal(fd_zip_size(z, 0), 16);
    assert_int_equal(fd_zip_read(&ctx, z, 0, &a, 16, &data), FD_OK);
    assert_memory_equal(data.data, "first and second", 16);
    assert_int_equal(fd_zip_read(&ctx, z, 1, &a, 0, &data), FD_OK);
    assert_int_equal(data.size, 0);
    assert_int_equal(fd_zip_read(&ctx, z, 0, &a, 15, &data), FD_E_FORMAT);
    assert_non_null(strstr(ctx.message, "member 'a/b.txt' has 16 bytes; at most 15"));
    fd_clear(&ctx);
    assert_int_equal(fd_zip_read(&ctx, z, 3, &a, 15, &data), FD_E_ARG);
    fd_zip_close(z);
    fd_arena_free(&a);
}

/* Opens and reads everything; whatever happens, no crash and an error that names the archive. */
static fd_status read_all(const uint8_t *bytes, size_t n) {
    fd_ctx ctx = {0};
    fd_zip *z;
    fd_arena a = {0};
    uint8_t *copy = malloc(n ? n : 1);
    memcpy(copy, bytes, n);
    fd_status s = fd_zip_open_memory(&ctx, (fd_bytes){copy, n}, "z.zip", &z);
    for (int64_t i = 0; s == FD_OK && i < fd_zip_count(z); i++) {
        fd_bytes data;
        s = fd_zip_read(&ctx, z, i, &a, 1000, &data);
    }
    if (s != FD_OK && strncmp(ctx.message, "z.zip: ", 7)) fail_msg("odd message: %s", ctx.message);
    fd_zip_close(z);
    fd_arena_free(&a);
    free(copy);
    return s;
}

static void damaged_archives(void **state) {
    fd_ctx ctx = {0};
    fd_bytes f;
    assert_int_equal(fd_file_map(&ctx, path, &f), FD_OK);
    assert_int_equal(read_all(f.data, f.size), FD_OK);
    for (size_t n = 0; n < f.size; n++) assert_int_not_equal(read_all(f.data, n), FD_OK);
    uint8_t *copy = malloc(f.size);
    memcpy(copy, f.data, f.size);
    for (size_t i = 0; i < f.size; i++)
        for (int v = 1; v < 256; v += 18) {
            copy[i] ^= (uint8_t)v;
            read_all(copy, f.size);
            copy[i] = f.data[i];
        }
    copy[30 + 7 + 3] ^= 1;                               /* the first byte of data, after header and name */
    assert_int_equal(read_all(copy, f.size), FD_E_FORMAT);
    free(copy);
    fd_file_unmap(&f);
}

/* Replaces a name of the same length in both places where an archive keeps it. */
static fd_status with_name(const char *old, const char *name, size_t n) {
    fd_ctx ctx = {0};
    fd_bytes f;
    assert_int_equal(fd_file_map(&ctx, path, &f), FD_OK);
    uint8_t *copy = malloc(f.size);
    memcpy(copy, f.data, f.size);
    for (size_t i = 0; i + n <= f.size; i++)
        if (!memcmp(copy + i, old, n)) memcpy(copy + i, name, n);
    fd_status s = read_all(copy, f.size);
    free(copy);
    fd_file_unmap(&f);
    return s;
}

static void names_that_are_refused(void **state) {
    assert_int_equal(with_name("a/b.txt", "a/c.txt", 7), FD_OK);
    assert_int_equal(with_name("a/b.txt", "../.txt", 7), FD_E_FORMAT);
    assert_int_equal(with_name("a/b.txt", "ab/..\0/", 7), FD_E_FORMAT);
    assert_int_equal(with_name("a/b.txt", "ab/x/..", 7), FD_E_FORMAT);
    assert_int_equal(with_name("a/b.txt", "/bb.txt", 7), FD_E_FORMAT);
    assert_int_equal(with_name("a/b.txt", "C:b.txt", 7), FD_E_FORMAT);
    assert_int_equal(with_name("a/b.txt", "a\\b.txt", 7), FD_E_FORMAT);
    assert_int_equal(with_name("a/b.txt", "a/b\0txt", 7), FD_E_FORMAT);
    assert_int_equal(with_name("a/b.txt", "a/b..tx", 7), FD_OK);
    assert_int_equal(with_name("b\xc3\xbc.txt", "b\xff\xff.txt", 7), FD_E_FORMAT);      /* marked as UTF-8 */
    assert_int_equal(with_name("b\xc3\xbc.txt", "a/b.txt", 7), FD_E_FORMAT);            /* twice */
    fd_ctx ctx = {0};
    fd_zip_writer *w;
    fd_bytes b = text("x");
    assert_int_equal(fd_zip_create(&ctx, path2, &w), FD_OK);
    assert_int_equal(fd_zip_add(&ctx, w, "../x", &b, 1), FD_E_FORMAT);
    fd_zip_abandon(w);
}

static void more_entries_than_16_bits_count(void **state) {
    fd_ctx ctx = {0};
    fd_zip_writer *w;
    fd_zip *z;
    fd_arena a = {0};
    enum { N = 65600 };
    assert_int_equal(fd_zip_create(&ctx, path2, &w), FD_OK);
    for (int i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof name, "%08d", i);
        fd_bytes b = text(name);
        assert_int_equal(fd_zip_add(&ctx, w, name, &b, 1), FD_OK);
    }
    assert_int_equal(fd_zip_commit(&ctx, w), FD_OK);
    assert_int_equal(fd_zip_open(&ctx, path2, &z), FD_OK);
    assert_int_equal(fd_zip_count(z), N);
    fd_bytes data;
    assert_int_equal(fd_zip_read(&ctx, z, fd_zip_find(z, "00065599"), &a, 100, &data), FD_OK);
    assert_memory_equal(data.data, "00065599", 8);
    fd_zip_close(z);
    fd_arena_free(&a);
}

static void failures_leave_nothing(void **state) {
    fd_ctx ctx = {0};
    fd_zip *z;
    unlink(path2);
    assert_int_equal(fd_zip_open(&ctx, path2, &z), FD_E_IO);
    assert_null(z);
    for (uint64_t k = 1; k < 8; k++) {
        fd_clear(&ctx);
        fd_alloc_fail_at(k);
        fd_status s = write_small(&ctx, path2);
        fd_alloc_fail_at(0);
        if (s != FD_OK) assert_false(fd_file_exists(path2));
        unlink(path2);
        fd_clear(&ctx);
        fd_alloc_fail_at(k);
        s = fd_zip_open(&ctx, path, &z);
        fd_alloc_fail_at(0);
        assert_true(s == FD_OK || (s == FD_E_NOMEM && !z));
        fd_zip_close(z);
    }
    fd_clear(&ctx);
    fd_zip_writer *w;
    assert_int_equal(fd_zip_create(&ctx, "/nonexistent/x.zip", &w), FD_E_IO);
    assert_null(w);
    fd_zip_abandon(w);
}

int main(void) {
    snprintf(path, sizeof path, "/tmp/fd-test-zip-%ld.zip", (long)getpid());
    snprintf(path2, sizeof path2, "/tmp/fd-test-zip-%ld-2.zip", (long)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip), cmocka_unit_test(damaged_archives), cmocka_unit_test(names_that_are_refused),
        cmocka_unit_test(more_entries_than_16_bits_count), cmocka_unit_test(failures_leave_nothing)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    unlink(path2);
    return failed;
}
