#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/json.h"

static fd_status parse(fd_ctx *ctx, const char *text, json_t **out) {
    fd_clear(ctx);
    return fd_json_parse(ctx, (fd_bytes){(const uint8_t *)text, strlen(text)}, "x.json", out);
}

static void refuses_what_is_not_json(void **state) {
    fd_ctx ctx = {0};
    json_t *j;
    static const char *const bad[] = {"", " ", "{", "[1,]", "{\"a\":1,\"a\":2}", "{\"a\":1} x", "[\"\\u0000\"]",
                                      "[\"\xff\"]", "[1e999]", "[NaN]", "[99999999999999999999]", "nul"};
    for (size_t i = 0; i < FD_COUNT(bad); i++) {
        assert_int_equal(parse(&ctx, bad[i], &j), FD_E_FORMAT);
        assert_null(j);
        assert_non_null(strstr(ctx.message, "x.json: line "));
    }
    assert_int_equal(parse(&ctx, "{\"a\":\n 1,\n \"a\": 2}", &j), FD_E_FORMAT);
    assert_non_null(strstr(ctx.message, "line 3"));
    assert_non_null(strstr(ctx.message, "duplicate"));
    enum { DEEP = 100000 };
    char *deep = malloc(DEEP + 1);
    memset(deep, '[', DEEP);
    deep[DEEP] = 0;
    assert_int_equal(parse(&ctx, deep, &j), FD_E_FORMAT);
    free(deep);
    fd_clear(&ctx);
    assert_int_equal(fd_json_load(&ctx, "/nonexistent/x.json", &j), FD_E_IO);
    assert_null(j);
}

static void every_truncation_is_an_error(void **state) {
    const char *text = "{\"k\": [1, -2.5e3, \"t\\u00e9x\\n\", null, true], \"o\": {\"a\": {}}}";
    for (size_t n = 0; n < strlen(text); n++) {
        fd_ctx ctx = {0};
        json_t *j;
        char *copy = malloc(n + 1);             /* exact size, so that a read beyond it is seen */
        memcpy(copy, text, n);
        assert_int_equal(fd_json_parse(&ctx, (fd_bytes){(uint8_t *)copy, n}, "t", &j), FD_E_FORMAT);
        free(copy);
    }
}

static void getters_check_type_and_range(void **state) {
    fd_ctx ctx = {0};
    json_t *j, *sub = NULL;
    assert_int_equal(parse(&ctx, "{\"i\":5,\"r\":0.5,\"b\":true,\"t\":\"x\",\"n\":null,\"l\":[1,2,3],\"o\":{}}", &j),
                     FD_OK);
    int64_t i = -1, list[3];
    double r = -1;
    bool b = false;
    const char *t = NULL;
    int n = 0;
    assert_int_equal(fd_json_int(&ctx, j, "i", "f", FD_REQUIRED, 0, 5, &i), FD_OK);
    assert_int_equal(fd_json_number(&ctx, j, "r", "f", FD_REQUIRED, &r), FD_OK);
    assert_int_equal(fd_json_bool(&ctx, j, "b", "f", FD_REQUIRED, &b), FD_OK);
    assert_int_equal(fd_json_text(&ctx, j, "t", "f", FD_REQUIRED, &t), FD_OK);
    assert_int_equal(fd_json_ints(&ctx, j, "l", "f", FD_REQUIRED, 1, 3, 3, list, &n), FD_OK);
    assert_int_equal(fd_json_object(&ctx, j, "o", "f", FD_REQUIRED, &sub), FD_OK);
    assert_true(i == 5 && r == 0.5 && b && n == 3 && list[2] == 3 && sub && !strcmp(t, "x"));
    assert_int_equal(fd_json_number(&ctx, j, "i", "f", FD_REQUIRED, &r), FD_OK);
    assert_true(r == 5);
    assert_int_equal(fd_json_int(&ctx, j, "n", "f", FD_OPTIONAL, 0, 5, &i), FD_OK);
    assert_int_equal(fd_json_int(&ctx, j, "absent", "f", FD_OPTIONAL, 0, 5, &i), FD_OK);
    assert_int_equal(i, 5);
#define FAILS(call, text)                              \
    do {                                               \
        fd_clear(&ctx);                                \
        assert_int_equal(call, FD_E_FORMAT);           \
        assert_string_equal(ctx.message, text);        \
    } while (0)
    FAILS(fd_json_int(&ctx, j, "absent", "f", FD_REQUIRED, 0, 5, &i), "f: key 'absent' is missing");
    FAILS(fd_json_int(&ctx, j, "n", "f", FD_REQUIRED, 0, 5, &i), "f: key 'n' is missing");
    FAILS(fd_json_int(&ctx, j, "r", "f", FD_REQUIRED, 0, 5, &i), "f: key 'r' must be an integer, is a number");
    FAILS(fd_json_int(&ctx, j, "i", "f", FD_OPTIONAL, 6, 9, &i), "f: key 'i' is 5; allowed are 6 to 9");
    FAILS(fd_json_number(&ctx, j, "t", "f", FD_REQUIRED, &r), "f: key 't' must be a number, is text");
    FAILS(fd_json_bool(&ctx, j, "i", "f", FD_REQUIRED, &b), "f: key 'i' must be true or false, is an integer");
    FAILS(fd_json_text(&ctx, j, "l", "f", FD_REQUIRED, &t), "f: key 'l' must be text, is a list");
    FAILS(fd_json_ints(&ctx, j, "l", "f", FD_REQUIRED, 1, 3, 2, list, &n), "f: key 'l' lists 3 numbers; at most 2 "
          "are allowed");
    FAILS(fd_json_ints(&ctx, j, "l", "f", FD_REQUIRED, 1, 2, 3, list, &n), "f: key 'l' is 3; allowed are 1 to 2");
    FAILS(fd_json_object(&ctx, j, "l", "f", FD_REQUIRED, &sub), "f: key 'l' must be an object, is a list");
    FAILS(fd_json_array(&ctx, j, "o", "f", FD_REQUIRED, &sub), "f: key 'o' must be a list, is an object");
    FAILS(fd_json_int(&ctx, json_object_get(j, "l"), "i", "f", FD_REQUIRED, 0, 5, &i),
          "f: not a JSON object (looking for 'i')");
    json_decref(j);
}

static void dump_is_exact_and_short(void **state) {
    fd_ctx ctx = {0};
    fd_arena a = {0};
    json_t *j = json_pack("{s:f, s:f, s:f, s:f, s:I, s:s, s:b, s:[i,i], s:[{s:i}], s:{}, s:[]}", "tenth", 0.1, "one", 1.0,
                          "big", 1e300, "eighty", 80.0, "int", (json_int_t)INT64_MIN, "text", "a\"b\\c\n\t\x01é/", "yes", 1, "list",
                          1, 2, "deep", "x", 3, "empty", "none");
    json_object_set_new(j, "nan", fd_json_real(NAN));
    json_object_set_new(j, "inf", fd_json_real(INFINITY));
    assert_string_equal(fd_json_dump(&ctx, &a, j, 0),
                        "{\"tenth\": 0.1, \"one\": 1.0, \"big\": 1e+300, \"eighty\": 80.0, \"int\": -9223372036854775808, \"text\": "
                        "\"a\\\"b\\\\c\\n\\t\\u0001é/\", \"yes\": true, \"list\": [1, 2], \"deep\": [{\"x\": 3}], "
                        "\"empty\": {}, \"none\": [], \"nan\": null, \"inf\": null}");
    const char *pretty = fd_json_dump(&ctx, &a, j, 2);
    json_t *back;
    assert_int_equal(parse(&ctx, pretty, &back), FD_OK);
    assert_true(json_equal(back, j));
    assert_non_null(strstr(pretty, "\n  \"list\": [1, 2],\n  \"deep\": [\n    {\n      \"x\": 3\n    }\n  ],\n"));
    assert_true(pretty[strlen(pretty) - 1] == '\n');
    json_decref(back);
    json_decref(j);
    double values[] = {0.1 + 0.2, 1.0 / 3, 5e-324, 1.7976931348623157e308, -0.0, 123456789.0, 2.5e-7};
    for (size_t i = 0; i < FD_COUNT(values); i++) {
        j = json_array();
        json_array_append_new(j, fd_json_real(values[i]));
        assert_int_equal(parse(&ctx, fd_json_dump(&ctx, &a, j, 0), &back), FD_OK);
        assert_true(json_is_real(json_array_get(back, 0)));
        double v = json_real_value(json_array_get(back, 0));
        assert_memory_equal(&v, &values[i], sizeof v);
        json_decref(back);
        json_decref(j);
    }
    char path[64];
    snprintf(path, sizeof path, "/tmp/fd-test-json-%ld", (long)getpid());
    j = json_pack("{s:i}", "k", 1);
    assert_int_equal(fd_json_save(&ctx, path, j), FD_OK);
    assert_int_equal(fd_json_load(&ctx, path, &back), FD_OK);
    assert_true(json_equal(back, j));
    unlink(path);
    json_decref(back);
    for (uint64_t k = 1; k <= 3; k++) {         /* memory running out at any point */
        fd_arena b = {0};
        fd_clear(&ctx);
        fd_alloc_fail_at(k);
        if (!fd_json_dump(&ctx, &b, j, 2)) assert_int_equal(ctx.code, FD_E_NOMEM);
        fd_alloc_fail_at(0);
        fd_arena_free(&b);
    }
    json_decref(j);
    fd_arena_free(&a);
}

static void a_tree_may_not_outgrow_its_text(void **state) {
    enum { MANY = 2000000 };
    fd_ctx ctx = {0};
    json_t *j;
    char *text = malloc(3 * MANY + 2), *at = text;
    *at++ = '[';
    for (int i = 0; i < MANY; i++) memcpy(at, "[],", 3), at += 3;      /* each takes jansson a hundred bytes and more */
    at[-1] = ']';
    *at = 0;
    assert_int_equal(parse(&ctx, text, &j), FD_E_FORMAT);
    assert_null(j);
    assert_non_null(strstr(ctx.message, "more than 37 MiB of memory"));
    fd_clear(&ctx);
    fd_bytes whole = {(uint8_t *)text, strlen(text)};
    assert_int_equal(fd_json_parse_within(&ctx, whole, "x", (size_t)1 << 30, &j), FD_OK);
    assert_int_equal(json_array_size(j), MANY);
    json_decref(j);
    assert_int_equal(parse(&ctx, "[]", &j), FD_OK);                  /* the bound ends with the call */
    for (int i = 0; i < MANY / 4; i++) json_array_append_new(j, json_array());
    assert_int_equal(json_array_size(j), MANY / 4);
    json_decref(j);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_is_not_json), cmocka_unit_test(every_truncation_is_an_error),
        cmocka_unit_test(getters_check_type_and_range), cmocka_unit_test(dump_is_exact_and_short),
        cmocka_unit_test(a_tree_may_not_outgrow_its_text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
