/* Reference statistics: what goes in comes out; what other tools write is read; nonsense is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "eval/reference.h"
#include "io/npy.h"

static char path[64];

static void test_round_trip(void **state) {
    (void)state;
    static fd_ctx ctx;
    double mu[2] = {1.5, -2}, sigma[4] = {2, 0.25, 0.25, 1};
    fd_reference r = {.d = 2, .mu = mu, .sigma = sigma}, back;
    r.from = (fd_provenance){.known = true, .n = 123, .data = "a \"set\"", .features = "net", .resolution = 16,
                             .resize = FD_RESIZE_NONE, .uint8_rule = FD_UINT8_RULE, .codec = "JPEG", .tool = "fdistill test"};
    memset(r.from.data_digest, 'a', 64);
    memset(r.from.features_digest, 'b', 64);
    assert_int_equal(fd_reference_save(&ctx, path, &r), FD_OK);
    assert_int_equal(fd_reference_load(&ctx, path, &back), FD_OK);
    assert_int_equal(back.d, 2);
    assert_memory_equal(back.mu, mu, sizeof mu);
    assert_memory_equal(back.sigma, sigma, sizeof sigma);
    assert_true(back.from.known && back.from.n == 123 && back.from.resolution == 16);
    assert_string_equal(back.from.data, r.from.data);
    assert_string_equal(back.from.features_digest, r.from.features_digest);
    assert_string_equal(back.from.uint8_rule, FD_UINT8_RULE);
    assert_string_equal(back.from.codec, "JPEG");
    fd_reference_free(&back);
}

/* mu, sigma under other names, types and values; -1: must be refused with this word in the message. */
static fd_status load(fd_ctx *ctx, const char *names[2], fd_npy_dtype t, const void *mu, int d, const void *sigma,
                      int rows, int columns, const char *meta, fd_reference *out) {
    fd_npz_entry e[3] = {{names[0], {.dtype = t, .rank = 1, .dim = {d}, .data = mu}},
                         {names[1], {.dtype = t, .rank = 2, .dim = {rows, columns}, .data = sigma}}};
    if (meta)
        e[2] = (fd_npz_entry){"fdistill_meta", {.dtype = FD_NPY_U1, .rank = 1, .dim = {(int64_t)strlen(meta)},
                                                .data = meta}};
    fd_clear(ctx);
    assert_int_equal(fd_npz_write(ctx, path, e, meta ? 3 : 2), FD_OK);
    return fd_reference_load(ctx, path, out);
}

static void refused(fd_ctx *ctx, fd_status s, const char *word) {
    assert_int_equal(s, FD_E_FORMAT);
    if (!strstr(ctx->message, word)) fail_msg("'%s' lacks '%s'", ctx->message, word);
}

static void test_others(void **state) {
    (void)state;
    static fd_ctx ctx;
    fd_reference r;
    const char *plain[] = {"mu", "sigma"}, *odd[] = {"m2", "s2"}, *wrong[] = {"mean", "cov"};
    double mu[2] = {1, 2}, sigma[4] = {1, 0, 0, 1};
    float mu4[2] = {1, 2}, sigma4[4] = {1, 0, 0, 1};
    assert_int_equal(load(&ctx, plain, FD_NPY_F8, mu, 2, sigma, 2, 2, NULL, &r), FD_OK);
    assert_false(r.from.known);
    fd_reference_free(&r);
    assert_int_equal(load(&ctx, odd, FD_NPY_F4, mu4, 2, sigma4, 2, 2, NULL, &r), FD_OK);
    assert_true(r.mu[1] == 2 && r.sigma[3] == 1);
    fd_reference_free(&r);
    refused(&ctx, load(&ctx, wrong, FD_NPY_F8, mu, 2, sigma, 2, 2, NULL, &r), "no mu and sigma");
    refused(&ctx, load(&ctx, plain, FD_NPY_F8, mu, 1, sigma, 2, 2, NULL, &r), "do not belong together");
    refused(&ctx, load(&ctx, plain, FD_NPY_F8, mu, 2, sigma, 1, 4, NULL, &r), "do not belong together");
    refused(&ctx, load(&ctx, plain, FD_NPY_I8, mu, 2, sigma, 2, 2, NULL, &r), "float64");
    sigma[1] = 0.5;
    refused(&ctx, load(&ctx, plain, FD_NPY_F8, mu, 2, sigma, 2, 2, NULL, &r), "not symmetric");
    sigma[2] = 0.5;
    sigma[3] = -1;
    refused(&ctx, load(&ctx, plain, FD_NPY_F8, mu, 2, sigma, 2, 2, NULL, &r), "negative variance");
    sigma[3] = NAN;
    refused(&ctx, load(&ctx, plain, FD_NPY_F8, mu, 2, sigma, 2, 2, NULL, &r), "not finite");
    sigma[3] = 1;
    mu[0] = INFINITY;
    refused(&ctx, load(&ctx, plain, FD_NPY_F8, mu, 2, sigma, 2, 2, NULL, &r), "mu[0]");
    mu[0] = 1;
    static const char *const metas[] = {"{", "[]", "{}", "{\"n\": \"many\"}", "{\"n\": -3}",
                                        "{\"n\": 3, \"data\": 4}"};
    for (size_t i = 0; i < FD_COUNT(metas); i++)
        refused(&ctx, load(&ctx, plain, FD_NPY_F8, mu, 2, sigma, 2, 2, metas[i], &r), "");
    assert_int_equal(load(&ctx, plain, FD_NPY_F8, mu, 2, sigma, 2, 2, "{\"n\": 7}", &r), FD_OK);
    assert_int_equal(r.from.n, 7);
    fd_reference_free(&r);
}

/* Features of the single pictures, and the spatial moments of ADM's references. */
static void test_more(void **state) {
    (void)state;
    static fd_ctx ctx;
    double mu[2] = {1.5, -2}, sigma[4] = {2, 0.25, 0.25, 1}, bad[4] = {1, 0, 0, -1};
    float features[6] = {1, 2, 3, 4, 5, 6};
    fd_reference r = {.d = 2, .mu = mu, .sigma = sigma, .features = features, .nfeatures = 3,
                      .from = {.n = 3}}, back;
    assert_int_equal(fd_reference_save(&ctx, path, &r), FD_OK);
    assert_int_equal(fd_reference_load(&ctx, path, &back), FD_OK);
    assert_null(back.features);
    assert_int_equal(fd_reference_load_features(&ctx, path, &back), FD_OK);
    assert_int_equal(back.nfeatures, 3);
    assert_memory_equal(back.features, features, sizeof features);
    fd_reference_free(&back);
    r.features = NULL;
    assert_int_equal(fd_reference_save(&ctx, path, &r), FD_OK);
    assert_int_equal(fd_reference_load(&ctx, path, &back), FD_OK);
    assert_int_equal(fd_reference_load_features(&ctx, path, &back), FD_OK);
    assert_null(back.features);
    fd_reference_free(&back);
    fd_npz_entry e[5] = {{"mu", {.dtype = FD_NPY_F8, .rank = 1, .dim = {2}, .data = mu}},
                         {"sigma", {.dtype = FD_NPY_F8, .rank = 2, .dim = {2, 2}, .data = sigma}},
                         {"mu_s", {.dtype = FD_NPY_F8, .rank = 1, .dim = {1}, .data = mu}},
                         {"sigma_s", {.dtype = FD_NPY_F8, .rank = 2, .dim = {1, 1}, .data = sigma}},
                         {"fdistill_features", {.dtype = FD_NPY_F4, .rank = 2, .dim = {2, 3}, .data = features}}};
    assert_int_equal(fd_npz_write(&ctx, path, e, 5), FD_OK);
    assert_int_equal(fd_reference_load(&ctx, path, &back), FD_OK);
    assert_int_equal(back.ds, 1);
    assert_true(back.mu_s[0] == mu[0] && back.sigma_s[0] == sigma[0]);
    refused(&ctx, fd_reference_load_features(&ctx, path, &back), "2 features per picture");
    fd_reference_free(&back);
    fd_clear(&ctx);
    e[2].array.dim[0] = 2;
    e[3].array = (fd_npy){.dtype = FD_NPY_F8, .rank = 2, .dim = {2, 2}, .data = bad};
    assert_int_equal(fd_npz_write(&ctx, path, e, 5), FD_OK);
    refused(&ctx, fd_reference_load(&ctx, path, &back), "sigma_s has a negative variance");
}

/* As NumPy pickles them with protocol 2 under Python 2 (later ones differ in how they write bytes, which test_pickle.c covers). */
static void put_array(FILE *f, const char *key, const double *p, int rank, int n) {
    const int bytes = n * (rank == 2 ? n : 1) * 8;
    fprintf(f, "X%c%c%c%c%s", (int)strlen(key), 0, 0, 0, key);
    fputs("cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK", f);
    fwrite("\0\x85U\1b\x87R(K\1", 1, 10, f);
    if (rank == 1) fprintf(f, "K%c\x85", n);
    else fprintf(f, "K%cK%c\x86", n, n);
    fputs("cnumpy\ndtype\nU\2f8K", f);
    fwrite("\0K\1\x87R(K\3U\1<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89", 1, 29, f);
    fprintf(f, "U%c", bytes);
    fwrite(p, 1, (size_t)bytes, f);
    fputs("tb", f);
}

static fd_status load_pickle(fd_ctx *ctx, const char *metric, const double *mu, int d, const double *sigma, int e, fd_reference *r) {
    char name[80];
    snprintf(name, sizeof name, "%s.pkl", path);
    FILE *f = fopen(name, "wb");
    assert_non_null(f);
    fprintf(f, "\x80\2}X%c%c%c%c%s}(", (int)strlen(metric), 0, 0, 0, metric);
    put_array(f, "mu", mu, 1, d);
    put_array(f, "sigma", sigma, 2, e);
    fputs("us.", f);
    fclose(f);
    fd_clear(ctx);
    fd_status s = fd_reference_load(ctx, name, r);
    unlink(name);
    return s;
}

static void test_edm2(void **state) {
    (void)state;
    static fd_ctx ctx;
    const double mu[2] = {1.5, -200}, sigma[4] = {2, 0.25, 0.25, 1e9}, skew[4] = {2, 0.25, 0.5, 1}, hollow[4] = {2, 0, 0, NAN};
    fd_reference r;
    if (load_pickle(&ctx, "fid", mu, 2, sigma, 2, &r) != FD_OK) fail_msg("%s", ctx.message);
    assert_true(r.d == 2 && !r.from.known && !r.features);
    assert_memory_equal(r.mu, mu, sizeof mu);
    assert_memory_equal(r.sigma, sigma, sizeof sigma);
    fd_reference_free(&r);
    static const struct { const char *metric; int d, which; const char *reason; } bad[] = {
        {"fd_dinov2", 2, 0, "holds no fid/mu"}, {"fid", 1, 0, "do not belong together"}, {"fid", 2, 1, "not symmetric"},
        {"fid", 2, 2, "not finite"}};
    for (size_t i = 0; i < FD_COUNT(bad); i++) {
        const double *cov = bad[i].which == 0 ? sigma : bad[i].which == 1 ? skew : hollow;
        assert_int_equal(load_pickle(&ctx, bad[i].metric, mu, bad[i].d, cov, 2, &r), FD_E_FORMAT);
        if (!strstr(ctx.message, bad[i].reason)) fail_msg("'%s' does not say '%s'", ctx.message, bad[i].reason);
    }
}

int main(void) {
    snprintf(path, sizeof path, "/tmp/fd-test-reference-%d.npz", (int)getpid());
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_others),
                                       cmocka_unit_test(test_more), cmocka_unit_test(test_edm2)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
