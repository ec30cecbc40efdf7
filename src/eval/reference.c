#include "eval/reference.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/checkpoint.h"
#include "io/json.h"
#include "io/npy.h"

#define META "fdistill_meta"
#define FEATURES "fdistill_features"

static void copy_text(fd_ctx *ctx, const json_t *o, const char *key, const char *path, char *out, size_t size) {
    const char *text = "";
    fd_json_text(ctx, o, key, path, FD_OPTIONAL, &text);
    snprintf(out, size, "%s", text);
}

static fd_status read_meta(fd_ctx *ctx, const char *path, const fd_npy *bytes, fd_provenance *out) {
    if (bytes->dtype != FD_NPY_U1 || bytes->rank != 1)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: " META " is not a row of bytes; make the reference again with "
                       "'fdistill fid ref'",
                       path);
    json_t *o;
    FD_TRY(fd_json_parse(ctx, (fd_bytes){bytes->data, (size_t)bytes->count}, path, &o));
    int64_t resolution = 0;
    fd_json_int(ctx, o, "n", path, FD_REQUIRED, 1, INT64_MAX, &out->n);
    fd_json_int(ctx, o, "resolution", path, FD_OPTIONAL, 0, 1 << 20, &resolution);
    copy_text(ctx, o, "data", path, out->data, sizeof out->data);
    copy_text(ctx, o, "data_digest", path, out->data_digest, sizeof out->data_digest);
    copy_text(ctx, o, "features", path, out->features, sizeof out->features);
    copy_text(ctx, o, "features_digest", path, out->features_digest, sizeof out->features_digest);
    copy_text(ctx, o, "resize", path, out->resize, sizeof out->resize);
    copy_text(ctx, o, "uint8", path, out->uint8_rule, sizeof out->uint8_rule);
    copy_text(ctx, o, "codec", path, out->codec, sizeof out->codec);
    copy_text(ctx, o, "crop", path, out->crop, sizeof out->crop);
    copy_text(ctx, o, "tool", path, out->tool, sizeof out->tool);
    out->resolution = (int)resolution;
    out->known = true;
    json_decref(o);
    return ctx->code;
}

/* Everything that a distance relies on, of m [d] and c [d][d]. */
static fd_status check_pair(fd_ctx *ctx, const char *path, const char *mean, const char *cov, int64_t d, const double *m,
                            const double *c) {
    for (int64_t i = 0; i < d; i++)
        if (!isfinite(m[i])) return FD_FAIL(ctx, FD_E_FORMAT, "%s: %s[%lld] is not finite", path, mean, (long long)i);
    for (int64_t i = 0; i < d * d; i++)
        if (!isfinite(c[i]))
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: %s holds values that are not finite", path, cov);
    for (int64_t i = 0; i < d; i++) {
        if (c[i * d + i] < 0)
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: %s has a negative variance at %lld", path, cov, (long long)i);
        for (int64_t j = 0; j < i; j++) {
            double u = c[i * d + j], v = c[j * d + i];
            if (fabs(u - v) > 1e-6 * (fabs(u) + fabs(v)) + 1e-12)
                return FD_FAIL(ctx, FD_E_FORMAT, "%s: %s is not symmetric at (%lld, %lld)", path, cov, (long long)i,
                               (long long)j);
        }
    }
    return FD_OK;
}

/* A mean and a covariance as double. */
static fd_status read_pair(fd_ctx *ctx, fd_zip *z, const char *path, const char *mean, const char *cov, fd_arena *a,
                           int *d, double **mu_out, double **sigma_out) {
    fd_npy mu, sigma;
    FD_TRY(fd_npz_read(ctx, z, mean, a, &mu));
    FD_TRY(fd_npz_read(ctx, z, cov, a, &sigma));
    for (int k = 0; k < 2; k++) {
        fd_npy_dtype t = k ? sigma.dtype : mu.dtype;
        if (t != FD_NPY_F8 && t != FD_NPY_F4)
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: %s holds %s, but statistics are float64 or float32", path,
                           k ? cov : mean, fd_npy_dtype_name(t));
    }
    if (mu.rank != 1 || mu.count < 1 || mu.count > 65536 || sigma.rank != 2 || sigma.dim[0] != mu.count ||
        sigma.dim[1] != mu.count)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: %s and %s have shapes that do not belong together", path, mean, cov);
    double *m = (double *)fd_npy_doubles(ctx, a, &mu), *c = (double *)fd_npy_doubles(ctx, a, &sigma);
    if (!m || !c) return FD_E_NOMEM;
    *d = (int)mu.count;
    *mu_out = m;
    *sigma_out = c;
    return check_pair(ctx, path, mean, cov, mu.count, m, c);
}

static fd_status read_moments(fd_ctx *ctx, fd_zip *z, const char *path, fd_reference *r) {
    bool plain = fd_npz_has(z, "mu") && fd_npz_has(z, "sigma");
    if (!plain && !(fd_npz_has(z, "m2") && fd_npz_has(z, "s2")))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: holds no mu and sigma: not a reference; make one with 'fdistill fid "
                       "ref'", path);
    FD_TRY(read_pair(ctx, z, path, plain ? "mu" : "m2", plain ? "sigma" : "s2", &r->arena, &r->d, &r->mu, &r->sigma));
    if (!fd_npz_has(z, "mu_s") || !fd_npz_has(z, "sigma_s")) return FD_OK;
    return read_pair(ctx, z, path, "mu_s", "sigma_s", &r->arena, &r->ds, &r->mu_s, &r->sigma_s);
}

static const fd_pk_array *find_array(const fd_checkpoint *c, const char *name) {
    for (int i = 0; i < c->narrays; i++)
        if (!strcmp(c->array[i].path, name)) return c->array[i].array;
    return NULL;
}

static double *doubles_of(fd_ctx *ctx, fd_arena *a, const fd_pk_array *from) {
    double *p = fd_arena_alloc(ctx, a, fd_mul_size((size_t)from->count, sizeof *p));
    for (int64_t i = 0; p && i < from->count; i++) p[i] = fd_pk_array_at(from, i);
    return p;
}

static fd_status take_pickled(fd_ctx *ctx, const char *path, const fd_checkpoint *c, fd_reference *r) {
    const fd_pk_array *mu = find_array(c, "fid/mu"), *sigma = find_array(c, "fid/sigma");
    if (!mu || !sigma)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: holds no fid/mu and fid/sigma, as EDM2's references do", path);
    if (mu->type[0] != 'f' || sigma->type[0] != 'f' || mu->rank != 1 || mu->count < 1 || mu->count > 65536 || sigma->rank != 2 ||
        sigma->dim[0] != mu->count || sigma->dim[1] != mu->count)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: fid/mu and fid/sigma have types or shapes that do not belong together", path);
    r->d = (int)mu->count;
    r->mu = doubles_of(ctx, &r->arena, mu);
    r->sigma = r->mu ? doubles_of(ctx, &r->arena, sigma) : NULL;
    return r->sigma ? check_pair(ctx, path, "fid/mu", "fid/sigma", r->d, r->mu, r->sigma) : FD_E_NOMEM;
}

/* EDM2's: a pickle of a dict of metrics, {'fid': {'mu': …, 'sigma': …}, 'fd_dinov2': …}. Inception's are taken. */
static fd_status load_pickle(fd_ctx *ctx, const char *path, fd_reference *r) {
    fd_checkpoint *c;
    FD_TRY(fd_checkpoint_open(ctx, path, &c));
    fd_status s = take_pickled(ctx, path, c, r);
    fd_checkpoint_close(c);
    if (s != FD_OK) fd_reference_free(r);
    return s;
}

static bool is_pickle(const char *path) {
    size_t n = strlen(path);
    return n > 4 && !strcmp(path + n - 4, ".pkl");
}

fd_status fd_reference_load_features(fd_ctx *ctx, const char *path, fd_reference *r) {
    if (is_pickle(path)) return FD_OK;
    fd_zip *z;
    fd_npy f;
    FD_TRY(fd_zip_open(ctx, path, &z));
    fd_status s = FD_OK;
    if (fd_npz_has(z, FEATURES)) {
        s = fd_npz_read(ctx, z, FEATURES, &r->arena, &f);
        if (s == FD_OK && (f.dtype != FD_NPY_F4 || f.rank != 2 || f.dim[1] != r->d || f.dim[0] < 2))
            s = FD_FAIL(ctx, FD_E_FORMAT, "%s: " FEATURES " is no float32 array of %d features per picture", path, r->d);
        if (s == FD_OK) {
            r->features = (float *)f.data;
            r->nfeatures = f.dim[0];
        }
    }
    fd_zip_close(z);
    return s;
}

fd_status fd_reference_load(fd_ctx *ctx, const char *path, fd_reference *out) {
    *out = (fd_reference){0};
    if (is_pickle(path)) return load_pickle(ctx, path, out);
    fd_zip *z;
    FD_TRY(fd_zip_open(ctx, path, &z));
    fd_status s = read_moments(ctx, z, path, out);
    if (s == FD_OK && fd_npz_has(z, META)) {
        fd_npy bytes;
        s = fd_npz_read(ctx, z, META, &out->arena, &bytes);
        if (s == FD_OK) s = read_meta(ctx, path, &bytes, &out->from);
    }
    fd_zip_close(z);
    if (s != FD_OK) fd_reference_free(out);
    return s;
}

void fd_reference_free(fd_reference *r) {
    fd_arena_free(&r->arena);
    *r = (fd_reference){0};
}

fd_status fd_reference_save(fd_ctx *ctx, const char *path, const fd_reference *r) {
    const fd_provenance *p = &r->from;
    json_t *o = json_pack("{s:I, s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:s, s:s, s:s, s:s}", "n", (json_int_t)p->n, "data",
                          p->data, "data_digest", p->data_digest, "features", p->features, "features_digest",
                          p->features_digest, "dimension", r->d, "resolution", p->resolution, "resize", p->resize,
                          "uint8", p->uint8_rule, "codec", p->codec, "crop", p->crop, "tool", p->tool);
    fd_arena a = {0};
    char *text = o ? fd_json_dump(ctx, &a, o, 0) : NULL;
    json_decref(o);
    fd_status s = FD_OK;
    if (!text) s = FD_FAIL(ctx, FD_E_FORMAT, "%s: the name of the set or network is not UTF-8", path);
    if (s == FD_OK) {
        fd_npz_entry entry[6] = {
            {"mu", {.dtype = FD_NPY_F8, .rank = 1, .dim = {r->d}, .data = r->mu}},
            {"sigma", {.dtype = FD_NPY_F8, .rank = 2, .dim = {r->d, r->d}, .data = r->sigma}},
            {META, {.dtype = FD_NPY_U1, .rank = 1, .dim = {(int64_t)strlen(text)}, .data = text}},
        };
        fd_npz_entry more[] = {
            {"mu_s", {.dtype = FD_NPY_F8, .rank = 1, .dim = {r->ds}, .data = r->mu_s}},
            {"sigma_s", {.dtype = FD_NPY_F8, .rank = 2, .dim = {r->ds, r->ds}, .data = r->sigma_s}},
            {FEATURES, {.dtype = FD_NPY_F4, .rank = 2, .dim = {r->nfeatures, r->d}, .data = r->features}},
        };
        int n = 3;
        for (size_t i = 0; i < FD_COUNT(more); i++)
            if (more[i].array.data) entry[n++] = more[i];
        s = fd_npz_write(ctx, path, entry, n);
    }
    fd_arena_free(&a);
    return s;
}
