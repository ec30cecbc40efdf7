#include "eval/image_source.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/sha256.h"
#include "io/npy.h"

/* The rows of ADM's sample dumps as they are. */
static fd_status open_dump(fd_ctx *ctx, const char *path, fd_zip *z, fd_image_source *out) {
    fd_npy images, classes = {.rank = 0};
    if (!fd_npz_has(z, "arr_0"))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: holds no arr_0: not a dump of images", path);
    FD_TRY(fd_npz_read(ctx, z, "arr_0", &out->arena, &images));
    if (images.dtype != FD_NPY_U1 || images.rank != 4 || images.count < 1 ||
        (images.dim[3] != 1 && images.dim[3] != 3) || images.dim[1] > FD_IMAGE_MAX_SIDE ||
        images.dim[2] > FD_IMAGE_MAX_SIDE)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: arr_0 is no uint8 array [n][height][width][1 or 3]", path);
    out->n = images.dim[0];
    out->h = (int)images.dim[1];
    out->w = (int)images.dim[2];
    out->c = (int)images.dim[3];
    out->dump = images.data;
    if (!fd_npz_has(z, "arr_1")) return FD_OK;
    FD_TRY(fd_npz_read(ctx, z, "arr_1", &out->arena, &classes));
    if (classes.dtype != FD_NPY_I8 || classes.rank != 1 || classes.count != out->n)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: arr_1 does not hold one int64 class per image", path);
    out->dump_classes = classes.data;
    out->classes = true;
    return FD_OK;
}

static fd_status source_dump(fd_ctx *ctx, const char *path, int64_t num, fd_image_source *out) {
    fd_zip *z;
    fd_sha256 hash;
    const char *slash = strrchr(path, '/');
    *out = (fd_image_source){.cls = -1, .codec = "lossless", .crop = ""};
    snprintf(out->name, sizeof out->name, "%s", slash ? slash + 1 : path);
    FD_TRY(fd_zip_open(ctx, path, &z));
    fd_status s = open_dump(ctx, path, z, out);
    fd_zip_close(z);
    if (s == FD_OK && num > out->n)
        s = FD_FAIL(ctx, FD_E_ARG, "%s: has %lld images, but --num asks for %lld", path, (long long)out->n,
                    (long long)num);
    if (s != FD_OK) {
        fd_image_source_close(out);
        return s;
    }
    if (num) out->n = num;
    fd_sha256_init(&hash);
    fd_sha256_add(&hash, out->dump, (size_t)out->n * (size_t)out->c * (size_t)out->h * (size_t)out->w);
    fd_sha256_hex(&hash, out->digest);
    return FD_OK;
}

/* By the names of the files; PNG and what else is not JPEG keeps every pixel. */
static const char *codec_of(const fd_dataset *d) {
    int64_t lossy = 0;
    for (int64_t i = 0; i < d->n; i++) {
        const char *dot = strrchr(fd_dataset_image_name(d, i), '.');
        lossy += dot && (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg"));
    }
    return !lossy ? "lossless" : lossy == d->n ? "JPEG" : "mixed";
}

fd_status fd_image_source_set(fd_ctx *ctx, const char *path, int64_t num, uint64_t seed, fd_image_source *out) {
    size_t length = strlen(path);
    if (length > 4 && !strcmp(path + length - 4, ".npz")) return source_dump(ctx, path, num, out);
    *out = (fd_image_source){.cls = -1, .crop = ""};
    fd_dataset_options o = {.use_labels = true, .allow_any_size = true, .max_size = num, .seed = seed,
                            .cache = FD_CACHE_OFF};
    fd_status s = fd_dataset_open(ctx, path, &o, &out->data);
    if (s == FD_E_ARG) {          /* a set without labels */
        fd_clear(ctx);
        o.use_labels = false;
        s = fd_dataset_open(ctx, path, &o, &out->data);
    }
    FD_TRY(s);
    fd_dataset *d = &out->data;
    out->n = d->n;
    out->c = d->c;
    out->h = d->h;
    out->w = d->w;
    out->classes = d->class_labels;
    out->codec = codec_of(d);
    out->crop = d->crop;
    snprintf(out->name, sizeof out->name, "%s", d->name);
    if (num && d->n < num) {
        s = FD_FAIL(ctx, FD_E_ARG, "%s: has %lld images, but --num asks for %lld", path, (long long)d->n,
                    (long long)num);
        fd_image_source_close(out);
        return s;
    }
    s = fd_dataset_digest(ctx, d, out->digest);
    if (s != FD_OK) fd_image_source_close(out);
    return s;
}

fd_status fd_image_source_network(fd_ctx *ctx, fd_net *net, const char *name,
                                  const fd_image_source_network_spec *spec,
                            fd_image_source *out) {
    *out = (fd_image_source){.n = spec->num, .is_network = true, .codec = "lossless", .crop = net->meta.crop, .sampler = spec->sampler,
                             .first_seed = spec->first_seed, .backend = spec->backend,
                       .cls = spec->cls, .c = net->config.image_channels, .h = net->config.resolution,
                       .w = net->config.resolution, .classes = net->config.label_dim > 0};
    snprintf(out->name, sizeof out->name, "%s", name);
    FD_TRY(fd_net_digest(ctx, net, out->digest));
    fd_run_options run = {.dtype = spec->dtype, .backend = spec->backend};
    return fd_denoiser_new(ctx, net, spec->batch, &run, &out->denoiser);
}

void fd_image_source_close(fd_image_source *s) {
    fd_dataset_close(&s->data);
    fd_denoiser_free(s->denoiser);
    fd_arena_free(&s->arena);
    *s = (fd_image_source){0};
}

static fd_status read_set(fd_ctx *ctx, const fd_dataset *d, int64_t first, int64_t n, uint8_t *images,
                          int32_t *classes) {
    size_t bytes = (size_t)d->c * (size_t)d->h * (size_t)d->w;
    fd_ctx failed = {.code = FD_OK};
#pragma omp parallel
    {
        fd_ctx mine = {.quiet = true};
#pragma omp for schedule(dynamic, 8)
        for (int64_t i = 0; i < n; i++) {
            if (mine.code != FD_OK) continue;
            fd_dataset_get(&mine, d, first + i, images + (size_t)i * bytes, NULL);
            if (classes) classes[i] = d->class_labels ? fd_dataset_class(d, first + i) : -1;
        }
#pragma omp critical(source_failed)
        if (failed.code == FD_OK) failed = mine;
    }
    return failed.code == FD_OK ? FD_OK : FD_FAIL(ctx, failed.code, "%s", failed.message);
}

static void read_dump(const fd_image_source *s, int64_t first, int64_t n, uint8_t *images, int32_t *classes) {
    size_t plane = (size_t)s->h * (size_t)s->w, c = (size_t)s->c;
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *from = s->dump + (size_t)(first + i) * plane * c;
        for (size_t k = 0; k < plane * c; k++) images[(size_t)i * plane * c + k % c * plane + k / c] = from[k];
        if (classes) classes[i] = s->dump_classes ? (int32_t)s->dump_classes[first + i] : -1;
    }
}

static fd_status read_network(fd_ctx *ctx, fd_image_source *s, int64_t first, int64_t n, uint8_t *images,
                              int32_t *classes) {
    fd_arena a = {0};
    uint64_t *seeds = fd_arena_alloc(ctx, &a, (size_t)n * sizeof *seeds);
    int *want = fd_arena_alloc(ctx, &a, (size_t)n * sizeof *want);
    int *used = fd_arena_alloc(ctx, &a, (size_t)n * sizeof *used);
    fd_status status = FD_E_NOMEM;
    if (seeds && want && used) {
        for (int64_t i = 0; i < n; i++) {
            seeds[i] = s->first_seed + (uint64_t)(first + i);
            want[i] = s->cls;
        }
        status = fd_sample_seeds(ctx, &s->sampler, s->denoiser, seeds, want, n, images, used, NULL, NULL);
    }
    for (int64_t i = 0; status == FD_OK && classes && i < n; i++) classes[i] = s->classes ? used[i] : -1;
    fd_arena_free(&a);
    return status;
}

fd_status fd_image_source_read(fd_ctx *ctx, fd_image_source *s, int64_t first, int64_t n, uint8_t *images,
                               int32_t *classes) {
    if (s->is_network) return read_network(ctx, s, first, n, images, classes);
    if (s->dump) {
        read_dump(s, first, n, images, classes);
        return FD_OK;
    }
    return read_set(ctx, &s->data, first, n, images, classes);
}
