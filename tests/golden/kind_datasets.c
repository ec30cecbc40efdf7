/* Image sets and single pictures, good and broken: a folder with expected.json, which says of each whether it must be read
 * ("accept", with names, order, labels and the CRC-32 of every picture's pixels), must not ("refuse"), or may ("either",
 * with the allowed results). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "golden.h"
#include "io/dataset.h"
#include "io/json.h"

static bool flag(const json_t *want, const char *key) { return json_is_true(json_object_get(want, key)); }

static void spoil(golden_files *f, fd_image *picture) {
    if (!f->o->perturb || f->spoiled) return;
    picture->p[0] ^= 1;
    f->spoiled = f->item;
}

static uLong crc_of(const fd_image *picture, uLong start) {
    return crc32_z(start, picture->p, (size_t)picture->w * (size_t)picture->h * (size_t)picture->c);
}

static bool listed(const json_t *list, uLong crc) {
    for (size_t i = 0; i < json_array_size(list); i++)
        if ((uLong)json_integer_value(json_array_get(list, i)) == crc) return true;
    return false;
}

/* A refusal names the file and is one of damaged or unsuitable content, not of a failed program. */
static void check_refusal(golden_files *f, const fd_ctx *ctx, fd_status s, const char *path) {
    if (s == FD_E_NOMEM || !strstr(ctx->message, path) || strchr(ctx->message, '\n'))
        golden_wrong(f, "no proper reason: %s: %s", fd_status_name(s), ctx->message);
}

/* ---- single pictures ----------------------------------------------------------------------------------------------- */

static void check_picture(golden_files *f, const char *path, const char *must, const json_t *want) {
    fd_ctx ctx = {.quiet = true};
    fd_image picture = {0};
    fd_status s = fd_image_load(&ctx, path, &picture);
    f->compared++;
    if (s != FD_OK) {
        if (!strcmp(must, "accept")) golden_wrong(f, "was refused: %s", ctx.message);
        check_refusal(f, &ctx, s, path);
        return;
    }
    if (!strcmp(must, "accept")) spoil(f, &picture);
    uLong crc = crc_of(&picture, crc32(0, NULL, 0));
    if (!strcmp(must, "refuse")) golden_wrong(f, "was read, but must be refused");
    else if (!strcmp(must, "accept") ? crc != (uLong)json_integer_value(json_object_get(want, "crc32"))
                                     : !listed(json_object_get(want, "allowed_crc32"), crc))
        golden_wrong(f, "has other pixels: CRC-32 is %lu", crc);
    fd_image_free(&picture);
}

/* ---- sets ---------------------------------------------------------------------------------------------------------- */

static fd_status open_set(fd_ctx *ctx, const char *path, bool labels, bool folders, bool any_size, fd_dataset *d) {
    fd_dataset_options o = {.use_labels = labels, .folder_labels = folders, .allow_any_size = any_size,
                            .cache = FD_CACHE_ON};        /* on: every picture is decoded now */
    return fd_dataset_open(ctx, path, &o, d);
}

/* One label per picture: a class, or a vector as it is. */
static void check_labels(golden_files *f, const fd_dataset *d, const json_t *labels) {
    fd_ctx ctx = {.quiet = true};
    float *vector = fd_arena_alloc(&ctx, &f->arena, (size_t)(d->label_dim + 1) * sizeof *vector);
    uint8_t *pixels = fd_arena_alloc(&ctx, &f->arena, (size_t)d->c * (size_t)d->h * (size_t)d->w);
    if (!vector || !pixels) golden_wrong(f, "%s", ctx.message);
    for (int64_t i = 0; vector && pixels && i < d->n; i++) {
        const json_t *right = json_array_get(labels, (size_t)i);
        f->compared++;
        if (fd_dataset_get(&ctx, d, i, pixels, vector) != FD_OK) golden_wrong(f, "%s", ctx.message);
        for (int k = 0; k < d->label_dim; k++) {
            float v = json_is_array(right) ? (float)json_number_value(json_array_get(right, (size_t)k))
                                           : (float)(k == json_integer_value(right));
            if (vector[k] != v) golden_wrong(f, "picture %lld has another label", (long long)i);
        }
        if (!json_is_array(right) && fd_dataset_class(d, i) != json_integer_value(right))
            golden_wrong(f, "picture %lld is of another class", (long long)i);
    }
}

/* JPEG: what another decoder may differ by. */
static void check_close(golden_files *f, const fd_image *picture, int64_t index, const json_t *want) {
    fd_ctx ctx = {.quiet = true};
    fd_npy right;
    const json_t *tolerance = json_object_get(want, "tolerance");
    const char *name = json_string_value(json_object_get(want, "pixels"));
    const int64_t bytes = (int64_t)picture->w * picture->h * picture->c;
    if (golden_npy(&ctx, f, name ? name : "", &right) != FD_OK || right.dtype != FD_NPY_U1 || right.count < (index + 1) * bytes) {
        golden_wrong(f, "its pixels cannot be read: %s", ctx.message);
        return;
    }
    int most = 0;
    double sum = 0;
    for (int64_t k = 0; k < bytes; k++) {
        int off = abs((int)picture->p[k] - (int)((const uint8_t *)right.data)[index * bytes + k]);
        most = off > most ? off : most;
        sum += off;
    }
    if (most > json_number_value(json_object_get(tolerance, "max_abs")) ||
        sum / (double)bytes > json_number_value(json_object_get(tolerance, "mean_abs")))
        golden_wrong(f, "picture %lld is off by up to %d, %g in the mean", (long long)index, most, sum / (double)bytes);
}

static void check_pictures(golden_files *f, const fd_dataset *d, const json_t *want) {
    const json_t *pictures = json_object_get(want, "images");
    const bool exact = !json_object_get(want, "tolerance");
    uLong all = crc32(0, NULL, 0);
    for (int64_t i = 0; i < d->n; i++) {
        fd_ctx ctx = {.quiet = true};
        fd_image picture = {0};
        const json_t *right = json_array_get(pictures, (size_t)i);
        const char *name = json_string_value(json_object_get(right, "name"));
        f->compared++;
        if (!name || strcmp(name, fd_dataset_image_name(d, i)))
            golden_wrong(f, "picture %lld is %s, not %s", (long long)i, fd_dataset_image_name(d, i), name ? name : "listed");
        if (fd_dataset_image(&ctx, d, i, &picture) != FD_OK) {
            golden_wrong(f, "%s", ctx.message);
            continue;
        }
        if (!exact) check_close(f, &picture, i, want);
        else {
            spoil(f, &picture);
            if (crc_of(&picture, crc32(0, NULL, 0)) != (uLong)json_integer_value(json_object_get(right, "crc32")))
                golden_wrong(f, "picture %s has other pixels", fd_dataset_image_name(d, i));
        }
        all = crc_of(&picture, all);
        fd_image_free(&picture);
    }
    if (exact && all != (uLong)json_integer_value(json_object_get(want, "dataset_crc32")))
        golden_wrong(f, "the pictures are not in the right order: CRC-32 of all is %lu", all);
}

static void check_contents(golden_files *f, const char *path, const fd_dataset *d, const json_t *want) {
    const json_t *shape = json_object_get(want, "shape"), *building = json_object_get(want, "labels_when_building");
    const int size[3] = {d->c, d->h, d->w};
    if (d->n != json_integer_value(json_object_get(want, "count")) ||
        d->label_dim != json_integer_value(json_object_get(want, "label_dim"))) {
        golden_wrong(f, "%lld pictures with labels of %d", (long long)d->n, d->label_dim);
        return;
    }
    for (size_t i = 0; i < 3; i++)
        if (size[i] != json_integer_value(json_array_get(shape, i))) golden_wrong(f, "pictures of %d x %d x %d", d->c, d->h, d->w);
    check_pictures(f, d, want);
    if (d->label_dim) check_labels(f, d, json_object_get(want, "labels"));
    if (!building) return;
    fd_ctx ctx = {.quiet = true};
    fd_dataset by_folder = {0};
    if (open_set(&ctx, path, true, true, false, &by_folder) != FD_OK) golden_wrong(f, "%s", ctx.message);
    else check_labels(f, &by_folder, building);
    fd_dataset_close(&by_folder);
}

static void check_set(golden_files *f, const char *path, const char *must, const json_t *want) {
    fd_ctx ctx = {.quiet = true};
    fd_dataset d = {0};
    const bool accept = !strncmp(must, "accept", 6), either = !strcmp(must, "either");
    const bool labels_decide = flag(want, "ok_when_labels_unused");
    const bool labels = accept ? json_integer_value(json_object_get(want, "label_dim")) > 0 : labels_decide;
    fd_status s = open_set(&ctx, path, labels, false, false, &d);
    f->compared++;
    if (s != FD_OK) {
        if (accept) golden_wrong(f, "was refused: %s", ctx.message);
        check_refusal(f, &ctx, s, path);
    } else if (accept) check_contents(f, path, &d, want);
    else if (either) {
        const json_t *allowed = json_object_get(want, "allowed");
        bool fits = false;
        for (size_t i = 0; i < json_array_size(allowed); i++)
            fits |= d.n == json_integer_value(json_object_get(json_array_get(allowed, i), "count"));
        if (!fits) golden_wrong(f, "was read as %lld pictures", (long long)d.n);
    } else golden_wrong(f, "was read, but must be refused");
    fd_dataset_close(&d);
    if (!labels_decide) return;
    fd_clear(&ctx);
    if (open_set(&ctx, path, false, false, false, &d) != FD_OK) golden_wrong(f, "was refused without its labels: %s", ctx.message);
    fd_dataset_close(&d);
}

void golden_files_datasets(golden_files *f) {
    const char *name;
    json_t *want;
    json_object_foreach(f->expected, name, want) {
        fd_ctx ctx = {.quiet = true};
        const char *must = json_string_value(json_object_get(want, "must"));
        golden_item(f, name);
        const char *path = fd_arena_printf(&ctx, &f->arena, "%s/%s", f->folder, name);
        if (!path || !must) golden_wrong(f, "expected.json does not say what must be");
        else if (flag(want, "single_image")) check_picture(f, path, must, want);
        else check_set(f, path, must, want);
    }
}
