/* Golden metrics from stored features, and reference statistics in the containers of many tools.
 *
 * Limits: 1e-10 relative, singular covariances included; a distance of 0 is a difference of traces, 1e-13 of them. KID may
 * differ ten times as much as plain double does from the stored 80-bit value. Counts are exact. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "eval/frechet.h"
#include "eval/image_source.h"
#include "eval/inception_score.h"
#include "eval/kid.h"
#include "eval/moments.h"
#include "eval/prdc.h"
#include "eval/reference.h"
#include "golden.h"

typedef struct {
    int64_t n;
    int d;
    const double *wide;           /* [n][d] */
    float *x;                     /* the same rounded */
    double *mu, *sigma;
} sample;

static fd_status load(fd_ctx *ctx, golden_files *f, const char *name, sample *out) {
    fd_npy a;
    fd_arena *arena = &f->arena;
    FD_TRY(golden_npy(ctx, f, name, &a));
    if (a.rank != 2) return FD_FAIL(ctx, FD_E_SHAPE, "%s: rank %d", name, a.rank);
    *out = (sample){.n = a.dim[0], .d = (int)a.dim[1], .wide = fd_npy_doubles(ctx, arena, &a)};
    if (!out->wide) return FD_E_NOMEM;
    FD_NEW(ctx, arena, out->x, a.count);
    for (int64_t i = 0; i < a.count; i++) out->x[i] = (float)out->wide[i];
    if (f->o->perturb && !f->spoiled && a.dtype == FD_NPY_F4) {
        golden_spoil_item(f, out->x, 1);
        ((double *)out->wide)[1] = out->x[1];
    }
    return FD_OK;
}

static fd_status moments(fd_ctx *ctx, golden_files *f, sample *s) {
    fd_moments m;
    FD_NEW(ctx, &f->arena, s->mu, s->d);
    FD_NEW(ctx, &f->arena, s->sigma, (size_t)s->d * (size_t)s->d);
    FD_TRY(fd_moments_init(ctx, &m, s->d));
    fd_status status = fd_moments_add_double(ctx, &m, s->wide, s->n);
    if (status == FD_OK) status = fd_moments_get(ctx, &m, s->mu, s->sigma);
    fd_moments_free(&m);
    return status;
}

static double trace(const sample *s) {
    double t = 0;
    for (int i = 0; i < s->d; i++) t += s->sigma[(size_t)i * (size_t)s->d + (size_t)i];
    return t;
}

static double number(const json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }

static fd_status nearest(fd_ctx *ctx, golden_files *f, const json_t *want, bool strict, const sample *x, const sample *y) {
    const json_t *o = json_object_get(want, strict ? "prdc_k3_strict_lt" : "prdc_k3_le");
    fd_prdc_result r;
    if (!o) return FD_OK;
    FD_TRY(fd_prdc_double(ctx, x->wide, x->n, y->wide, y->n, x->d, 3, strict, &r));
    golden_near(f, o, "precision", r.precision, 1e-12, 0);
    golden_near(f, o, "recall", r.recall, 1e-12, 0);
    golden_near(f, o, "density", r.density, 1e-12, 0);
    golden_near(f, o, "coverage", r.coverage, 1e-12, 0);
    return FD_OK;
}

static fd_status subsets(fd_ctx *ctx, golden_files *f, const json_t *want, const sample *x, const sample *y) {
    const json_t *o = json_object_get(want, "kid_subsets");
    fd_npy ix, iy;
    fd_kid_result r;
    if (!o) return FD_OK;
    FD_TRY(golden_npy(ctx, f, json_string_value(json_object_get(o, "ix")), &ix));
    FD_TRY(golden_npy(ctx, f, json_string_value(json_object_get(o, "iy")), &iy));
    FD_TRY(fd_kid_subsets(ctx, x->x, x->n, y->x, y->n, x->d, (int)ix.dim[0], (int)ix.dim[1], ix.data, iy.data, &r));
    golden_near(f, o, "mean", r.mean, 1e-10, 0);
    golden_near(f, o, "std_population", r.std, 1e-10, 0);
    return FD_OK;
}

static fd_status pair(fd_ctx *ctx, golden_files *f, const json_t *want) {
    sample x, y;
    fd_frechet_result fd;
    double kid;
    const bool wide = !strcmp(json_string_value(json_object_get(want, "dtype")), "float64");
    FD_TRY(load(ctx, f, json_string_value(json_object_get(want, "x")), &x));
    FD_TRY(load(ctx, f, json_string_value(json_object_get(want, "y")), &y));
    FD_TRY(moments(ctx, f, &x));
    FD_TRY(moments(ctx, f, &y));
    FD_TRY(fd_frechet(ctx, x.d, x.mu, x.sigma, y.mu, y.sigma, &fd));
    golden_near(f, want, "trace_x", trace(&x), 1e-10, 0);
    golden_near(f, want, "trace_y", trace(&y), 1e-10, 0);
    golden_near(f, want, "mean_diff_sq", fd.mean_part, 1e-10, 0);
    golden_near(f, want, "fid", fd.distance, 1e-10, 1e-13 * trace(&x));
    if (!(fd.distance >= 0)) golden_wrong(f, "the distance is %g", fd.distance);
    FD_TRY(fd_kid(ctx, x.x, x.n, y.x, y.n, x.d, &kid));
    /* Where features are doubles, ours are rounded to float: 6e-8 each, averaged over the pairs. */
    golden_near(f, want, "kid", kid, 1e-10, 10 * fabs(number(want, "kid_float64") - number(want, "kid")) + (wide ? 1e-8 : 0));
    FD_TRY(nearest(ctx, f, want, true, &x, &y));
    FD_TRY(nearest(ctx, f, want, false, &x, &y));
    return subsets(ctx, f, want, &x, &y);
}

static fd_status inception_score(fd_ctx *ctx, golden_files *f, const json_t *want) {
    fd_npy z;
    double mean, std, value[64];
    const int splits = (int)number(want, "splits");
    const json_t *values = json_object_get(want, "values");
    FD_TRY(golden_npy(ctx, f, json_string_value(json_object_get(want, "logits")), &z));
    if (z.rank != 2 || z.dtype != FD_NPY_F4 || splits < 1 || splits > 64 || (int)json_array_size(values) != splits)
        return FD_FAIL(ctx, FD_E_SHAPE, "unexpected logits");
    FD_TRY(fd_inception_score(ctx, z.data, z.dim[0], (int)z.dim[1], splits, &mean, &std, value));
    golden_near(f, want, "mean", mean, 1e-12, 0);
    golden_near(f, want, "std_population", std, 1e-10, 0);
    for (int i = 0; i < splits; i++)
        if (!(fabs(value[i] - json_number_value(json_array_get(values, (size_t)i))) < 1e-11))
            golden_wrong(f, "split %d is %.17g", i, value[i]);
    FD_TRY(fd_inception_score(ctx, z.data, z.dim[0], (int)z.dim[1], 1, &mean, &std, NULL));
    golden_near(f, want, "one_split", mean, 1e-12, 0);
    return FD_OK;
}

/* Must fail somewhere on the way to a distance, with a reason. */
static fd_status refused(fd_ctx *ctx, golden_files *f, const char *name) {
    fd_ctx own = {.quiet = true};
    sample x, y;
    FD_TRY(load(ctx, f, name, &x));
    FD_TRY(load(ctx, f, "main.y.npy", &y));
    fd_status s = moments(&own, f, &x);
    f->compared++;
    if (s == FD_OK && x.d == y.d) golden_wrong(f, "was measured, but must be refused");
    if (s != FD_OK && !own.message[0]) golden_wrong(f, "refused without a reason");
    return FD_OK;
}

void golden_files_metrics(golden_files *f) {
    const char *key;
    json_t *want;
    json_object_foreach(f->expected, key, want) {
        if (!strcmp(key, "refuse")) continue;
        fd_ctx ctx = {.quiet = true};
        golden_item(f, key);
        fd_status s = strcmp(key, "inception_score") ? pair(&ctx, f, want) : inception_score(&ctx, f, want);
        if (s != FD_OK) golden_wrong(f, "%s", ctx.message);
    }
    json_object_foreach(json_object_get(f->expected, "refuse"), key, want) {
        fd_ctx ctx = {.quiet = true};
        golden_item(f, key);
        if (refused(&ctx, f, key) != FD_OK) golden_wrong(f, "%s", ctx.message);
    }
}

/* ---- npz ------------------------------------------------------------------------------------------------------- */

static void check_crc(golden_files *f, const json_t *want, const char *key, const void *data, size_t bytes) {
    f->compared++;
    if (crc32_z(crc32(0, NULL, 0), data, bytes) != (uLong)number(want, key)) golden_wrong(f, "%s differs", key);
}

static double sum(const double *v, int64_t n) {
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += v[i];
    return s;
}

/* The distance to the moments of a sample beside this folder, or of another file in it. */
static fd_status distances(fd_ctx *ctx, golden_files *f, const json_t *want, const fd_reference *r) {
    fd_frechet_result fd;
    sample y;
    if (json_is_number(json_object_get(want, "fid_against_main_y"))) {
        FD_TRY(load(ctx, f, "../metrics/main.y.npy", &y));
        FD_TRY(moments(ctx, f, &y));
        FD_TRY(fd_frechet(ctx, r->d, r->mu, r->sigma, y.mu, y.sigma, &fd));
        golden_near(f, want, "fid_against_main_y", fd.distance, 1e-10, 0);
    }
    if (json_object_get(want, "fid_against_full2048_b")) {
        fd_reference b;
        const char *path = fd_arena_printf(ctx, &f->arena, "%s/full2048_b.npz", f->folder);
        if (!path) return FD_E_NOMEM;
        FD_TRY(fd_reference_load(ctx, path, &b));
        fd_status s = fd_frechet(ctx, r->d, r->mu, r->sigma, b.mu, b.sigma, &fd);
        fd_reference_free(&b);
        if (s != FD_OK) return s;
        golden_near(f, want, "fid_against_full2048_b", fd.distance, 1e-10, 0);
    }
    return FD_OK;
}

static fd_status statistics(fd_ctx *ctx, golden_files *f, const json_t *want, fd_reference *r) {
    const int64_t d = r->d;
    double diagonal = 0;
    if (f->o->perturb && !f->spoiled) {
        r->mu[0] *= 1.001;
        f->spoiled = f->item;
    }
    check_crc(f, want, "mu_crc32_f64le", r->mu, sizeof(double) * (size_t)d);
    check_crc(f, want, "sigma_crc32_f64le", r->sigma, sizeof(double) * (size_t)(d * d));
    golden_near(f, want, "mu_sum", sum(r->mu, d), 1e-12, 0);
    golden_near(f, want, "sigma_sum", sum(r->sigma, d * d), 1e-12, 0);
    for (int64_t i = 0; i < d; i++) diagonal += r->sigma[i * d + i];
    golden_near(f, want, "sigma_trace", diagonal, 1e-12, 0);
    if (json_object_get(want, "mu_s_sum")) {
        double spatial = 0;
        for (int64_t i = 0; i < r->ds; i++) spatial += r->sigma_s[i * r->ds + i];
        golden_near(f, want, "mu_s_sum", sum(r->mu_s, r->ds), 1e-12, 0);
        golden_near(f, want, "sigma_s_trace", spatial, 1e-12, 0);
    }
    return distances(ctx, f, want, r);
}

/* The pictures of ADM's files, as [n][h][w][c]. */
static fd_status pictures(fd_ctx *ctx, golden_files *f, const json_t *want, const char *path) {
    fd_image_source s;
    uint8_t *chw, *hwc;
    int32_t *classes;
    const json_t *labels = json_object_get(want, "arr_1");
    FD_TRY(fd_image_source_set(ctx, path, 0, 0, &s));
    const size_t plane = (size_t)s.h * (size_t)s.w, c = (size_t)s.c, bytes = (size_t)s.n * plane * c;
    FD_NEW(ctx, &f->arena, chw, bytes);
    FD_NEW(ctx, &f->arena, hwc, bytes);
    FD_NEW(ctx, &f->arena, classes, s.n);
    fd_status status = fd_image_source_read(ctx, &s, 0, s.n, chw, classes);
    for (size_t i = 0; i < bytes; i++) hwc[i] = chw[i / (plane * c) * plane * c + i % c * plane + i / c % plane];
    check_crc(f, want, "arr_0_crc32", hwc, bytes);
    for (size_t i = 0; i < json_array_size(labels); i++)
        if (classes[i] != json_integer_value(json_array_get(labels, i))) golden_wrong(f, "class %zu is another", i);
    fd_image_source_close(&s);
    return status;
}

static void one_npz(golden_files *f, const json_t *want) {
    char path[4400];
    fd_ctx ctx = {.quiet = true};
    fd_reference r;
    const bool accept = !strcmp(json_string_value(json_object_get(want, "must")), "accept");
    snprintf(path, sizeof path, "%s/%s", f->folder, f->item);
    fd_status s = fd_reference_load(&ctx, path, &r);
    f->compared++;
    if (s != FD_OK && (strncmp(ctx.message, path, strlen(path)) || s != FD_E_FORMAT))
        golden_wrong(f, "no proper reason: %s: %s", fd_status_name(s), ctx.message);
    if (accept && json_object_get(want, "mu_sum")) {
        if (s != FD_OK) golden_wrong(f, "was refused: %s", ctx.message);
        else if (statistics(&ctx, f, want, &r) != FD_OK) golden_wrong(f, "%s", ctx.message);
    } else if (s == FD_OK) golden_wrong(f, "was read as a reference, but is none");
    fd_clear(&ctx);
    if (json_object_get(want, "arr_0_crc32") && pictures(&ctx, f, want, path) != FD_OK)
        golden_wrong(f, "%s", ctx.message);
    if (s == FD_OK) fd_reference_free(&r);
}

void golden_files_npz(golden_files *f) {
    const char *key;
    json_t *want;
    json_object_foreach(f->expected, key, want) {
        golden_item(f, key);
        one_npz(f, want);
    }
}
