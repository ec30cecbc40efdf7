/* The name-and-index number generator. Constants from the published tables of FNV-1a and splitmix64. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/formula.h"

static void hashes(void **state) {
    assert_true(fd_formula_hash("", "") == 0xcbf29ce484222325u);
    assert_true(fd_formula_hash("", "a") == 0xaf63dc4c8601ec8cu);
    assert_true(fd_formula_hash("teacher:", "model.enc.16x16_conv.bias") == 0xa4fb53f64562cf3au);
    assert_true(fd_splitmix64(0) == 0xe220a8397b1dcdafu);
    assert_true(fd_splitmix64(UINT64_MAX) == 0xe4d971771b652c20u);
}

/* x recovered from each rule must be the same stream, up to the rounding of the float. */
static void rules(void **state) {
    fd_ctx ctx = {0};
    int64_t shape[] = {4, 3, 5};
    float v[60];
    struct { const char *name; int rank; double base, factor; } rule[] = {
        {"input:x.bias", 3, 0, 1}, {"model.map_noise.freqs", 1, 0, 16}, {"a.bias", 1, 0, 0.1},
        {"a.weight", 1, 1, 0.1}, {"a.weight", 3, 0, sqrt(3.0 / 15)}, {"a.weight", 2, 0, 1}};
    for (size_t k = 0; k < FD_COUNT(rule); k++) {
        assert_int_equal(fd_formula_fill(&ctx, rule[k].name, "s:", rule[k].rank, shape, v), FD_OK);
        int n = rule[k].rank == 1 ? 4 : rule[k].rank == 2 ? 12 : 60;
        uint64_t key = fd_formula_hash("s:", rule[k].name);
        for (int i = 0; i < n; i++) {
            double x = (double)(fd_splitmix64(key + (uint64_t)i) >> 40) / 8388608 - 1;
            assert_true(v[i] == (float)(rule[k].base + rule[k].factor * x));
        }
    }
}

static void threads_change_nothing(void **state) {
    fd_ctx ctx = {0};
    enum { N = 200000 };                          /* above the limit for one thread */
    float *v = fd_alloc(&ctx, N * sizeof *v);
    int64_t shape[] = {N};
    assert_non_null(v);
    assert_int_equal(fd_formula_fill(&ctx, "input:big", "", 1, shape, v), FD_OK);
    uint64_t key = fd_formula_hash("", "input:big");
    double sum = 0;
    for (int i = 0; i < N; i++) {
        assert_true(v[i] == (float)((double)(fd_splitmix64(key + (uint64_t)i) >> 40) / 8388608 - 1));
        sum += v[i];
    }
    assert_true(fabs(sum / N) < 5 * sqrt(1.0 / 3 / N));      /* uniform in [-1, 1): five standard errors */
    fd_free(v);
}

static void refusals(void **state) {
    fd_ctx ctx = {0};
    float v[4];
    int64_t shape[] = {2, 2}, bad[] = {INT64_MAX, 3};
    assert_int_equal(fd_formula_fill(&ctx, "a.resample_filter", "", 2, shape, v), FD_E_ARG);
    assert_non_null(strstr(ctx.message, "resample_filter"));
    fd_clear(&ctx);
    assert_int_equal(fd_formula_fill(&ctx, "a.weight", "", 2, bad, v), FD_E_SHAPE);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(hashes), cmocka_unit_test(rules),
                                       cmocka_unit_test(threads_change_nothing), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
