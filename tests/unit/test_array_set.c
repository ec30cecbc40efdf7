/* CIFAR's and MNIST's files as they are distributed, small: pixels, labels, every truncation, and what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "io/array_set.h"

enum { PLANES = 3072, SIDE = 32, BATCH = 2 };

static fd_ctx ctx;
static char folder[] = "/tmp/fd-array-set-XXXXXX";

typedef struct { uint8_t p[1 << 18]; size_t n; } buffer;

static void put(buffer *b, const void *p, size_t n) {
    assert_true(b->n + n <= sizeof b->p);
    memcpy(b->p + b->n, p, n);
    b->n += n;
}
#define PUT(b, text) put(b, text, sizeof text - 1)

/* Byte k of picture i; no picture is UTF-8 but those below 128. */
static uint8_t pixel(int i, int k) { return (uint8_t)(i % 2 ? (i * 5 + k * 3) % 128 : i * 37 + k * 11); }
static int label_of(int i) { return (i * 7 + 3) % 10; }

static void put_pixels(buffer *b, int i) {
    for (int k = 0; k < PLANES; k++) put(b, &(uint8_t){pixel(i, k)}, 1);
}

/* A batch as Python 2's cPickle wrote CIFAR-10's: texts and bytes are one kind. */
static void put_pickle(buffer *b, int first, const char *key) {
    PUT(b, "\x80\x02}q\x01(U\x0b" "batch_labelq\x02U\x15training batch 1 of 5q\x03U");
    put(b, &(uint8_t){(uint8_t)strlen(key)}, 1);
    put(b, key, strlen(key));
    PUT(b, "q\x04]q\x05(");
    for (int i = 0; i < BATCH; i++) put(b, (uint8_t[]){'K', (uint8_t)label_of(first + i)}, 2);
    PUT(b, "eU\x04" "dataq\x06" "cnumpy.core.multiarray\n_reconstruct\nq\x07" "cnumpy\nndarray\nq\x08K\x00\x85U\x01" "b\x87Rq\x09(K\x01K\x02M\x00\x0c\x86"
           "cnumpy\ndtype\nq\nU\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T");
    put(b, (uint8_t[]){0x00, 0x18, 0, 0}, 4);
    for (int i = 0; i < BATCH; i++) put_pixels(b, first + i);
    PUT(b, "tbU\x09" "filenamesq\x0c]q\x0d(U\x03" "a.pU\x03" "b.peu.");
}

static void put_binary(buffer *b, int first, int head) {
    for (int i = 0; i < BATCH; i++) {
        if (head == 2) put(b, "\x13", 1);
        put(b, &(uint8_t){(uint8_t)label_of(first + i)}, 1);
        put_pixels(b, first + i);
    }
}

static void put_tar(buffer *b, const char *name, const buffer *data, char type) {
    char h[512] = {0};
    unsigned sum = 0;
    snprintf(h, 100, "%s", name);
    snprintf(h + 100, 8, "%07o", 0644);
    snprintf(h + 124, 12, "%011zo", data->n);
    memcpy(h + 257, "ustar\0" "00", 8);
    memset(h + 148, ' ', 8);
    h[156] = type;
    for (int i = 0; i < 512; i++) sum += (uint8_t)h[i];
    snprintf(h + 148, 8, "%06o", sum);
    put(b, h, 512);
    put(b, data->p, data->n);
    static const char zero[512];
    put(b, zero, (512 - data->n % 512) % 512);
}

static const char *name_in_folder(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static const char *save(const char *name, const void *p, size_t n) {
    const char *path = name_in_folder(name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
    return path;
}

static const char *save_gzip(const char *name, const buffer *b) {
    const char *path = name_in_folder(name);
    gzFile f = gzopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(gzwrite(f, b->p, (unsigned)b->n), (int)b->n);
    gzclose(f);
    return path;
}

static void expect_cifar(const char *path, int n, int first, int classes) {
    fd_array_set s;
    fd_image m;
    assert_true(fd_array_set_is(path));
    assert_int_equal(fd_array_set_open(&ctx, path, &s), FD_OK);
    assert_true(s.n == n && s.c == 3 && s.h == SIDE && s.w == SIDE && s.classes == classes);
    for (int i = 0; i < n; i++) {
        assert_int_equal(s.label[i], label_of(first + i));
        assert_int_equal(fd_array_set_image(&ctx, &s, i, &m), FD_OK);
        for (int c = 0; c < 3; c++)
            for (int k = 0; k < SIDE * SIDE; k++) assert_int_equal(m.p[3 * k + c], pixel(first + i, c * SIDE * SIDE + k));
        fd_image_free(&m);
    }
    fd_array_set_close(&s);
}

static void expect_refused(const char *path, const char *reason) {
    fd_array_set s;
    int64_t live = fd_alloc_live();
    assert_int_equal(fd_array_set_open(&ctx, path, &s), FD_E_FORMAT);
    if (!strstr(ctx.message, reason) || strncmp(ctx.message, path, strlen(path)))
        fail_msg("'%s' does not begin with the path and say '%s'", ctx.message, reason);
    fd_clear(&ctx);
    assert_int_equal(fd_alloc_live(), live);
}

static buffer archive, part;

static void test_archives(void **state) {
    (void)state;
    static const struct { const char *folder, *file; bool pickle; } kinds[] = {
        {"cifar-10-batches-py", "data_batch_%d", true}, {"cifar-10-batches-bin", "data_batch_%d.bin", false}};
    for (size_t k = 0; k < FD_COUNT(kinds); k++) {
        archive.n = part.n = 0;
        put_tar(&archive, kinds[k].folder, &part, '5');
        for (int i = 5; i >= 1; i--) {                /* any order in the archive, numbers decide */
            char file[64], name[128];
            snprintf(file, sizeof file, kinds[k].file, i);
            snprintf(name, sizeof name, "%s/%s", kinds[k].folder, file);
            part.n = 0;
            if (kinds[k].pickle) put_pickle(&part, (i - 1) * BATCH, "labels");
            else put_binary(&part, (i - 1) * BATCH, 1);
            put_tar(&archive, name, &part, '0');
            expect_cifar(save(file, part.p, part.n), BATCH, (i - 1) * BATCH, 10);
        }
        part.n = 0;
        PUT(&part, "hello");
        put_tar(&archive, "readme.html", &part, '0');
        size_t before_end = archive.n;
        put(&archive, (char[1024]){0}, 1024);
        expect_cifar(save_gzip("set.tar.gz", &archive), 5 * BATCH, 0, 10);
        expect_cifar(save("set.tar", archive.p, archive.n), 5 * BATCH, 0, 10);
        expect_cifar(folder, 5 * BATCH, 0, 10);
        for (size_t n = 512; n < before_end; n += 211) {
            fd_array_set s;
            assert_int_not_equal(fd_array_set_open(&ctx, save("cut.tar", archive.p, n), &s), FD_OK);
            fd_clear(&ctx);
        }
        archive.p[700]++;
        expect_refused(save("bent.tar", archive.p, archive.n), "damaged at byte 512");
        for (int i = 1; i <= 5; i++) {
            char file[64];
            snprintf(file, sizeof file, kinds[k].file, i);
            remove(name_in_folder(file));
            if (i == 3) expect_refused(folder, "is missing");
        }
    }
}

static void test_cifar_100(void **state) {
    (void)state;
    part.n = 0;
    put_pickle(&part, 0, "fine_labels");
    expect_cifar(save("train", part.p, part.n), BATCH, 0, 100);
    assert_false(fd_array_set_is(folder));
    save("test", part.p, part.n);
    expect_cifar(folder, BATCH, 0, 100);
    remove(name_in_folder("train"));
    remove(name_in_folder("test"));
    part.n = 0;
    put_binary(&part, 4, 2);
    expect_cifar(save("test.bin", part.p, part.n), BATCH, 4, 100);
    expect_refused(save("test.bin", part.p, part.n - 1), "no whole number");
    remove(name_in_folder("test.bin"));
}

static void test_batches_refused(void **state) {
    (void)state;
    part.n = 0;
    put_pickle(&part, 0, "labels");
    for (size_t n = 4; n < part.n; n += n < 300 ? 1 : 97) {
        fd_array_set s;
        assert_int_not_equal(fd_array_set_open(&ctx, save("test_batch", part.p, n), &s), FD_OK);
        fd_clear(&ctx);
    }
    part.n = 0;
    put_pickle(&part, 0, "lapels");
    expect_refused(save("test_batch", part.p, part.n), "not a batch");
    part.n = 0;
    put_pickle(&part, 0, "labels");
    uint8_t *k = memchr(part.p + 60, 'K', part.n);
    k[1] = 10;
    expect_refused(save("test_batch", part.p, part.n), "label 10");
    part.n = 0;
    PUT(&part, "cos\nsystem\n(S'true'\ntR.");
    fd_array_set s;
    assert_int_equal(fd_array_set_open(&ctx, save("test_batch", part.p, part.n), &s), FD_E_UNSUPPORTED);
    assert_non_null(strstr(ctx.message, "system"));
    fd_clear(&ctx);
    remove(name_in_folder("test_batch"));
    part.n = archive.n = 0;
    put_tar(&archive, "photos/1.png", &part, '0');
    put(&archive, (char[1024]){0}, 1024);
    expect_refused(save("photos.tar", archive.p, archive.n), "without files of CIFAR");
}

static void put_idx(buffer *b, int rank, uint8_t n, uint8_t side) {
    b->n = 0;
    put(b, (uint8_t[]){0, 0, 8, (uint8_t)rank, 0, 0, 0, n}, 8);
    if (rank == 3) put(b, (uint8_t[]){0, 0, 0, side, 0, 0, 0, side}, 8);
    for (int i = 0; i < n * (rank == 3 ? side * side : 1); i++) put(b, &(uint8_t){(uint8_t)(i * 13 % (rank == 3 ? 256 : 7))}, 1);
}

static void test_mnist(void **state) {
    (void)state;
    fd_array_set s;
    fd_image m;
    for (int gz = 0; gz < 2; gz++) {
        const char *ending = gz ? ".gz" : "";
        char name[64];
        put_idx(&part, 3, 3, 28);
        snprintf(name, sizeof name, "train-images-idx3-ubyte%s", ending);
        const char *path = gz ? save_gzip(name, &part) : save(name, part.p, part.n);
        char images[256];
        snprintf(images, sizeof images, "%s", path);
        assert_int_equal(fd_array_set_open(&ctx, images, &s), FD_OK);
        assert_true(s.n == 3 && s.c == 1 && s.h == 32 && s.w == 32 && s.classes == 0);
        assert_int_equal(fd_array_set_image(&ctx, &s, 2, &m), FD_OK);
        for (int y = 0; y < 32; y++)
            for (int x = 0; x < 32; x++) {
                bool inner = y >= 2 && y < 30 && x >= 2 && x < 30;
                assert_int_equal(m.p[32 * y + x], inner ? (2 * 784 + (y - 2) * 28 + x - 2) * 13 % 256 : 0);
            }
        fd_image_free(&m);
        fd_array_set_close(&s);
        put_idx(&part, 1, 3, 0);
        snprintf(name, sizeof name, "train-labels-idx1-ubyte%s", ending);
        if (gz) save_gzip(name, &part);
        else save(name, part.p, part.n);
        assert_int_equal(fd_array_set_open(&ctx, images, &s), FD_OK);
        assert_true(s.classes == 7 && s.label[0] == 0 && s.label[1] == 6 && s.label[2] == 5);
        fd_array_set_close(&s);
        put_idx(&part, 1, 4, 0);
        if (gz) save_gzip(name, &part);
        else save(name, part.p, part.n);
        assert_int_equal(fd_array_set_open(&ctx, images, &s), FD_E_FORMAT);
        assert_non_null(strstr(ctx.message, "4 labels for the 3 pictures"));
        fd_clear(&ctx);
        remove(name_in_folder(name));
    }
    put_idx(&part, 3, 3, 28);
    for (size_t n = 4; n < part.n; n += 53) expect_refused(save("cut-images-idx3-ubyte", part.p, n), n < 16 ? "idx file" : "cut off");
    /* Bytes that are announced but cannot be there; gzip that lies about its size. */
    memset(part.p + 4, 0xff, 12);
    expect_refused(save("big-images-idx3-ubyte", part.p, part.n), "announces");
    put_idx(&part, 3, 3, 28);
    save_gzip("lie.gz", &part);
    FILE *f = fopen(name_in_folder("lie.gz"), "r+b");
    assert_non_null(f);
    fseek(f, -4, SEEK_END);
    fwrite("\0\0\0\0", 1, 4, f);
    fclose(f);
    expect_refused(name_in_folder("lie.gz"), "damaged or cut off");
    f = fopen(name_in_folder("lie.gz"), "r+b");
    assert_non_null(f);
    fseek(f, -4, SEEK_END);
    fwrite("\0\0\0\x70", 1, 4, f);
    fclose(f);
    expect_refused(name_in_folder("lie.gz"), "would unpack to");
}

static void test_none(void **state) {
    (void)state;
    assert_false(fd_array_set_is("/nowhere"));
    assert_false(fd_array_set_is(save("note.txt", "hello, world", 12)));
    assert_false(fd_array_set_is(save("train.bin", "PK\3\4 a zip of that name", 22)));
    remove(name_in_folder("train.bin"));
    assert_false(fd_array_set_is(folder));
    expect_refused(save("note.gz", "\x1f\x8b\x08 nothing of that kind", 24), "gz");
}

static int set_up(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int clean_up(void **state) {
    (void)state;
    char command[300];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_archives), cmocka_unit_test(test_cifar_100),
                                       cmocka_unit_test(test_batches_refused), cmocka_unit_test(test_mnist), cmocka_unit_test(test_none)};
    return cmocka_run_group_tests(tests, set_up, clean_up);
}
