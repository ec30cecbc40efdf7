/* dataset_write.c — EDM zips: stored PNG entries 00000/img00000000.png and dataset.json. */
#include <string.h>

#include <omp.h>

#include "io/dataset_parts.h"

struct fd_dataset_writer {
    fd_zip_writer *zip;
    int c, h, w;
    int64_t n, capacity;
    int32_t *label;               /* [n], -1: none */
    char path[4096];
};

enum { BATCH = 64, NAME_MAX_BYTES = 48 };

static void entry_name(int64_t i, char out[NAME_MAX_BYTES]) {
    snprintf(out, NAME_MAX_BYTES, "%05lld/img%08lld.png", (long long)(i / 1000), (long long)i);
}

fd_status fd_dataset_create(fd_ctx *ctx, const char *path, int c, int h, int w, fd_dataset_writer **out) {
    *out = NULL;
    if ((c != 1 && c != 3) || h < 1 || w < 1)
        return FD_FAIL(ctx, FD_E_ARG, "%s: pictures of %d channels and %d x %d pixels; 1 or 3 channels are possible",
                       path, c, w, h);
    fd_dataset_writer *d = fd_alloc(ctx, sizeof *d);
    if (!d) return FD_E_NOMEM;
    d->c = c, d->h = h, d->w = w;
    snprintf(d->path, sizeof d->path, "%s", path);
    fd_status s = fd_zip_create(ctx, path, &d->zip);
    if (s == FD_OK) *out = d;
    else fd_free(d);
    return s;
}

static fd_status remember(fd_ctx *ctx, fd_dataset_writer *d, const int *label, int n) {
    if (d->n + n > d->capacity) {
        int64_t capacity = 2 * (d->n + n) + 1024;
        int32_t *more = fd_alloc(ctx, fd_mul_size((size_t)capacity, sizeof *more));
        if (!more) return FD_E_NOMEM;
        if (d->n) memcpy(more, d->label, (size_t)d->n * sizeof *more);
        fd_free(d->label);
        d->label = more;
        d->capacity = capacity;
    }
    for (int i = 0; i < n; i++) {
        int v = label && label[i] >= 0 ? label[i] : -1;
        if (d->n + i > 0 && (v < 0) != (d->label[0] < 0))
            return FD_FAIL(ctx, FD_E_ARG, "%s: picture %lld has %s label, the first one has %s: label all or none",
                           d->path, (long long)(d->n + i), v < 0 ? "no" : "a", v < 0 ? "one" : "none");
        d->label[d->n + i] = v;
    }
    return FD_OK;
}

static fd_status add_batch(fd_ctx *ctx, fd_dataset_writer *d, const uint8_t *chw, int n) {
    fd_arena arena[BATCH] = {0};
    fd_bytes png[BATCH];
    fd_ctx failed = {0};
    size_t bytes = (size_t)d->c * (size_t)d->h * (size_t)d->w;
    int threads = ctx->threads > 0 ? ctx->threads : omp_get_max_threads();
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (n > 1)
    for (int i = 0; i < n; i++) {
        fd_ctx own = {0};
        fd_image m;
        if (fd_image_from_chw(&own, chw + (size_t)i * bytes, d->c, d->h, d->w, &m) == FD_OK)
            fd_png_encode(&own, &arena[i], &m, NULL, 0, &png[i]);
        fd_image_free(&m);
        if (own.code != FD_OK) {
#pragma omp critical(fd_dataset_add)
            failed = own;
        }
    }
    fd_status s = failed.code == FD_OK ? FD_OK : FD_FAIL(ctx, failed.code, "%s", failed.message);
    for (int i = 0; i < n; i++) {
        char name[NAME_MAX_BYTES];
        entry_name(d->n + i, name);
        if (s == FD_OK) s = fd_zip_add(ctx, d->zip, name, &png[i], 1);
        fd_arena_free(&arena[i]);
    }
    return s;
}

fd_status fd_dataset_add(fd_ctx *ctx, fd_dataset_writer *d, const uint8_t *chw, int label) {
    return fd_dataset_add_many(ctx, d, chw, &label, 1);
}

fd_status fd_dataset_add_many(fd_ctx *ctx, fd_dataset_writer *d, const uint8_t *chw, const int *label, int n) {
    size_t bytes = (size_t)d->c * (size_t)d->h * (size_t)d->w;
    for (int at = 0; at < n; at += BATCH) {
        int count = n - at < BATCH ? n - at : BATCH;
        FD_TRY(remember(ctx, d, label ? label + at : NULL, count));
        FD_TRY(add_batch(ctx, d, chw + (size_t)at * bytes, count));
        d->n += count;
    }
    return FD_OK;
}

fd_status fd_dataset_commit(fd_ctx *ctx, fd_dataset_writer *d, const char *crop) {
    size_t size = 64 + 2 * FD_CROP_MAX + (size_t)d->n * 64, at = 0;      /* an entry takes at most 24 + 2 + 10 + 8 bytes or so */
    char *text = fd_alloc(ctx, size), name[NAME_MAX_BYTES];
    fd_status s = text ? FD_OK : FD_E_NOMEM;
    if (text) {
        at += (size_t)snprintf(text, size, "{\"labels\": ");
        if (!d->n || d->label[0] < 0) at += (size_t)snprintf(text + at, size - at, "null");
        for (int64_t i = 0; d->n && d->label[0] >= 0 && i < d->n; i++) {
            entry_name(i, name);
            at += (size_t)snprintf(text + at, size - at, "%s[\"%s\", %d]", i ? ", " : "[", name, d->label[i]);
        }
        if (d->n && d->label[0] >= 0) at += (size_t)snprintf(text + at, size - at, "]");
        if (*crop && fd_crop_valid(crop)) at += (size_t)snprintf(text + at, size - at, ", \"fdistill\": {\"crop\": \"%s\"}", crop);
        at += (size_t)snprintf(text + at, size - at, "}");
        fd_bytes piece = {(const uint8_t *)text, at};
        s = fd_zip_add(ctx, d->zip, "dataset.json", &piece, 1);
    }
    fd_free(text);
    if (s == FD_OK) {
        s = fd_zip_commit(ctx, d->zip);
        d->zip = NULL;
    }
    fd_dataset_abandon(d);
    return s;
}

void fd_dataset_abandon(fd_dataset_writer *d) {
    if (!d) return;
    fd_zip_abandon(d->zip);
    fd_free(d->label);
    fd_free(d);
}
