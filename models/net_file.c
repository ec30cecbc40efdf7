/* Networks as safetensors files, and their digest. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "models/import.h"
#include "models/net_file.h"

/* Metadata: one row per key of fd_net_meta, so that writing and reading cannot drift apart. */
typedef enum { TEXT, REAL, INTEGER } meta_kind;
typedef struct { const char *key; meta_kind kind; size_t offset, size; } meta_row;
#define ROW(key, kind, member) {key, kind, offsetof(fd_net_meta, member), sizeof(((fd_net_meta *)0)->member)}
static const meta_row rows[] = {
    ROW("fdistill.kind", TEXT, kind),             ROW("fdistill.data", TEXT, data),
    ROW("fdistill.parent", TEXT, parent),         ROW("fdistill.sigma_min", REAL, sigma_min),
    ROW("fdistill.sigma_max", REAL, sigma_max),   ROW("fdistill.rho", REAL, rho),
    ROW("fdistill.sigma_init", REAL, sigma_init), ROW("fdistill.ema_kind", TEXT, ema_kind),
    ROW("fdistill.ema", REAL, ema),               ROW("fdistill.images", INTEGER, images),
    ROW("fdistill.crop", TEXT, crop),
    ROW("modelspec.title", TEXT, title),          ROW("modelspec.date", TEXT, date),
    ROW("modelspec.license", TEXT, licence),
};
_Static_assert(FD_COUNT(rows) + 5 <= FD_NET_META_MAX, "a place for every key");

static fd_status add_text(fd_ctx *ctx, fd_arena *a, fd_st_meta *meta, int *n, const char *key, const char *value) {
    meta[*n].key = key;
    meta[*n].value = fd_arena_strdup(ctx, a, value);
    return meta[(*n)++].value ? FD_OK : FD_E_NOMEM;
}

fd_status fd_net_metadata(fd_ctx *ctx, fd_arena *a, const fd_net_config *config, const fd_net_meta *from,
                          fd_st_meta *meta, int *n) {
    const char *json;
    char text[160];
    *n = 0;
    FD_TRY(fd_net_config_format(ctx, a, config, &json));
    FD_TRY(add_text(ctx, a, meta, n, "fdistill.config", json));
    for (size_t i = 0; i < FD_COUNT(rows); i++) {
        const char *at = (const char *)from + rows[i].offset;
        double real = rows[i].kind == REAL ? *(const double *)(const void *)at : 0;
        int64_t integer = rows[i].kind == INTEGER ? *(const int64_t *)(const void *)at : 0;
        if (rows[i].kind == TEXT && *at) FD_TRY(add_text(ctx, a, meta, n, rows[i].key, at));
        if (real > 0) {
            snprintf(text, sizeof text, "%.17g", real);
            FD_TRY(add_text(ctx, a, meta, n, rows[i].key, text));
        }
        if (integer > 0) {
            snprintf(text, sizeof text, "%lld", (long long)integer);
            FD_TRY(add_text(ctx, a, meta, n, rows[i].key, text));
        }
    }
    FD_TRY(add_text(ctx, a, meta, n, "modelspec.sai_model_spec", "1.0.0"));
    snprintf(text, sizeof text, "edm-%s", fd_family_name(config->family));
    FD_TRY(add_text(ctx, a, meta, n, "modelspec.architecture", text));
    FD_TRY(add_text(ctx, a, meta, n, "modelspec.implementation", "fdistill"));
    snprintf(text, sizeof text, "%dx%d", config->resolution, config->resolution);
    return add_text(ctx, a, meta, n, "modelspec.resolution", text);
}

static fd_status tensors(fd_ctx *ctx, fd_arena *a, const fd_net *net, const float *w, fd_st_tensor **out) {
    const fd_params *p = &net->params;
    fd_st_tensor *t;
    FD_NEW(ctx, a, t, p->n ? p->n : 1);
    for (int i = 0; i < p->n; i++) {
        const fd_param *q = &p->list[i];
        const float *from = (q->buffer || !w ? p->w : w) + q->offset;
        t[i] = (fd_st_tensor){.name = q->name, .dtype = FD_ST_F32, .rank = q->rank, .data = from, .count = q->count,
                              .bytes = (size_t)q->count * sizeof(float)};
        memcpy(t[i].dim, q->dim, sizeof q->dim);
    }
    *out = t;
    return FD_OK;
}

fd_status fd_net_save(fd_ctx *ctx, const fd_net *net, const float *w, const char *path) {
    fd_arena a = {0};
    fd_st_meta meta[FD_NET_META_MAX];
    fd_st_tensor *t;
    int n;
    fd_status s = fd_net_metadata(ctx, &a, &net->config, &net->meta, meta, &n);
    if (s == FD_OK) s = tensors(ctx, &a, net, w, &t);
    if (s == FD_OK) s = fd_safetensors_write(ctx, path, t, net->params.n, meta, n);
    fd_arena_free(&a);
    return s;
}

fd_status fd_net_digest(fd_ctx *ctx, const fd_net *net, char out[65]) {
    fd_arena a = {0};
    fd_st_tensor *t;
    fd_status s = tensors(ctx, &a, net, NULL, &t);
    if (s == FD_OK) s = fd_safetensors_digest(ctx, t, net->params.n, out);
    fd_arena_free(&a);
    return s;
}

/* Reading ------------------------------------------------------------------------------------------------------- */

static fd_status read_meta(fd_ctx *ctx, const fd_safetensors *f, fd_net_meta *m) {
    for (size_t i = 0; i < FD_COUNT(rows); i++) {
        const char *v = fd_safetensors_meta(f, rows[i].key);
        void *at = (char *)m + rows[i].offset;
        char *end;
        if (!v) continue;
        if (rows[i].kind == TEXT) {
            snprintf(at, rows[i].size, "%s", v);
            continue;
        }
        errno = 0;
        double real = strtod(v, &end);
        if (end == v || *end || errno || !(real >= 0 && real < 9e18))
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: metadata %s: '%.40s' is no number of a sensible size", f->path,
                           rows[i].key, v);
        if (rows[i].kind == REAL) *(double *)at = real;
        else *(int64_t *)at = strtoll(v, NULL, 10);
    }
    return FD_OK;
}

static bool is_filter(const fd_param *p) { return p->init.kind == FD_INIT_FILTER; }

static void print_shape(char out[160], int rank, const int64_t *dim) {
    int at = snprintf(out, 160, "[");
    for (int i = 0; i < rank && at < 130; i++)
        at += snprintf(out + at, 160 - (size_t)at, "%s%lld", i ? "," : "", (long long)dim[i]);
    snprintf(out + at, 160 - (size_t)at, "]");
}

/* Names and shapes, both ways, before any memory is taken for the weights. */
static fd_status compare(fd_ctx *ctx, const fd_safetensors *f, const fd_params *p) {
    for (int i = 0; i < p->n; i++) {
        const fd_param *q = &p->list[i];
        const fd_st_tensor *t = fd_safetensors_find(f, q->name);
        if (!t && is_filter(q)) continue;
        if (!t)
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: tensor '%s' is missing; the network's configuration asks for it",
                           f->path, q->name);
        if (t->rank == q->rank && memcmp(t->dim, q->dim, sizeof *q->dim * (size_t)q->rank) == 0) continue;
        char have[160], want[160];
        print_shape(have, t->rank, t->dim);
        print_shape(want, q->rank, q->dim);
        return FD_FAIL(ctx, FD_E_SHAPE, "%s: tensor '%s' has shape %s, the network wants %s", f->path, q->name, have,
                       want);
    }
    for (int i = 0; i < f->n; i++)
        if (fd_params_find(p, f->tensor[i].name) < 0)
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: tensor '%.200s' does not belong to this network (%d others do)",
                           f->path, f->tensor[i].name, p->n);
    return FD_OK;
}

/* Values: finite, and of filters those that the configuration describes. Foreign data may be unaligned, so it goes
 * through a buffer. */
static fd_status check_values(fd_ctx *ctx, const fd_safetensors *f, const fd_param *q, const fd_st_tensor *t) {
    float chunk[1024], expected[16];
    size_t bytes = fd_st_dtype_bytes(t->dtype);
    if (is_filter(q)) fd_net_filter(&q->init, expected);
    for (int64_t at = 0, n; at < t->count; at += n) {
        n = t->count - at < (int64_t)FD_COUNT(chunk) ? t->count - at : (int64_t)FD_COUNT(chunk);
        fd_st_to_f32(t->dtype, (const char *)t->data + (size_t)at * bytes, n, chunk);
        for (int64_t k = 0; k < n; k++)
            if (!isfinite(chunk[k]))
                return FD_FAIL(ctx, FD_E_NUMERIC, "%s: tensor '%s' holds a NaN or infinity at element %lld", f->path,
                               q->name, (long long)(at + k));
        for (int64_t k = 0; is_filter(q) && k < n; k++)
            if (fabsf(chunk[k] - expected[k]) > 1e-6f)
                return FD_FAIL(ctx, FD_E_FORMAT,
                               "%s: tensor '%s' is not the filter that the configuration's resample_filter describes",
                               f->path, q->name);
    }
    return FD_OK;
}

static fd_status read_weights(fd_ctx *ctx, const fd_safetensors *f, fd_params *p) {
    for (int i = 0; i < p->n; i++) {
        const fd_param *q = &p->list[i];
        const fd_st_tensor *t = fd_safetensors_find(f, q->name);
        if (!t) continue;
        FD_TRY(check_values(ctx, f, q, t));
        FD_TRY(fd_safetensors_read_f32(ctx, f, q->name, q->rank, q->dim, p->w + q->offset));
    }
    return FD_OK;
}

/* Reads the configuration, declares its tensors and compares them with the file's. */
static fd_status declare(fd_ctx *ctx, const fd_safetensors *f, fd_net_config *config, fd_params *declared) {
    const char *json = fd_safetensors_meta(f, "fdistill.config");
    if (!json)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: is no network: it has no metadata 'fdistill.config', and its tensors are "
                       "not those of a U-Net of EDM's family ('fdistill import --list' shows them)", f->path);
    FD_TRY(fd_net_config_parse(ctx, f->path, json, strlen(json), config));
    FD_TRY(fd_net_declare(ctx, config, declared));
    return compare(ctx, f, declared);
}

static fd_status load(fd_ctx *ctx, const fd_safetensors *f, fd_net **out) {
    fd_net_config config;
    fd_params declared;
    fd_params_init(&declared);
    fd_status s = declare(ctx, f, &config, &declared);
    fd_params_free(&declared);
    FD_TRY(s);
    FD_TRY(fd_net_new(ctx, &config, out));
    FD_TRY(read_meta(ctx, f, &(*out)->meta));
    return read_weights(ctx, f, &(*out)->params);
}

fd_status fd_net_from_view(fd_ctx *ctx, const fd_safetensors *view, fd_net **out) {
    *out = NULL;
    fd_status s = load(ctx, view, out);
    if (s == FD_OK) return FD_OK;
    fd_net_free(*out);
    *out = NULL;
    return s;
}

/* One tensor as our files have it: float32, under a name that outlives the declaration. */
static fd_status our_tensor(fd_ctx *ctx, const fd_safetensors *f, const fd_param *q, fd_arena *a, fd_st_tensor *out) {
    const fd_st_tensor *t = fd_safetensors_find(f, q->name);
    *out = (fd_st_tensor){.dtype = FD_ST_F32, .rank = q->rank, .count = q->count,
                          .bytes = (size_t)q->count * sizeof(float)};
    memcpy(out->dim, q->dim, sizeof q->dim);
    if (!(out->name = fd_arena_strdup(ctx, a, q->name))) return FD_E_NOMEM;
    if (t) FD_TRY(check_values(ctx, f, q, t));
    if (t && t->dtype == FD_ST_F32) {
        out->data = t->data;
        return FD_OK;
    }
    float *w = fd_arena_alloc(ctx, a, out->bytes);
    if (!w) return FD_E_NOMEM;
    if (t) fd_st_to_f32(t->dtype, t->data, t->count, w);
    else fd_net_filter(&q->init, w);
    out->data = w;
    return FD_OK;
}

fd_status fd_net_check_view(fd_ctx *ctx, const fd_safetensors *view, fd_arena *a, fd_st_tensor **out, int *n,
                            int64_t *parameters) {
    fd_net_config config;
    fd_params declared;
    fd_params_init(&declared);
    fd_status s = declare(ctx, view, &config, &declared);
    *n = declared.n;
    *parameters = 0;
    *out = s == FD_OK ? fd_arena_alloc(ctx, a, fd_mul_size((size_t)declared.n + 1, sizeof **out)) : NULL;
    if (s == FD_OK && !*out) s = FD_E_NOMEM;
    for (int i = 0; s == FD_OK && i < declared.n; i++) {
        s = our_tensor(ctx, view, &declared.list[i], a, &(*out)[i]);
        if (!declared.list[i].buffer) *parameters += declared.list[i].count;
    }
    fd_params_free(&declared);
    return s;
}

/* Files of ours and other people's alike. */
fd_status fd_net_load(fd_ctx *ctx, const char *path, fd_net **out) {
    fd_import in;
    *out = NULL;
    FD_TRY(fd_import_open(ctx, path, NULL, &in));
    fd_status s = fd_net_from_view(ctx, &in.view, out);
    fd_import_close(&in);
    return s;
}
