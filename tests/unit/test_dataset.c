#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rng.h"
#include "io/dataset.h"
#include "io/image.h"
#include "io/zipfile.h"

static char folder[64];
static char zip[128];
enum { N = 130, SIDE = 6, BYTES = 3 * SIDE * SIDE };
static uint8_t pixels[N][BYTES];
static int labels[N];

static fd_status write_set(fd_ctx *ctx, bool labelled) {
    fd_rng r = {.seed = 3, .purpose = FD_RNG_TEST};
    for (int i = 0; i < N; i++) {
        labels[i] = i * 7 % 5;
        for (int k = 0; k < BYTES; k++) pixels[i][k] = (uint8_t)fd_rng_below(&r, (uint64_t)(i * BYTES + k), 256);
    }
    fd_dataset_writer *w;
    FD_TRY(fd_dataset_create(ctx, zip, 3, SIDE, SIDE, &w));
    fd_status s = fd_dataset_add_many(ctx, w, pixels[0], labelled ? labels : NULL, 100);
    if (s == FD_OK) s = fd_dataset_add_many(ctx, w, pixels[100], labelled ? labels + 100 : NULL, N - 100);
    if (s == FD_OK) return fd_dataset_commit(ctx, w, "");
    fd_dataset_abandon(w);
    return s;
}

static void writes_and_reads_an_edm_zip(void **state) {
    fd_ctx ctx = {.quiet = true};
    assert_int_equal(write_set(&ctx, true), FD_OK);
    uint8_t chw[BYTES];
    float label[5];
    char digest[3][65];
    for (int cached = 0; cached < 2; cached++) {
        fd_dataset d;
        fd_dataset_options o = {.use_labels = true, .xflip = true, .cache = cached ? FD_CACHE_ON : FD_CACHE_OFF};
        assert_int_equal(fd_dataset_open(&ctx, zip, &o, &d), FD_OK);
        assert_true(d.n == 2 * N && d.c == 3 && d.h == SIDE && d.w == SIDE && d.label_dim == 5 && d.class_labels);
        assert_string_equal(d.name, "set");
        assert_string_equal(fd_dataset_image_name(&d, N + 7), "00000/img00000007.png");
        for (int i = 0; i < N; i++) {
            assert_int_equal(fd_dataset_get(&ctx, &d, i, chw, label), FD_OK);
            assert_memory_equal(chw, pixels[i], BYTES);
            for (int k = 0; k < 5; k++) assert_true(label[k] == (k == labels[i]));
            assert_int_equal(fd_dataset_class(&d, i + N), labels[i]);
            assert_int_equal(fd_dataset_get(&ctx, &d, i + N, chw, NULL), FD_OK);
            for (int y = 0; y < 3 * SIDE; y++)
                for (int x = 0; x < SIDE; x++)
                    assert_int_equal(chw[y * SIDE + x], pixels[i][y * SIDE + SIDE - 1 - x]);
        }
        assert_int_equal(fd_dataset_get(&ctx, &d, 2 * N, chw, NULL), FD_E_ARG);
        fd_clear(&ctx);
        assert_int_equal(fd_dataset_digest(&ctx, &d, digest[cached]), FD_OK);
        fd_dataset_close(&d);
        fd_dataset_close(&d);
    }
    assert_string_equal(digest[0], digest[1]);
    fd_dataset d;
    fd_dataset_options o = {.max_size = 40, .seed = 5, .use_labels = true}, o2 = o;
    assert_int_equal(fd_dataset_open(&ctx, zip, &o, &d), FD_OK);
    assert_int_equal(d.n, 40);
    int previous = -1;
    for (int i = 0; i < 40; i++) {                      /* the right pictures with the right labels, in order */
        int number = atoi(strstr(fd_dataset_image_name(&d, i), "img") + 3);
        assert_true(number > previous);
        previous = number;
        assert_int_equal(fd_dataset_get(&ctx, &d, i, chw, NULL), FD_OK);
        assert_memory_equal(chw, pixels[number], BYTES);
        assert_int_equal(fd_dataset_class(&d, i), labels[number]);
    }
    assert_int_equal(fd_dataset_digest(&ctx, &d, digest[0]), FD_OK);
    fd_dataset_close(&d);
    o2.seed = 6;
    assert_int_equal(fd_dataset_open(&ctx, zip, &o2, &d), FD_OK);
    assert_int_equal(fd_dataset_digest(&ctx, &d, digest[1]), FD_OK);
    assert_string_not_equal(digest[0], digest[1]);
    fd_dataset_close(&d);
    assert_int_equal(write_set(&ctx, false), FD_OK);
    assert_int_equal(fd_dataset_open(&ctx, zip, &o, &d), FD_E_ARG);
    assert_non_null(strstr(ctx.message, "labels are wanted, but dataset.json says that there are none"));
    fd_clear(&ctx);
    fd_dataset_writer *w;
    int mixed[2] = {3, -1};
    assert_int_equal(fd_dataset_create(&ctx, zip, 3, SIDE, SIDE, &w), FD_OK);
    assert_int_equal(fd_dataset_add_many(&ctx, w, pixels[0], mixed, 2), FD_E_ARG);
    fd_dataset_abandon(w);
    fd_clear(&ctx);
    assert_int_equal(fd_dataset_create(&ctx, zip, 2, SIDE, SIDE, &w), FD_E_ARG);
}

/* A zip of three pictures a/0.png, a/1.png, b/2.png and whatever else is asked for. */
static void make_zip(const char *top, const char *json, int odd_width, bool gray, const char *extra, size_t cut) {
    fd_ctx ctx = {0};
    fd_zip_writer *w;
    fd_arena a = {0};
    assert_int_equal(fd_zip_create(&ctx, zip, &w), FD_OK);
    static const char *const names[] = {"a/0.png", "a/1.png", "b/2.png"};
    for (int i = 0; i < 3; i++) {
        fd_image m;
        fd_bytes png;
        int width = i == 1 && odd_width ? odd_width : SIDE;
        assert_int_equal(fd_image_from_chw(&ctx, pixels[i], i == 1 && gray ? 1 : 3, 3, width, &m), FD_OK);
        if (!odd_width || i != 1) {
            fd_image_free(&m);
            assert_int_equal(fd_image_from_chw(&ctx, pixels[i], i == 1 && gray ? 1 : 3, SIDE, SIDE, &m), FD_OK);
        }
        assert_int_equal(fd_png_encode(&ctx, &a, &m, NULL, 0, &png), FD_OK);
        if (i == 2) png.size -= cut;
        fd_image_free(&m);
        assert_int_equal(fd_zip_add(&ctx, w, fd_arena_printf(&ctx, &a, "%s%s", top, names[i]), &png, 1), FD_OK);
    }
    fd_bytes text = {(const uint8_t *)json, json ? strlen(json) : 0};
    if (json) assert_int_equal(fd_zip_add(&ctx, w, fd_arena_printf(&ctx, &a, "%sdataset.json", top), &text, 1),
                               FD_OK);
    if (extra) assert_int_equal(fd_zip_add(&ctx, w, extra, &text, 1), FD_OK);
    assert_int_equal(fd_zip_commit(&ctx, w), FD_OK);
    fd_arena_free(&a);
}

static fd_status try_open(bool use_labels, const char *message) {
    fd_ctx ctx = {.quiet = true};
    fd_dataset d;
    fd_dataset_options o = {.use_labels = use_labels};
    fd_status s = fd_dataset_open(&ctx, zip, &o, &d);
    if (!strstr(ctx.message, message)) fail_msg("'%s' not in '%s'", message, ctx.message);
    if (s != FD_OK && !strstr(ctx.message, "set.zip")) fail_msg("no path in '%s'", ctx.message);
    fd_dataset_close(&d);
    return s;
}

static int problems(int *fatal, const char *text) {
    fd_ctx ctx = {.quiet = true};
    fd_dataset_report r;
    assert_int_equal(fd_dataset_check(&ctx, zip, &r), FD_OK);
    bool found = !text[0];
    for (int i = 0; i < r.n; i++) found |= strstr(r.problem[i].text, text) != NULL;
    if (!found) fail_msg("'%s' not among %d problems", text, r.n);
    int n = r.n;
    *fatal = (int)r.fatal;
    fd_dataset_report_free(&r);
    return n;
}

#define GOOD "{\"labels\": [[\"a/0.png\", 0], [\"a/1.png\", 1], [\"b/2.png\", 1]]}"

static void labels_are_checked(void **state) {
    static const struct { const char *json, *message; bool always; } bad[] = {
        {"{\"labels\": [[\"a/0.png\", 0], [\"a/1.png\", 1]]}", "'b/2.png': dataset.json has no label for it", false},
        {"{\"labels\": [[\"a/0.png\", 0], [\"a/1.png\", 1], [\"b/2.png\", [1]]]}", "its label is a list", false},
        {"{\"labels\": [[\"a/0.png\", [0]], [\"a/1.png\", [1,2]], [\"b/2.png\", [1]]]}", "has 2 numbers", false},
        {"{\"labels\": [[\"a/0.png\", [0]], [\"a/1.png\", 1], [\"b/2.png\", [1]]]}", "is no list", false},
        {"{\"labels\": [[\"a/0.png\", [\"x\"]], [\"a/1.png\", [1]], [\"b/2.png\", [1]]]}", "not a number", false},
        {"{\"labels\": [[\"a/0.png\", []], [\"a/1.png\", []], [\"b/2.png\", []]]}", "has 0 numbers", false},
        {"{\"labels\": [[\"a/0.png\", -1], [\"a/1.png\", 1], [\"b/2.png\", 1]]}", "negative", false},
        {"{\"labels\": [[\"a/0.png\", 2000000000], [\"a/1.png\", 1], [\"b/2.png\", 1]]}", "2000000000", false},
        {"{\"labels\": [[\"a/0.png\", 0.5], [\"a/1.png\", 1], [\"b/2.png\", 1]]}", "whole number", false},
        {"{\"labels\": [[\"a/0.png\", 0], [\"a/0.png\", 1], [\"a/1.png\", 1], [\"b/2.png\", 1]]}", "listed twice",
         false},
        {"{\"labels\": [[\"a/0.png\"], [\"a/1.png\", 1], [\"b/2.png\", 1]]}", "pair", false},
        {"{\"labels\": 5}", "neither null nor a list", false},
        {"{\"labels\": []}", "no picture has a label", false},
        {"{}", "key \"labels\" is missing", false},
        {"[]", "not a JSON object", false},
        {"{\"labels\": [", "not valid JSON", true}};
    int fatal;
    for (size_t i = 0; i < FD_COUNT(bad); i++) {
        make_zip("", bad[i].json, 0, false, NULL, 0);
        assert_int_equal(try_open(true, bad[i].message), FD_E_FORMAT);
        assert_int_equal(try_open(false, ""), bad[i].always ? FD_E_FORMAT : FD_OK);
        problems(&fatal, strchr(bad[i].message, ':') ? "has no label" : bad[i].message);
        assert_true(fatal > 0);
    }
    make_zip("", GOOD, 0, false, NULL, 0);
    assert_int_equal(try_open(true, ""), FD_OK);
    assert_int_equal(problems(&fatal, ""), 0);
    make_zip("outer/", GOOD, 0, false, NULL, 0);                      /* looked through */
    assert_int_equal(try_open(true, ""), FD_OK);
    make_zip("", "{\"labels\": [[\"a\\\\0.png\", 0], [\"a/1.png\", 4], [\"b/2.png\", 4.0], [\"gone.png\", 9]]}", 0,
             false, NULL, 0);
    assert_int_equal(try_open(true, ""), FD_OK);
    assert_int_equal(problems(&fatal, "3 of 5 classes have no picture, the first is class 1"), 2);
    problems(&fatal, "1 entries name files that are not there");
    assert_int_equal(fatal, 0);
    make_zip("", NULL, 0, false, NULL, 0);
    assert_int_equal(try_open(true, "there is no dataset.json"), FD_E_ARG);
    fd_ctx ctx = {.quiet = true};
    fd_dataset d;
    fd_dataset_options o = {.use_labels = true, .folder_labels = true};
    for (int outer = 0; outer < 2; outer++) {
        make_zip(outer ? "outer/" : "", NULL, 0, false, NULL, 0);
        assert_int_equal(fd_dataset_open(&ctx, zip, &o, &d), FD_OK);
        assert_true(d.label_dim == 2 && fd_dataset_class(&d, 1) == 0 && fd_dataset_class(&d, 2) == 1);
        fd_dataset_close(&d);
    }
    make_zip("", NULL, 0, false, "top.png", 0);
    assert_int_equal(fd_dataset_open(&ctx, zip, &o, &d), FD_E_FORMAT);
    assert_non_null(strstr(ctx.message, "'top.png': it is in no folder"));
}

static void pictures_are_checked(void **state) {
    int fatal;
    make_zip("", GOOD, 4, false, NULL, 0);
    assert_int_equal(try_open(false, "'a/1.png' has 4 x 3 pixels and 3 channels, the first picture 'a/0.png' 6 x 6"),
                     FD_E_FORMAT);
    problems(&fatal, "4 x 3 pixels, 3 channels; the first good picture 'a/0.png'");
    assert_int_equal(fatal, 1);
    make_zip("", GOOD, 0, true, NULL, 0);
    assert_int_equal(try_open(false, "'a/1.png' has 6 x 6 pixels and 1 channel,"), FD_E_FORMAT);
    problems(&fatal, "1 channel;");
    make_zip("", GOOD, 0, false, NULL, 20);
    assert_int_equal(try_open(false, "'b/2.png': damaged PNG"), FD_E_FORMAT);
    problems(&fatal, "damaged PNG");
    make_zip("", GOOD, 0, false, "notes.txt", 0);
    assert_int_equal(try_open(true, ""), FD_OK);
    assert_int_equal(problems(&fatal, "ignored"), 1);
    make_zip("", GOOD, 0, false, "__MACOSX/._a.png", 0);
    assert_int_equal(try_open(true, ""), FD_OK);
    assert_int_equal(problems(&fatal, "1 hidden files"), 1);
    assert_int_equal(fatal, 0);
    fd_ctx ctx = {.quiet = true};
    fd_dataset d;
    fd_dataset_options o = {0};
    fd_file_write(&ctx, zip, "no zip at all, sorry", 20);
    assert_int_equal(fd_dataset_open(&ctx, zip, &o, &d), FD_E_FORMAT);
    problems(&fatal, "no zip archive");
    assert_int_equal(fatal, 1);
    fd_clear(&ctx);
    assert_int_equal(fd_dataset_open(&ctx, "/nonexistent", &o, &d), FD_E_IO);
    fd_clear(&ctx);
    fd_dataset_report r;
    assert_int_equal(fd_dataset_check(&ctx, "/nonexistent", &r), FD_E_IO);
    fd_dataset_report_free(&r);
}

static void folders(void **state) {
    fd_ctx ctx = {.quiet = true};
    static const char *const classes[] = {"b-1", "b", "a"};
    char path[256];
    for (int k = 0; k < 3; k++) {
        snprintf(path, sizeof path, "%s/tree/%s", folder, classes[k]);
        assert_int_equal(fd_make_folder(&ctx, path), FD_OK);
        for (int i = 0; i < 2; i++) {
            fd_image m;
            assert_int_equal(fd_image_from_chw(&ctx, pixels[2 * k + i], 1, SIDE, SIDE, &m), FD_OK);
            snprintf(path, sizeof path, "%s/tree/%s/%d.png", folder, classes[k], i);
            assert_int_equal(fd_png_save(&ctx, path, &m, NULL, 0), FD_OK);
            fd_image_free(&m);
        }
    }
    snprintf(path, sizeof path, "%s/tree/", folder);
    fd_dataset d;
    fd_dataset_options o = {.use_labels = true, .folder_labels = true};
    assert_int_equal(fd_dataset_open(&ctx, path, &o, &d), FD_OK);
    assert_true(d.n == 6 && d.c == 1 && d.label_dim == 3);
    assert_string_equal(d.name, "tree");
    for (int i = 0; i < 6; i++) {                     /* classes in the order a, b, b-1;
                                 files in the order of paths */
        const char *name = fd_dataset_image_name(&d, i);
        assert_int_equal(fd_dataset_class(&d, i), name[0] == 'a' ? 0 : name[1] == '/' ? 1 : 2);
    }
    uint8_t chw[SIDE * SIDE];
    assert_int_equal(fd_dataset_get(&ctx, &d, 0, chw, NULL), FD_OK);
    assert_memory_equal(chw, pixels[4], sizeof chw);
    fd_dataset_close(&d);
    snprintf(path, sizeof path, "%s/tree/a/0.png", folder);           /* sizes may differ where nothing is decoded */
    fd_image m;
    assert_int_equal(fd_image_from_chw(&ctx, pixels[9], 1, 2, 4, &m), FD_OK);
    assert_int_equal(fd_png_save(&ctx, path, &m, NULL, 0), FD_OK);
    fd_image_free(&m);
    snprintf(path, sizeof path, "%s/tree", folder);
    fd_dataset_options raw = {.allow_any_size = true, .cache = FD_CACHE_OFF, .xflip = true};
    assert_int_equal(fd_dataset_open(&ctx, path, &raw, &d), FD_OK);
    assert_int_equal(fd_dataset_image(&ctx, &d, 0, &m), FD_OK);
    assert_true(m.w == 4 && m.h == 2 && !memcmp(m.p, pixels[9], 8));
    fd_image_free(&m);
    assert_int_equal(fd_dataset_image(&ctx, &d, 6, &m), FD_OK);
    assert_true(m.p[0] == pixels[9][3] && m.p[7] == pixels[9][4]);
    fd_image_free(&m);
    assert_int_equal(fd_dataset_image(&ctx, &d, 12, &m), FD_E_ARG);
    fd_clear(&ctx);
    assert_int_equal(fd_dataset_get(&ctx, &d, 1, chw, NULL), FD_E_FORMAT);
    fd_dataset_close(&d);
}

static void memory_may_run_out_anywhere(void **state) {
    make_zip("", GOOD, 0, false, NULL, 0);
    for (uint64_t k = 1; k < 60; k++) {
        fd_ctx ctx = {.quiet = true, .threads = 1};
        fd_dataset d;
        fd_dataset_report r;
        fd_dataset_options o = {.use_labels = true};
        fd_alloc_fail_at(k);
        fd_status s = fd_dataset_open(&ctx, zip, &o, &d);
        fd_alloc_fail_at(0);
        assert_true(s == FD_OK ? ctx.code == FD_OK : ctx.message[0] != 0);
        fd_dataset_close(&d);
        fd_clear(&ctx);
        fd_alloc_fail_at(k);
        fd_dataset_check(&ctx, zip, &r);
        fd_alloc_fail_at(0);
        fd_dataset_report_free(&r);
        fd_clear(&ctx);
        fd_alloc_fail_at(k);
        write_set(&ctx, true);
        fd_alloc_fail_at(0);
        make_zip("", GOOD, 0, false, NULL, 0);
    }
}

int main(void) {
    snprintf(folder, sizeof folder, "/tmp/fd-test-dataset-%ld", (long)getpid());
    snprintf(zip, sizeof zip, "%s/set.zip", folder);
    fd_ctx ctx = {0};
    if (fd_make_folder(&ctx, folder)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_and_reads_an_edm_zip), cmocka_unit_test(labels_are_checked),
        cmocka_unit_test(pictures_are_checked), cmocka_unit_test(folders),
        cmocka_unit_test(memory_may_run_out_anywhere)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) || failed;
}
