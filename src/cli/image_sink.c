#include "cli/image_sink.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "io/image.h"
#include "io/json.h"
#include "io/npy.h"
#include "io/zipfile.h"

struct fd_sink {
    fd_sink_spec spec;
    int64_t n;                    /* pictures taken in */
    uint64_t folder;              /* PNG with subdirs: the last one made */
    bool folder_made;
    fd_zip_writer *zip;
    json_t *labels;
    uint8_t *nhwc;
    int64_t *classes;
};

/* ---- encoding -------------------------------------------------------------------------------------------------- */

static fd_status encode(fd_ctx *ctx, fd_arena *a, const fd_sink_spec *o, uint64_t seed, int cls, const uint8_t *chw,
                        fd_bytes *out) {
    char seed_text[24], class_text[16];
    snprintf(seed_text, sizeof seed_text, "%llu", (unsigned long long)seed);
    snprintf(class_text, sizeof class_text, "%d", cls);
    fd_png_text text[] = {{"Software", fd_software()}, {"network", o->network}, {"sampler", o->sampler},
                          {"seed", seed_text}, {"class", class_text}};
    fd_image image;
    FD_TRY(fd_image_from_chw(ctx, chw, o->c, o->h, o->w, &image));
    fd_status s = fd_png_encode(ctx, a, &image, text, (int)FD_COUNT(text) - (o->classes ? 0 : 1), out);
    fd_image_free(&image);
    return s;
}

static void png_path(const fd_sink_spec *o, uint64_t seed, char *out, size_t size) {
    if (o->subdirs) snprintf(out, size, "%s/%06llu/%06llu.png", o->path, (unsigned long long)(seed - seed % 1000),
                             (unsigned long long)seed);
    else snprintf(out, size, "%s/%06llu.png", o->path, (unsigned long long)seed);
}

static fd_status make_folders(fd_ctx *ctx, fd_sink *s, const uint64_t *seeds, int64_t n) {
    char path[4096];
    for (int64_t i = 0; i < n; i++) {
        uint64_t folder = seeds[i] - seeds[i] % 1000;
        if (s->folder_made && folder == s->folder) continue;
        snprintf(path, sizeof path, "%s/%06llu", s->spec.path, (unsigned long long)folder);
        FD_TRY(fd_make_folder(ctx, path));
        s->folder = folder;
        s->folder_made = true;
    }
    return FD_OK;
}

/* Encodes all; folder: also writes, each picture by the thread that made it. */
static fd_status encode_all(fd_ctx *ctx, const fd_sink_spec *o, const uint64_t *seeds, const int *classes, int64_t n,
                            const uint8_t *images, fd_arena *arena, fd_bytes *out) {
    size_t bytes = (size_t)o->c * (size_t)o->h * (size_t)o->w;
    fd_ctx failed = {.code = FD_OK};
#pragma omp parallel
    {
        fd_ctx mine = {.quiet = true};
        fd_arena *a = &arena[omp_get_thread_num()];
        char path[4096 + 64];
#pragma omp for schedule(dynamic, 4)
        for (int64_t i = 0; i < n; i++) {
            fd_bytes png;
            if (mine.code != FD_OK) continue;
            if (encode(&mine, a, o, seeds[i], classes[i], images + (size_t)i * bytes, &png) != FD_OK) continue;
            if (out) {
                out[i] = png;
            } else {
                png_path(o, seeds[i], path, sizeof path);
                fd_file_put(&mine, path, png.data, png.size);
                fd_arena_free(a);
            }
        }
#pragma omp critical(sink_failed)
        if (failed.code == FD_OK) failed = mine;
    }
    return failed.code == FD_OK ? FD_OK : FD_FAIL(ctx, failed.code, "%s", failed.message);
}

static fd_status add_to_zip(fd_ctx *ctx, fd_sink *s, const int *classes, int64_t n, const fd_bytes *png) {
    for (int64_t i = 0; i < n; i++) {
        char name[64];
        long long index = (long long)(s->n + i);
        snprintf(name, sizeof name, "%05lld/img%08lld.png", index / 1000, index);
        FD_TRY(fd_zip_add(ctx, s->zip, name, &png[i], 1));
        if (s->labels && json_array_append_new(s->labels, json_pack("[s, i]", name, classes[i])))
            return FD_FAIL(ctx, FD_E_NOMEM, "%s: out of memory for the labels", s->spec.path);
    }
    return FD_OK;
}

static void keep_for_npz(fd_sink *s, const int *classes, int64_t n, const uint8_t *images) {
    size_t plane = (size_t)s->spec.h * (size_t)s->spec.w, c = (size_t)s->spec.c, bytes = plane * c;
    for (int64_t i = 0; i < n; i++) {
        uint8_t *to = s->nhwc + (size_t)(s->n + i) * bytes;
        const uint8_t *from = images + (size_t)i * bytes;
        for (size_t ch = 0; ch < c; ch++)
            for (size_t k = 0; k < plane; k++) to[k * c + ch] = from[ch * plane + k];
        s->classes[s->n + i] = classes[i];
    }
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static fd_status open_format(fd_ctx *ctx, fd_sink *s) {
    const fd_sink_spec *o = &s->spec;
    if (strlen(o->path) > 3900) return FD_FAIL(ctx, FD_E_ARG, "%.60s…: the path is too long", o->path);
    if (o->format == FD_SINK_PNG) return fd_make_folder(ctx, o->path);
    if (o->format == FD_SINK_ZIP) {
        if (o->classes && !(s->labels = json_array()))
            return FD_FAIL(ctx, FD_E_NOMEM, "out of memory for the labels");
        return fd_zip_create(ctx, o->path, &s->zip);
    }
    s->nhwc = fd_alloc(ctx, fd_mul_size((size_t)o->total, (size_t)o->c * (size_t)o->h * (size_t)o->w));
    s->classes = s->nhwc ? fd_alloc(ctx, fd_mul_size((size_t)o->total, sizeof *s->classes)) : NULL;
    return s->classes ? FD_OK : FD_E_NOMEM;
}

fd_status fd_sink_open(fd_ctx *ctx, const fd_sink_spec *spec, fd_sink **out) {
    fd_sink *s = fd_alloc(ctx, sizeof *s);
    if (!s) return FD_E_NOMEM;
    s->spec = *spec;
    fd_status status = open_format(ctx, s);
    if (status != FD_OK) {
        fd_sink_abandon(s);
        s = NULL;
    }
    *out = s;
    return status;
}

fd_status fd_sink_add(fd_ctx *ctx, fd_sink *s, const uint64_t *seeds, const int *classes, int64_t n,
                      const uint8_t *images) {
    if (s->n + n > s->spec.total) return FD_FAIL(ctx, FD_E_ARG, "%s: more pictures than announced", s->spec.path);
    fd_status status = FD_OK;
    if (s->spec.format == FD_SINK_NPZ) {
        keep_for_npz(s, classes, n, images);
    } else {
        bool zip = s->spec.format == FD_SINK_ZIP;
        int threads = omp_get_max_threads();
        fd_arena *arena = fd_alloc(ctx, (size_t)threads * sizeof *arena);
        fd_bytes *png = zip ? fd_alloc(ctx, (size_t)n * sizeof *png) : NULL;
        if (!arena || (zip && !png)) status = FD_E_NOMEM;
        if (status == FD_OK && s->spec.subdirs && !zip) status = make_folders(ctx, s, seeds, n);
        if (status == FD_OK) status = encode_all(ctx, &s->spec, seeds, classes, n, images, arena, png);
        if (status == FD_OK && zip) status = add_to_zip(ctx, s, classes, n, png);
        for (int i = 0; arena && i < threads; i++) fd_arena_free(&arena[i]);
        fd_free(arena);
        fd_free(png);
    }
    s->n += n;
    return status;
}

static fd_status finish_zip(fd_ctx *ctx, fd_sink *s) {
    fd_arena a = {0};
    json_t *root = json_pack("{s:O*}", "labels", s->labels);
    if (root && !s->labels) json_object_set_new(root, "labels", json_null());
    char *text = root ? fd_json_dump(ctx, &a, root, 0) : NULL;
    json_decref(root);
    fd_status status = text ? fd_zip_add(ctx, s->zip, "dataset.json", &(fd_bytes){(uint8_t *)text, strlen(text)}, 1)
                            : FD_FAIL(ctx, FD_E_NOMEM, "%s: out of memory for the labels", s->spec.path);
    fd_arena_free(&a);
    if (status != FD_OK) return status;
    fd_zip_writer *zip = s->zip;
    s->zip = NULL;
    return fd_zip_commit(ctx, zip);
}

static fd_status finish_npz(fd_ctx *ctx, fd_sink *s) {
    const fd_sink_spec *o = &s->spec;
    fd_npz_entry entry[] = {
        {"arr_0", {.dtype = FD_NPY_U1, .rank = 4, .dim = {s->n, o->h, o->w, o->c}, .data = s->nhwc}},
        {"arr_1", {.dtype = FD_NPY_I8, .rank = 1, .dim = {s->n}, .data = s->classes}},
    };
    return fd_npz_write(ctx, o->path, entry, o->classes ? 2 : 1);
}

fd_status fd_sink_commit(fd_ctx *ctx, fd_sink *s) {
    fd_status status = s->spec.format == FD_SINK_ZIP ? finish_zip(ctx, s) :
                       s->spec.format == FD_SINK_NPZ ? finish_npz(ctx, s) : FD_OK;
    fd_sink_abandon(s);
    return status;
}

void fd_sink_abandon(fd_sink *s) {
    if (!s) return;
    fd_zip_abandon(s->zip);
    json_decref(s->labels);
    fd_free(s->nhwc);
    fd_free(s->classes);
    fd_free(s);
}
