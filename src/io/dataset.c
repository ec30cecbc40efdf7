#include "io/dataset.h"

#include <string.h>

#include <omp.h>

#include "base/interrupt.h"
#include "base/progress.h"
#include "base/rng.h"
#include "base/sha256.h"
#include "io/dataset_parts.h"

enum { BATCH = 256, AUTO_CACHE_GIB = 2 };

struct fd_dataset_body {
    fd_source source;
    fd_arena arena;
    int64_t *image, n;            /* file number of every picture in use, mirrored copies not counted */
    int64_t *first_number;        /* its number among all pictures of the set: where its label is */
    fd_labels labels;
    uint8_t *cache;               /* [n][c][h][w] or NULL */
    char digest[65];
};

static const char *image_name(const struct fd_dataset_body *b, int64_t i) {
    return b->source.file[b->image[i]].name;
}

static size_t image_bytes(const fd_dataset *d) { return (size_t)d->c * (size_t)d->h * (size_t)d->w; }

static void set_name(fd_dataset *d, const char *path) {
    static const char *const endings[] = {".zip", ".gz", ".tar"};      /* in this order: .tar.gz loses both */
    size_t end = strlen(path), begin;
    while (end > 1 && path[end - 1] == '/') end--;
    for (begin = end; begin > 0 && path[begin - 1] != '/'; begin--) {}
    for (size_t i = 0; i < FD_COUNT(endings); i++) {
        const size_t n = strlen(endings[i]);
        if (end - begin > n && !strncmp(path + end - n, endings[i], n)) end -= n;
    }
    snprintf(d->name, sizeof d->name, "%.*s", (int)(end - begin), path + begin);
    snprintf(d->path, sizeof d->path, "%s", path);
}

/* The first max_size of a random order, put back into the set's order. */
static fd_status choose_subset(fd_ctx *ctx, struct fd_dataset_body *b, int64_t max_size, uint64_t seed) {
    FD_NEW(ctx, &b->arena, b->first_number, b->n);
    for (int64_t i = 0; i < b->n; i++) b->first_number[i] = i;
    if (max_size <= 0 || max_size >= b->n) return FD_OK;
    fd_rng r = {.seed = seed, .purpose = FD_RNG_SUBSET};
    uint8_t *chosen;
    FD_NEW(ctx, &b->arena, chosen, b->n);
    for (int64_t i = 0; i < max_size; i++) {
        int64_t k = i + (int64_t)fd_rng_below(&r, (uint64_t)i, (uint64_t)(b->n - i)), t = b->first_number[k];
        b->first_number[k] = b->first_number[i];
        b->first_number[i] = t;
        chosen[t] = 1;
    }
    int64_t n = 0;
    for (int64_t i = 0; i < b->n; i++)
        if (chosen[i]) {
            b->first_number[n] = i;
            b->image[n++] = b->image[i];
        }
    b->n = n;
    return FD_OK;
}

static fd_status check_size(fd_ctx *ctx, const fd_dataset *d, const fd_image *m, int64_t i) {
    if (m->w == d->w && m->h == d->h && m->c == d->c) return FD_OK;
    return FD_FAIL(ctx, FD_E_FORMAT, "%s: '%s' has %d x %d pixels and %d channel%s, the first picture '%s' %d x %d "
                   "and %d: all must be alike", d->path, image_name(d->body,
                                                                    i), m->w, m->h, m->c, m->c > 1 ? "s" : "",
                   image_name(d->body, 0), d->w, d->h, d->c);
}

/* Decodes everything in order, many at a time, and hands each picture to `take`. */
typedef void take_fn(fd_dataset *d, int64_t i, const uint8_t *chw, void *user);
static fd_status decode_all(fd_ctx *ctx, fd_dataset *d, const char *what, take_fn *take, void *user) {
    struct fd_dataset_body *b = d->body;
    /* A batch is as large as some tens of MiB allow, so that large pictures do not pile up. */
    int64_t batch = ((int64_t)64 << 20) / (int64_t)image_bytes(d);
    batch = batch < omp_get_max_threads() ? omp_get_max_threads() : batch > BATCH ? BATCH : batch;
    fd_arena scratch = {0};
    fd_ctx *result = fd_arena_alloc(ctx, &scratch, (size_t)batch * sizeof *result);
    fd_image *image = fd_arena_alloc(ctx, &scratch, (size_t)batch * sizeof *image);
    uint8_t *chw = fd_arena_alloc(ctx, &scratch, image_bytes(d));
    fd_status s = result && image && chw ? FD_OK : FD_E_NOMEM;
    fd_progress p;
    fd_progress_start(ctx, &p, what, "pictures", b->n);
    for (int64_t at = 0; at < b->n && s == FD_OK; at += batch) {
        int count = (int)(b->n - at < batch ? b->n - at : batch);
        fd_source_decode(&b->source, b->image + at, count, ctx->threads, d->w, d->h, d->c, image, result);
        for (int i = 0; i < count; i++) {
            if (s == FD_OK && result[i].code != FD_OK) s = FD_FAIL(ctx, result[i].code, "%s", result[i].message);
            if (s == FD_OK) s = check_size(ctx, d, &image[i], at + i);
            if (s == FD_OK) {
                fd_image_to_chw(&image[i], chw);
                take(d, at + i, chw, user);
            }
            fd_image_free(&image[i]);
        }
        fd_progress_update(&p, at + count, NULL);
        if (s == FD_OK && fd_interrupted()) s = FD_FAIL(ctx, FD_E_CANCELLED, "%s: interrupted while reading",
                                                        d->path);
    }
    fd_progress_end(&p);
    fd_arena_free(&scratch);
    return s;
}

static void keep(fd_dataset *d, int64_t i, const uint8_t *chw, void *user) {
    memcpy(d->body->cache + (size_t)i * image_bytes(d), chw, image_bytes(d));
}

static bool any_in_folder(const struct fd_dataset_body *b) {
    for (int64_t i = 0; i < b->n; i++)
        if (strchr(b->source.file[b->image[i]].name, '/')) return true;
    return false;
}

static fd_status open_labels(fd_ctx *ctx, fd_dataset *d, const fd_dataset_options *o) {
    struct fd_dataset_body *b = d->body;
    fd_faults f = {ctx, d->path, NULL};
    if (fd_source_has_labels(&b->source))
        FD_TRY(fd_labels_from_source(&f, &b->source, b->image, b->n, o->use_labels, &b->arena, &b->labels));
    memcpy(d->crop, b->labels.crop, sizeof d->crop);
    if (!o->use_labels) return FD_OK;
    if (b->source.json < 0 && !b->source.arrays && o->folder_labels && any_in_folder(b))
        FD_TRY(fd_labels_from_folders(&f, &b->source, b->image, b->n, &b->arena, &b->labels));
    if (!b->labels.dim)
        return FD_FAIL(ctx, FD_E_ARG, "%s: labels are wanted, but %s", d->path,
                       b->source.arrays ? "the file of labels (labels-idx1) is not beside it" :
                       b->source.json < 0 ? "there is no dataset.json" :
                       "dataset.json says that there are none (\"labels\": null)");
    d->label_dim = b->labels.dim;
    d->class_labels = b->labels.classes;
    return FD_OK;
}

static fd_status open_first(fd_ctx *ctx, fd_dataset *d, bool any_size) {
    struct fd_dataset_body *b = d->body;
    fd_ctx *own = fd_arena_alloc(ctx, &b->arena, sizeof *own);
    if (!own) return FD_E_NOMEM;
    fd_image m;
    fd_source_decode(&b->source, b->image, 1, 1, 0, 0, 0, &m, own);
    if (own->code != FD_OK) return FD_FAIL(ctx, own->code, "%s", own->message);
    d->c = m.c, d->h = m.h, d->w = m.w;
    fd_image_free(&m);
    if (d->h != d->w && !any_size)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: '%s' has %d x %d pixels; square pictures are needed: crop them",
                       d->path, image_name(b, 0), d->w, d->h);
    return FD_OK;
}

static fd_status open_all(fd_ctx *ctx, fd_dataset *d, const char *path, const fd_dataset_options *o) {
    struct fd_dataset_body *b = d->body;
    FD_TRY(fd_source_open(ctx, path, &b->source));
    FD_TRY(fd_source_images(ctx, &b->source, &b->arena, &b->image, &b->n));
    if (!b->n)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: no pictures in it (looked for .png, .jpg, .jpeg, .ppm, .pgm, .bmp)",
                       path);
    FD_TRY(open_labels(ctx, d, o));
    FD_TRY(choose_subset(ctx, b, o->max_size, o->seed));
    FD_TRY(open_first(ctx, d, o->allow_any_size));
    d->n = o->xflip ? 2 * b->n : b->n;
    size_t all = fd_mul_size((size_t)b->n, image_bytes(d));
    if (o->cache == FD_CACHE_OFF || (o->cache == FD_CACHE_AUTO && all > (size_t)AUTO_CACHE_GIB << 30)) return FD_OK;
    if (!(b->cache = fd_alloc(ctx, all))) return FD_E_NOMEM;
    return decode_all(ctx, d, "reading", keep, NULL);
}

fd_status fd_dataset_open(fd_ctx *ctx, const char *path, const fd_dataset_options *options, fd_dataset *out) {
    *out = (fd_dataset){0};
    if (strlen(path) >= sizeof out->path) return FD_FAIL(ctx, FD_E_ARG, "%.60s…: the path is too long", path);
    set_name(out, path);
    out->body = fd_alloc(ctx, sizeof *out->body);
    fd_status s = out->body ? open_all(ctx, out, path, options) : FD_E_NOMEM;
    if (s != FD_OK) fd_dataset_close(out);
    return s;
}

void fd_dataset_close(fd_dataset *d) {
    if (d->body) {
        fd_source_close(&d->body->source);
        fd_arena_free(&d->body->arena);
        fd_free(d->body->cache);
        fd_free(d->body);
    }
    *d = (fd_dataset){0};
}

static fd_status decode_one(fd_ctx *ctx, const fd_dataset *d, int64_t i, int w, int h, int c, fd_image *out) {
    fd_ctx own = {0};
    fd_source_decode(&d->body->source, d->body->image + i, 1, 1, w, h, c, out, &own);
    return own.code == FD_OK ? FD_OK : FD_FAIL(ctx, own.code, "%s", own.message);
}

static fd_status check_index(fd_ctx *ctx, const fd_dataset *d, int64_t index) {
    if (index >= 0 && index < d->n) return FD_OK;
    return FD_FAIL(ctx, FD_E_ARG, "%s: no picture number %lld; there are %lld", d->path, (long long)index,
                   (long long)d->n);
}

/* Rows of w pixels of c bytes, left to right. */
static void mirror(uint8_t *p, size_t rows, int w, int c) {
    for (; rows; rows--, p += w * c)
        for (int x = 0; x < w / 2; x++)
            for (int k = 0; k < c; k++) {
                uint8_t t = p[x * c + k];
                p[x * c + k] = p[(w - 1 - x) * c + k];
                p[(w - 1 - x) * c + k] = t;
            }
}

fd_status fd_dataset_image(fd_ctx *ctx, const fd_dataset *d, int64_t index, fd_image *out) {
    *out = (fd_image){0};
    FD_TRY(check_index(ctx, d, index));
    FD_TRY(decode_one(ctx, d, index % d->body->n, 0, 0, 0, out));
    if (index >= d->body->n) mirror(out->p, (size_t)out->h, out->w, out->c);
    return FD_OK;
}

static fd_status decode_planes(fd_ctx *ctx, const fd_dataset *d, int64_t i, uint8_t *chw) {
    fd_image m;
    FD_TRY(decode_one(ctx, d, i, d->w, d->h, d->c, &m));
    fd_status s = check_size(ctx, d, &m, i);
    if (s == FD_OK) fd_image_to_chw(&m, chw);
    fd_image_free(&m);
    return s;
}

fd_status fd_dataset_get(fd_ctx *ctx, const fd_dataset *d, int64_t index, uint8_t *chw, float *label) {
    const struct fd_dataset_body *b = d->body;
    FD_TRY(check_index(ctx, d, index));
    int64_t i = index % b->n;
    if (b->cache) memcpy(chw, b->cache + (size_t)i * image_bytes(d), image_bytes(d));
    else FD_TRY(decode_planes(ctx, d, i, chw));
    if (index >= b->n) mirror(chw, (size_t)d->c * (size_t)d->h, d->w, 1);
    if (!label || !d->label_dim) return FD_OK;
    size_t dim = (size_t)d->label_dim, at = (size_t)b->first_number[i];
    if (!d->class_labels) {
        memcpy(label, b->labels.vector + at * dim, dim * sizeof *label);
    } else {
        memset(label, 0, dim * sizeof *label);
        label[b->labels.number[at]] = 1;
    }
    return FD_OK;
}

int fd_dataset_class(const fd_dataset *d, int64_t index) {
    if (!d->class_labels || index < 0 || index >= d->n) return -1;
    return d->body->labels.number[d->body->first_number[index % d->body->n]];
}

const char *fd_dataset_image_name(const fd_dataset *d, int64_t index) {
    return index < 0 || index >= d->n ? "" : image_name(d->body, index % d->body->n);
}

static void hash_u64(fd_sha256 *h, uint64_t v) { fd_sha256_add(h, &v, sizeof v); }

static void hash_image(fd_dataset *d, int64_t i, const uint8_t *chw, void *user) {
    fd_sha256_add(user, chw, image_bytes(d));
}

fd_status fd_dataset_digest(fd_ctx *ctx, fd_dataset *d, char out[65]) {
    struct fd_dataset_body *b = d->body;
    if (!b->digest[0]) {
        fd_sha256 h;
        fd_sha256_init(&h);
        uint64_t size[] = {(uint64_t)b->n, (uint64_t)d->c, (uint64_t)d->h, (uint64_t)d->w, (uint64_t)d->label_dim};
        for (size_t i = 0; i < FD_COUNT(size); i++) hash_u64(&h, size[i]);
        if (b->cache) fd_sha256_add(&h, b->cache, (size_t)b->n * image_bytes(d));
        else FD_TRY(decode_all(ctx, d, "hashing", hash_image, &h));
        for (int64_t i = 0; i < b->n && d->label_dim; i++) {
            size_t at = (size_t)b->first_number[i], dim = (size_t)d->label_dim;
            if (d->class_labels) hash_u64(&h, (uint64_t)b->labels.number[at]);
            else fd_sha256_add(&h, b->labels.vector + at * dim, dim * sizeof(float));
        }
        fd_sha256_hex(&h, b->digest);
    }
    memcpy(out, b->digest, sizeof b->digest);
    return FD_OK;
}
