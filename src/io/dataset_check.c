/* dataset_check.c — everything that is wrong or odd with a set of pictures, in plain words. */
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/progress.h"
#include "base/rng.h"
#include "io/dataset_parts.h"

enum { BATCH = 64 };

typedef struct { uint64_t hash; int64_t i; } fingerprint;

static int by_hash(const void *a, const void *b) {
    const fingerprint *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return (x->i > y->i) - (x->i < y->i);
}

static uint64_t hash_pixels(const fd_image *m) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0, n = (size_t)m->w * (size_t)m->h * (size_t)m->c; i < n; i++) h = (h ^ m->p[i]) * 0x100000001b3u;
    return h;
}

static fd_status check_pictures(fd_faults *f, const fd_source *s, const int64_t *image, int64_t n, fd_arena *arena) {
    fd_dataset_report *r = f->report;
    fd_ctx *result;
    fd_image *m;
    fingerprint *print;
    FD_NEW(f->ctx, arena, result, BATCH);
    FD_NEW(f->ctx, arena, m, BATCH);
    FD_NEW(f->ctx, arena, print, n);
    int64_t good = 0, copies = 0, lossy = 0;
    fd_status status = FD_OK;
    const char *first = "", *lossy_name = "";
    fd_progress p;
    fd_progress_start(f->ctx, &p, "checking", "pictures", n);
    for (int64_t at = 0; at < n && status == FD_OK; at += BATCH) {
        int count = (int)(n - at < BATCH ? n - at : BATCH);
        fd_source_decode(s, image + at, count, f->ctx->threads, r->w, r->h, r->c, m, result);
        for (int i = 0; i < count; i++) {
            const char *name = s->file[image[at + i]].name, *text = result[i].message;
            if (status != FD_OK) {
            } else if (result[i].code != FD_OK) {
                const char *tail = strstr(text, name);        /* the report has a column for the name */
                tail = tail ? strstr(tail, ": ") : NULL;
                status = fd_fault(f, true, name, "%s", tail ? tail + 2 : text);
            } else if (!r->w) {
                r->w = m[i].w, r->h = m[i].h, r->c = m[i].c;
                first = name;
                if (r->w != r->h)
                    status = fd_fault(f, true, name, "%d x %d pixels: training needs square pictures", r->w, r->h);
            } else if (m[i].w != r->w || m[i].h != r->h || m[i].c != r->c) {
                status = fd_fault(f, true, name, "%d x %d pixels, %d channel%s; the first good picture '%s' has %d x "
                                  "%d, %d", m[i].w, m[i].h, m[i].c, m[i].c > 1 ? "s" : "", first, r->w, r->h, r->c);
            }
            if (m[i].p && m[i].lossy) lossy_name = lossy++ ? lossy_name : name;
            if (m[i].p) print[good++] = (fingerprint){hash_pixels(&m[i]), at + i};
            fd_image_free(&m[i]);
        }
        fd_progress_update(&p, at + count, NULL);
        if (fd_interrupted()) status = FD_FAIL(f->ctx, FD_E_CANCELLED, "%s: interrupted while checking", f->set);
    }
    fd_progress_end(&p);
    FD_TRY(status);
    int64_t pair[2] = {-1, -1};
    if (good) qsort(print, (size_t)good, sizeof *print, by_hash);
    for (int64_t i = 1; i < good; i++)
        if (print[i].hash == print[i - 1].hash) {
            if (!copies++) pair[0] = print[i - 1].i, pair[1] = print[i].i;
        }
    if (copies)
        FD_TRY(fd_fault(f, false, "", "pictures that are exact copies of others: %lld, for example '%s' and '%s'",
                        (long long)copies, s->file[image[pair[0]]].name, s->file[image[pair[1]]].name));
    if (lossy && lossy < good)
        FD_TRY(fd_fault(f, false, "", "%lld of %lld pictures are JPEG ('%s'), the others are not: compression alone moves distances like "
                        "FID, so make all of them anew from one kind of source", (long long)lossy, (long long)good, lossy_name));
    return FD_OK;
}

static fd_status check_labels(fd_faults *f, const fd_source *s, const int64_t *image, int64_t n, fd_arena *arena) {
    fd_labels labels = {0};
    if (!fd_source_has_labels(s))
        return fd_fault(f, false, "", s->arrays ? "the file of labels (labels-idx1) is not beside it: the pictures have no labels"
                                                : "there is no dataset.json: the pictures have no labels");
    FD_TRY(fd_labels_from_source(f, s, image, n, true, arena, &labels));
    f->report->label_dim = labels.dim;
    if (!labels.classes || !labels.dim) return FD_OK;
    int64_t *count, empty = 0, lowest = -1;
    FD_NEW(f->ctx, arena, count, labels.dim);
    for (int64_t i = 0; i < n; i++)
        if (labels.number[i] >= 0) count[labels.number[i]]++;
    for (int k = 0; k < labels.dim; k++)
        if (!count[k]) {
            empty++;
            if (lowest < 0) lowest = k;
        }
    if (empty)
        FD_TRY(fd_fault(f, false, s->arrays ? "" : "dataset.json", "%lld of %d classes have no picture, the first is class %lld",
                        (long long)empty, labels.dim, (long long)lowest));
    return FD_OK;
}

static fd_status check_all(fd_faults *f, const fd_source *s, fd_arena *arena) {
    int64_t *image, n;
    FD_TRY(fd_source_images(f->ctx, s, arena, &image, &n));
    f->report->images = n;
    if (s->hidden)
        FD_TRY(fd_fault(f, false, "", "%lld hidden files (names starting with '.', or in __MACOSX) are ignored",
                        (long long)s->hidden));
    for (int64_t i = 0; i < s->n; i++)
        if (i != s->json && !fd_image_name(s->file[i].name))
            FD_TRY(fd_fault(f, false, s->file[i].name, "neither a picture nor dataset.json: ignored"));
    if (!n) return fd_fault(f, true, "", "no pictures in it (looked for .png, .jpg, .jpeg, .ppm, .pgm, .bmp)");
    FD_TRY(check_pictures(f, s, image, n, arena));
    return check_labels(f, s, image, n, arena);
}

fd_status fd_dataset_check(fd_ctx *ctx, const char *path, fd_dataset_report *out) {
    *out = (fd_dataset_report){0};
    fd_faults f = {ctx, path, out};
    fd_arena scratch = {0};
    fd_source source;
    out->problem = fd_arena_alloc(ctx, &out->arena, FD_DATASET_PROBLEMS * sizeof *out->problem);
    fd_status s = out->problem ? fd_source_open(ctx, path, &source) : FD_E_NOMEM;
    if (s == FD_OK) {
        s = check_all(&f, &source, &scratch);
        fd_source_close(&source);
    } else if (s == FD_E_FORMAT) {               /* a damaged archive is a finding, not a failure of the check */
        char text[FD_MESSAGE_MAX];
        memcpy(text, ctx->message, sizeof text);
        fd_clear(ctx);
        size_t n = strlen(path);
        s = fd_fault(&f, true, "", "%s", !strncmp(text, path, n) && text[n] == ':' ? text + n + 2 : text);
    }
    fd_arena_free(&scratch);
    if (s != FD_OK) fd_dataset_report_free(out);
    return s;
}

void fd_dataset_report_free(fd_dataset_report *r) {
    fd_arena_free(&r->arena);
    *r = (fd_dataset_report){0};
}
