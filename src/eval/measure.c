#include "eval/measure.h"

#include <stdio.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/progress.h"
#include "base/version.h"

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

static fd_status check(fd_ctx *ctx, const fd_image_source *s, const fd_net *net) {
    const fd_net_config *c = &net->config;
    if (c->family != FD_FAMILY_CLASSIFIER)
        return FD_FAIL(ctx, FD_E_ARG, "--net: a feature network is needed, but this is a %s",
                       fd_family_name(c->family));
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
    uint8_t *images;
    float *x, *features;
    fd_feature_net *runner;
    int batch, channels;
    size_t pixels;                /* of one channel */
} work;

/* uint8 [n][c] pictures to the network's float input; what is missing to a full batch repeats the last. */
static void to_input(const work *w, int n, int c) {
    for (int i = 0; i < w->batch; i++)
        for (int ch = 0; ch < w->channels; ch++) {
            int picture = i < n ? i : n - 1, plane = c == 1 ? 0 : ch;
            const uint8_t *from = w->images + (size_t)(picture * c + plane) * w->pixels;
            float *to = w->x + ((size_t)i * (size_t)w->channels + (size_t)ch) * w->pixels;
            for (size_t k = 0; k < w->pixels; k++) to[k] = (float)from[k] / 127.5f - 1.0f;
        }
}

static fd_status measure(fd_ctx *ctx, fd_image_source *s, work *w, const char *what, fd_moments *out) {
    fd_progress bar;
    fd_progress_start(ctx, &bar, what, "images", s->n);
    for (int64_t at = 0; at < s->n; at += w->batch) {
        int n = (int)(s->n - at < w->batch ? s->n - at : w->batch);
        FD_TRY(fd_image_source_read(ctx, s, at, n, w->images, NULL));
        to_input(w, n, s->c);
        FD_TRY(fd_feature_net_run(ctx, w->runner, w->x, w->features, NULL));
        FD_TRY(fd_moments_add(ctx, out, w->features, n));
        fd_progress_update(&bar, at + n, NULL);
        if (fd_interrupted())
            return FD_FAIL(ctx, FD_E_CANCELLED, "interrupted after %lld images", (long long)(at + n));
    }
    fd_progress_end(&bar);
    return FD_OK;
}

fd_status fd_measure_moments(fd_ctx *ctx, fd_image_source *s, fd_net *features, int batch, const char *what,
                             fd_moments *out) {
    *out = (fd_moments){0};
    FD_TRY(check(ctx, s, features));
    fd_arena a = {0};
    int d = fd_feature_net_dim(&features->config);
    work w = {.batch = batch, .channels = features->config.image_channels, .pixels = (size_t)s->h * (size_t)s->w};
    size_t n = (size_t)batch * w.pixels;
    w.images = fd_arena_alloc(ctx, &a, n * (size_t)s->c);
    w.x = fd_arena_alloc(ctx, &a, n * (size_t)w.channels * sizeof *w.x);
    w.features = fd_arena_alloc(ctx, &a, (size_t)batch * (size_t)d * sizeof *w.features);
    fd_status status = w.images && w.x && w.features ? FD_OK : FD_E_NOMEM;
    if (status == FD_OK) status = fd_moments_init(ctx, out, d);
    if (status == FD_OK) status = fd_feature_net_new(ctx, features, batch, &(fd_run_options){.backend = s->backend}, &w.runner);
    if (status == FD_OK) status = measure(ctx, s, &w, what, out);
    fd_feature_net_free(w.runner);
    fd_arena_free(&a);
    if (status != FD_OK) fd_moments_free(out);
    return status;
}

static fd_status fill(fd_ctx *ctx, fd_moments *m, fd_reference *r) {
    r->d = m->d;
    FD_NEW(ctx, &r->arena, r->mu, m->d);
    FD_NEW(ctx, &r->arena, r->sigma, fd_mul_size((size_t)m->d, (size_t)m->d));
    return fd_moments_get(ctx, m, r->mu, r->sigma);
}

fd_status fd_measure_reference(fd_ctx *ctx, fd_image_source *s, fd_net *features, const char *name, int batch,
                               const char *what, fd_reference *out) {
    *out = (fd_reference){0};
    if (s->n < 2)
        return FD_FAIL(ctx, FD_E_ARG, "%s: %lld image; a covariance needs two at least", s->name, (long long)s->n);
    fd_provenance *p = &out->from;
    fd_moments m;
    FD_TRY(fd_measure_moments(ctx, s, features, batch, what, &m));
    fd_status status = fill(ctx, &m, out);
    fd_moments_free(&m);
    if (status == FD_OK) status = fd_net_digest(ctx, features, p->features_digest);
    p->known = true;
    p->n = s->n;
    p->resolution = s->h;
    snprintf(p->data, sizeof p->data, "%s", s->name);
    snprintf(p->data_digest, sizeof p->data_digest, "%s", s->digest);
    snprintf(p->features, sizeof p->features, "%s", name);
    snprintf(p->resize, sizeof p->resize, "%s", FD_RESIZE_NONE);
    snprintf(p->uint8_rule, sizeof p->uint8_rule, "%s", FD_UINT8_RULE);
    snprintf(p->tool, sizeof p->tool, "%s", fd_software());
    if (status != FD_OK) fd_reference_free(out);
    return status;
}
