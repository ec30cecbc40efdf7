#include "eval/attributes.h"

#include "eval/sprites_judge.h"

static fd_status add(fd_ctx *ctx, fd_arena *arena, fd_attributes *a, const char *name, int classes, int64_t pictures) {
    FD_NEW(ctx, arena, a->value[a->n], pictures);
    a->name[a->n] = name;
    a->classes[a->n++] = classes;
    return FD_OK;
}

static fd_status from_labels(fd_ctx *ctx, fd_arena *arena, const fd_dataset *data, fd_attributes *out) {
    if (data->label_dim < 2 || !data->class_labels)
        return FD_FAIL(ctx, FD_E_ARG, "%s: a feature network learns from two classes or more, but this set has %s; "
                       "'fdistill dataset stats' shows its labels", data->path,
                       data->label_dim ? "labels that are no classes" : "no labels");
    FD_TRY(add(ctx, arena, out, "class", data->label_dim, data->n));
    for (int64_t i = 0; i < data->n; i++) out->value[0][i] = fd_dataset_class(data, i);
    return FD_OK;
}

#define CHUNK 512

static fd_status decode(fd_ctx *ctx, fd_arena *arena, const fd_dataset *data, const fd_sprites_judge *j,
                        fd_attributes *out) {
    size_t bytes = (size_t)3 * (size_t)data->h * (size_t)data->w;
    fd_sprite_verdict *v;
    uint8_t *images;
    FD_NEW(ctx, arena, v, CHUNK);
    FD_NEW(ctx, arena, images, CHUNK * bytes);
    for (int64_t at = 0; at < data->n; at += CHUNK) {
        int64_t n = data->n - at < CHUNK ? data->n - at : CHUNK;
        for (int64_t i = 0; i < n; i++) FD_TRY(fd_dataset_get(ctx, data, at + i, images + (size_t)i * bytes, NULL));
        FD_TRY(fd_sprites_judge_run(ctx, j, images, n, v));
        for (int64_t i = 0; i < n; i++) {
            if (v[i].residual > FD_SPRITE_STRICT)
                return FD_FAIL(ctx, FD_E_ARG, "%s: picture %lld is no sprite (residual %.2f); leave out --attributes "
                               "to learn from the labels", data->path, (long long)(at + i), (double)v[i].residual);
            const int32_t is[] = {v[i].cls, v[i].hue, v[i].light, v[i].small};
            for (int k = 0; k < 4; k++) out->value[k][at + i] = is[k];
        }
    }
    return FD_OK;
}

static fd_status from_sprites(fd_ctx *ctx, fd_arena *arena, const fd_dataset *data, fd_attributes *out) {
    if (data->c != 3 || data->h != data->w)
        return FD_FAIL(ctx, FD_E_ARG, "%s: sprites are square and RGB, these pictures are not", data->path);
    FD_TRY(add(ctx, arena, out, "shape", FD_SPRITE_CLASSES, data->n));
    FD_TRY(add(ctx, arena, out, "hue", FD_SPRITE_HUES, data->n));
    FD_TRY(add(ctx, arena, out, "background", 2, data->n));
    FD_TRY(add(ctx, arena, out, "size", 2, data->n));
    fd_sprites_judge *j;
    FD_TRY(fd_sprites_judge_open(ctx, data->h, &j));
    fd_status s = decode(ctx, arena, data, j, out);
    fd_sprites_judge_close(j);
    return s;
}

fd_status fd_attributes_read(fd_ctx *ctx, fd_arena *arena, const fd_dataset *data, fd_attributes_kind kind,
                             fd_attributes *out) {
    *out = (fd_attributes){0};
    return kind == FD_ATTRIBUTES_SPRITES ? from_sprites(ctx, arena, data, out) : from_labels(ctx, arena, data, out);
}
