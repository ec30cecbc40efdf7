#include "eval/measure.h"

#include <stdio.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/progress.h"
#include "base/version.h"
#include "comm/comm.h"
#include "models/import.h"
#include "models/inception.h"

void fd_feature_net_name(const fd_net *net, const char *path, char out[256]) {
    if (net->meta.title[0]) {
        snprintf(out, 256, "%s", net->meta.title);
        return;
    }
    const char *slash = strrchr(path, '/');
    snprintf(out, 256, "%s", slash ? slash + 1 : path);
    char *dot = strrchr(out, '.');
    if (dot && dot != out) *dot = 0;
}

bool fd_is_fid(const fd_net *net) {
    return net->config.family == FD_FAMILY_INCEPTION && !strcmp(net->meta.title, FD_IMPORT_INCEPTION);
}

const char *fd_measure_resize_words(const fd_net *net, fd_resize_rule rule) {
    return net->config.family == FD_FAMILY_INCEPTION ? fd_resize_rule_words(rule) : FD_RESIZE_NONE;
}

static fd_status check(fd_ctx *ctx, const fd_image_source *s, const fd_net *net) {
    const fd_net_config *c = &net->config;
    if (!fd_is_feature_net(c->family))
        return FD_FAIL(ctx, FD_E_ARG, "--net: a feature network is needed, but this is a %s",
                       fd_family_name(c->family));
    if (s->n < 2)
        return FD_FAIL(ctx, FD_E_ARG, "%s: %lld image; a covariance needs two at least", s->name, (long long)s->n);
    if (c->family == FD_FAMILY_INCEPTION) return FD_OK;
    if (s->h != c->resolution || s->w != c->resolution)
        return FD_FAIL(ctx, FD_E_ARG, "%s: pictures of %d x %d, but the feature network is for %d x %d: use one of "
                       "that size",
                       s->name, s->w, s->h, c->resolution, c->resolution);
    if (s->c != c->image_channels && !(s->c == 1 && c->image_channels == 3))
        return FD_FAIL(ctx, FD_E_ARG, "%s: pictures with %d channels, but the feature network is for %d", s->name,
                       s->c, c->image_channels);
    return FD_OK;
}

typedef struct {
    const fd_measure_spec *spec;
    fd_image_source *source;
    fd_measured *out;
    fd_moments *moments, *spatial_moments;
    fd_feature_net *runner;
    fd_resizer *resizer;          /* Inception */
    int read, run;                /* pictures read at a time, and per pass of the network */
    int d, channels;
    uint8_t *images;              /* [read] */
    fd_progress bar;
    float *features, *logits, *spatial;     /* [read], and room to fill up the last pass */
} work;

/* uint8 [n][c] pictures to the network's float input; what is missing to a full pass repeats the last. */
static void to_input(const work *w, const uint8_t *images, int n) {
    const int c = w->source->c;
    const size_t pixels = (size_t)w->source->h * (size_t)w->source->w;
    float *x = fd_feature_net_input(w->runner);
    if (w->resizer) {
        const size_t each = (size_t)3 * FD_INCEPTION_SIDE * FD_INCEPTION_SIDE;
        fd_resizer_run(w->resizer, images, n, x);
        for (int i = n; i < w->run; i++) memcpy(x + (size_t)i * each, x + (size_t)(n - 1) * each, each * sizeof *x);
        return;
    }
    for (int i = 0; i < w->run; i++)
        for (int ch = 0; ch < w->channels; ch++) {
            int picture = i < n ? i : n - 1, plane = c == 1 ? 0 : ch;
            const uint8_t *from = images + (size_t)(picture * c + plane) * pixels;
            float *to = x + ((size_t)i * (size_t)w->channels + (size_t)ch) * pixels;
            for (size_t k = 0; k < pixels; k++) to[k] = (float)from[k] / 127.5f - 1.0f;
        }
}

/* n pictures from w->images, the source's from `at` on, to w->features and w->logits. The first logits; a classifier's others
 * are not asked for by anybody. */
static fd_status look(fd_ctx *ctx, work *w, int64_t at, int n) {
    const size_t bytes = (size_t)w->source->c * (size_t)w->source->h * (size_t)w->source->w;
    FD_TRY(fd_image_source_read(ctx, w->source, at, n, w->images, NULL));
    for (int k = 0; k < n; k += w->run) {
        float *logits[FD_MAX_HEADS] = {w->logits ? w->logits + (size_t)k * (size_t)w->out->classes : NULL};
        to_input(w, w->images + (size_t)k * bytes, n - k < w->run ? n - k : w->run);
        FD_TRY(fd_feature_net_run(ctx, w->runner, NULL, w->features + (size_t)k * (size_t)w->d, w->logits ? logits : NULL));
        if (w->spatial) FD_TRY(fd_feature_net_spatial(ctx, w->runner, w->spatial + (size_t)k * FD_INCEPTION_SPATIAL));
        fd_progress_update(&w->bar, at + k, NULL);
        if (fd_interrupted())
            return FD_FAIL(ctx, FD_E_CANCELLED, "interrupted after %lld images", (long long)(at + k));
    }
    return FD_OK;
}

static fd_status keep(fd_ctx *ctx, work *w, int64_t at, int n) {
    const size_t d = (size_t)w->d, classes = (size_t)w->out->classes;
    if (w->spec->keep_features)
        memcpy(w->out->stats.features + (size_t)at * d, w->features, sizeof(float) * d * (size_t)n);
    if (w->spec->keep_logits)
        memcpy(w->out->logits + (size_t)at * classes, w->logits, sizeof(float) * classes * (size_t)n);
    if (w->spatial) FD_TRY(fd_moments_add(ctx, w->spatial_moments, w->spatial, n));
    return fd_moments_add(ctx, w->moments, w->features, n);
}

/* What is read at a time goes to the ranks in turn. Rank 0 gets their features in the order of the pictures, so that sums are
 * the same bits for any number of ranks; against the network's work they cost nothing. */
static fd_status measure(fd_ctx *ctx, work *w) {
    const int ranks = fd_comm_size(ctx);
    const int64_t total = w->source->n;
    fd_progress_start(ctx, &w->bar, w->spec->what, "images", total);
    for (int64_t at = 0, turn = 0; at < total; at += w->read, turn++) {
        int n = (int)(total - at < w->read ? total - at : w->read), from = (int)(turn % ranks);
        if (from == fd_comm_rank(ctx)) FD_TRY(look(ctx, w, at, n));
        FD_TRY(fd_comm_bring(ctx, w->features, sizeof(float) * (size_t)w->d * (size_t)n, from));
        if (w->logits) FD_TRY(fd_comm_bring(ctx, w->logits, sizeof(float) * (size_t)w->out->classes * (size_t)n, from));
        if (w->spatial) FD_TRY(fd_comm_bring(ctx, w->spatial, sizeof(float) * FD_INCEPTION_SPATIAL * (size_t)n, from));
        if (fd_comm_first(ctx)) FD_TRY(keep(ctx, w, at, n));
        fd_progress_update(&w->bar, at + n, NULL);
    }
    fd_progress_end(&w->bar);
    return FD_OK;
}

static fd_status prepare(fd_ctx *ctx, fd_arena *a, work *w) {
    const fd_measure_spec *spec = w->spec;
    const fd_net_config *c = &spec->net->config;
    fd_image_source *s = w->source;
    fd_measured *m = w->out;
    const bool inception = c->family == FD_FAMILY_INCEPTION;
    w->d = m->stats.d = fd_feature_net_dim(c);
    w->channels = c->image_channels;
    w->read = spec->batch > 0 ? spec->batch : 1;
    w->run = fd_feature_net_batch(c) < w->read ? fd_feature_net_batch(c) : w->read;
    const bool keeps = fd_comm_first(ctx);
    const size_t rows = (size_t)w->read + (size_t)w->run;
    m->classes = spec->keep_logits ? fd_feature_net_classes(c) : 0;
    FD_NEW(ctx, a, w->images, fd_mul_size((size_t)w->read, (size_t)s->c * (size_t)s->h * (size_t)s->w));
    FD_NEW(ctx, a, w->features, fd_mul_size(rows, (size_t)w->d));
    if (spec->keep_logits) {
        FD_NEW(ctx, a, w->logits, fd_mul_size(rows, (size_t)m->classes));
        if (keeps) FD_NEW(ctx, &m->arena, m->logits, fd_mul_size((size_t)s->n, (size_t)m->classes));
    }
    if (spec->keep_features && keeps) {
        FD_NEW(ctx, &m->stats.arena, m->stats.features, fd_mul_size((size_t)s->n, (size_t)w->d));
        m->stats.nfeatures = s->n;
    }
    FD_NEW(ctx, &m->stats.arena, m->stats.mu, w->d);
    FD_NEW(ctx, &m->stats.arena, m->stats.sigma, fd_mul_size((size_t)w->d, (size_t)w->d));
    if (spec->spatial) {
        m->stats.ds = FD_INCEPTION_SPATIAL;
        FD_NEW(ctx, a, w->spatial, fd_mul_size(rows, FD_INCEPTION_SPATIAL));
        FD_NEW(ctx, &m->stats.arena, m->stats.mu_s, FD_INCEPTION_SPATIAL);
        FD_NEW(ctx, &m->stats.arena, m->stats.sigma_s, (size_t)FD_INCEPTION_SPATIAL * FD_INCEPTION_SPATIAL);
        FD_TRY(fd_moments_init(ctx, w->spatial_moments, FD_INCEPTION_SPATIAL));
    }
    if (inception) FD_TRY(fd_resizer_new(ctx, spec->resize, s->c, s->h, s->w, &w->resizer));
    return fd_feature_net_new(ctx, spec->net, w->run, &(fd_run_options){.backend = s->backend, .spatial = spec->spatial}, &w->runner);
}

static fd_status sign(fd_ctx *ctx, const fd_image_source *s, const fd_measure_spec *spec, fd_provenance *p) {
    p->known = true;
    p->n = s->n;
    p->resolution = s->h;
    snprintf(p->data, sizeof p->data, "%s", s->name);
    snprintf(p->data_digest, sizeof p->data_digest, "%s", s->digest);
    snprintf(p->features, sizeof p->features, "%s", spec->name);
    snprintf(p->resize, sizeof p->resize, "%s", fd_measure_resize_words(spec->net, spec->resize));
    snprintf(p->uint8_rule, sizeof p->uint8_rule, "%s", FD_UINT8_RULE);
    snprintf(p->codec, sizeof p->codec, "%s", s->codec);
    snprintf(p->crop, sizeof p->crop, "%s", s->crop);
    snprintf(p->tool, sizeof p->tool, "%s", fd_software());
    return fd_net_digest(ctx, spec->net, p->features_digest);
}

fd_status fd_measure(fd_ctx *ctx, fd_image_source *s, const fd_measure_spec *spec, fd_measured *out) {
    *out = (fd_measured){0};
    FD_TRY(check(ctx, s, spec->net));
    fd_arena a = {0};
    fd_moments moments = {0}, spatial = {0};
    work w = {.spec = spec, .source = s, .out = out, .moments = &moments, .spatial_moments = &spatial};
    fd_status status = prepare(ctx, &a, &w);
    if (status == FD_OK) status = fd_moments_init(ctx, &moments, w.d);
    if (status == FD_OK) status = measure(ctx, &w);
    if (status == FD_OK && fd_comm_first(ctx)) status = fd_moments_get(ctx, &moments, out->stats.mu, out->stats.sigma);
    if (status == FD_OK && fd_comm_first(ctx) && spec->spatial)
        status = fd_moments_get(ctx, &spatial, out->stats.mu_s, out->stats.sigma_s);
    if (status == FD_OK) status = sign(ctx, s, spec, &out->stats.from);
    fd_moments_free(&moments);
    fd_moments_free(&spatial);
    fd_resizer_free(w.resizer);
    fd_feature_net_free(w.runner);
    fd_arena_free(&a);
    if (status != FD_OK) fd_measured_free(out);
    return status;
}

void fd_measured_free(fd_measured *m) {
    fd_reference_free(&m->stats);
    fd_arena_free(&m->arena);
    *m = (fd_measured){0};
}
