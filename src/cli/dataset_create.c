/* fdistill dataset create — the procedural sprites, or an EDM zip from pictures or arrays. */
#include "cli/dataset_create.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <omp.h>

#include "base/interrupt.h"
#include "base/progress.h"
#include "cli/args.h"
#include "io/dataset.h"
#include "io/sprites.h"
#include "io/transform.h"

typedef struct {
    const char *dest, *source, *resolution;
    int64_t num, max_size;
    uint64_t seed;
    int width, height, transform;        /* 0: not given */
    bool labels;
} create_options;

static fd_status stopped(fd_ctx *ctx, const create_options *o) {
    return FD_FAIL(ctx, FD_E_CANCELLED, "%s: interrupted; nothing was written", o->dest);
}

/* ---- sprites --------------------------------------------------------------------------------------------------- */

#define CHUNK 256

static fd_status draw_sprites(fd_ctx *ctx, const create_options *o, fd_arena *a, fd_dataset_writer *w,
                              fd_progress *bar) {
    size_t bytes = (size_t)3 * (size_t)o->width * (size_t)o->width;
    uint8_t *images;
    int32_t drawn[CHUNK];
    int labels[CHUNK];
    FD_NEW(ctx, a, images, CHUNK * bytes);
    for (int64_t at = 0; at < o->num; at += CHUNK) {
        int n = (int)(o->num - at < CHUNK ? o->num - at : CHUNK);
        FD_TRY(fd_sprites(ctx, o->seed, (uint64_t)at, n, o->width, images, drawn));
        for (int i = 0; i < n; i++) labels[i] = drawn[i];
        FD_TRY(fd_dataset_add_many(ctx, w, images, o->labels ? labels : NULL, n));
        fd_progress_update(bar, at + n, NULL);
        if (fd_interrupted()) return stopped(ctx, o);
    }
    return FD_OK;
}

static fd_status create_sprites(fd_ctx *ctx, create_options *o) {
    fd_dataset_writer *w;
    fd_progress bar;
    fd_arena a = {0};
    if (!o->width) o->width = o->height = FD_SPRITE_RESOLUTION;
    if (o->width != o->height) return FD_FAIL(ctx, FD_E_ARG, "--resolution: sprites are square");
    FD_TRY(fd_dataset_create(ctx, o->dest, 3, o->width, o->width, &w));
    fd_progress_start(ctx, &bar, "drawing", "images", o->num);
    fd_status s = draw_sprites(ctx, o, &a, w, &bar);
    fd_arena_free(&a);
    fd_progress_end(&bar);
    if (s != FD_OK) {
        fd_dataset_abandon(w);
        return s;
    }
    FD_TRY(fd_dataset_commit(ctx, w, "none"));
    printf("%s: %lld sprites of %d x %d in %d classes, seed %llu\n", o->dest, (long long)o->num, o->width,
           o->width, FD_SPRITE_CLASSES, (unsigned long long)o->seed);
    return FD_OK;
}

/* ---- from pictures --------------------------------------------------------------------------------------------- */

/* A picture on its way into the set. */
typedef struct {
    fd_image image;
    bool left_out, changed;
    fd_ctx result;
} slot;

typedef struct {
    fd_dataset_writer *w;
    int c, side;
    int64_t n, left_out, changed;
    slot *slot;                   /* [SLOTS] */
    uint8_t *chw;                 /* of the pictures of all slots */
    int *labels;
} destination;

enum { SLOTS = 64 };

static void bring(const create_options *o, const fd_dataset *d, int64_t i, slot *s) {
    fd_clear(&s->result);
    s->left_out = s->changed = false;
    if (fd_dataset_image(&s->result, d, i, &s->image) != FD_OK) return;
    int w = s->image.w, h = s->image.h;
    const uint8_t *p = s->image.p;
    fd_transform_image(&s->result, o->transform, o->width, o->height, &s->image, &s->left_out);
    s->changed = s->image.p != p;
    if (s->result.code == FD_OK && s->image.w != s->image.h && !s->left_out)
        FD_FAIL(&s->result, FD_E_FORMAT, "%s: %d x %d is not square; use --transform center-crop --resolution N",
                fd_dataset_image_name(d, i), w, h);
}

/* The pictures of `count` slots, in order, into the set; the first picture decides on size and colours. */
static fd_status add_slots(fd_ctx *ctx, const create_options *o, fd_arena *a, const fd_dataset *d, int64_t first, int count,
                           destination *to) {
    int kept = 0;
    for (int k = 0; k < count; k++) {
        const slot *s = &to->slot[k];
        const fd_image *m = &s->image;
        if (s->result.code != FD_OK) return FD_FAIL(ctx, s->result.code, "%s", s->result.message);
        to->left_out += s->left_out;
        to->changed += s->changed && !s->left_out;
        if (s->left_out) continue;
        if (!to->w) {
            to->c = m->c;
            to->side = m->w;
            FD_NEW(ctx, a, to->chw, fd_mul_size(SLOTS, (size_t)m->c * (size_t)m->w * (size_t)m->h));
            FD_TRY(fd_dataset_create(ctx, o->dest, m->c, m->h, m->w, &to->w));
        }
        if (m->c != to->c || m->w != to->side)
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: %d x %d with %d channel%s, but the first has %d x %d with %d%s",
                           fd_dataset_image_name(d, first + k), m->w, m->h, m->c, m->c > 1 ? "s" : "", to->side, to->side, to->c,
                           m->c == to->c ? "; use --transform scale --resolution N"
                                         : "; --transform center-crop --resolution N makes all of them RGB");
        fd_image_to_chw(m, to->chw + (size_t)kept * (size_t)m->c * (size_t)m->w * (size_t)m->h);
        to->labels[kept++] = o->labels ? fd_dataset_class(d, first + k) : -1;
    }
    to->n += kept;
    return kept ? fd_dataset_add_many(ctx, to->w, to->chw, to->labels, kept) : FD_OK;
}

static fd_status convert(fd_ctx *ctx, const create_options *o, fd_arena *a, const fd_dataset *d, destination *to) {
    int threads = ctx->threads > 0 ? ctx->threads : omp_get_max_threads();
    fd_status s = FD_OK;
    fd_progress bar;
    FD_NEW(ctx, a, to->slot, SLOTS);
    FD_NEW(ctx, a, to->labels, SLOTS);
    fd_progress_start(ctx, &bar, "converting", "images", d->n);
    for (int64_t at = 0; at < d->n && s == FD_OK; at += SLOTS) {
        int count = (int)(d->n - at < SLOTS ? d->n - at : SLOTS);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
        for (int k = 0; k < count; k++) bring(o, d, at + k, &to->slot[k]);
        s = add_slots(ctx, o, a, d, at, count, to);
        for (int k = 0; k < count; k++) fd_image_free(&to->slot[k].image);
        fd_progress_update(&bar, at + count, NULL);
        if (s == FD_OK && fd_interrupted()) s = stopped(ctx, o);
    }
    fd_progress_end(&bar);
    if (s == FD_OK && !to->w)
        s = FD_FAIL(ctx, FD_E_FORMAT, "%s: all %lld pictures are smaller than --resolution %dx%d", o->source, (long long)d->n,
                    o->width, o->height);
    return s;
}

/* What is known of the result: nothing was done, or this transform after whatever had been done before. */
static void crop_text(const create_options *o, const fd_dataset *d, const destination *to, char out[FD_CROP_MAX]) {
    if (!to->changed) snprintf(out, FD_CROP_MAX, "%s", d->crop);
    else if (!*d->crop || !strcmp(d->crop, "none")) snprintf(out, FD_CROP_MAX, "%s", fd_transform_names[o->transform]);
    else snprintf(out, FD_CROP_MAX, "%.60s, %s", d->crop, fd_transform_names[o->transform]);
}

static fd_status open_source(fd_ctx *ctx, create_options *o, fd_dataset *d) {
    fd_dataset_options with = {.use_labels = true, .folder_labels = true, .allow_any_size = true,
                               .cache = FD_CACHE_OFF, .max_size = o->max_size, .seed = o->seed};
    if (o->labels) {
        fd_status s = fd_dataset_open(ctx, o->source, &with, d);
        if (s == FD_OK && !d->class_labels) {
            fd_dataset_close(d);
            return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: its labels are vectors; only class numbers can be kept: "
                           "--no-labels leaves them out", o->source);
        }
        if (s != FD_E_ARG) return s;
        fd_clear(ctx);                /* a set without labels */
    }
    o->labels = false;
    with.use_labels = with.folder_labels = false;
    return fd_dataset_open(ctx, o->source, &with, d);
}

static fd_status create_from(fd_ctx *ctx, create_options *o) {
    fd_dataset d = {0};
    destination to = {0};
    fd_arena a = {0};
    if (o->transform != FD_TRANSFORM_NONE && !o->width)
        return FD_FAIL(ctx, FD_E_ARG, "--transform %s needs --resolution N", fd_transform_names[o->transform]);
    if (o->transform == FD_TRANSFORM_NONE && o->width)
        return FD_FAIL(ctx, FD_E_ARG, "--resolution needs --transform center-crop or scale");
    if (o->width != o->height && o->transform != FD_TRANSFORM_CROP_WIDE)
        return FD_FAIL(ctx, FD_E_ARG, "--resolution %s: only center-crop-wide makes pictures that are not square (and puts black "
                       "bars around them)", o->resolution);
    if (o->height > o->width || (o->width - o->height) % 2)
        return FD_FAIL(ctx, FD_E_ARG, "--resolution %s: a wide crop is not higher than wide, and both are even or both odd",
                       o->resolution);
    FD_TRY(open_source(ctx, o, &d));
    fd_status s = convert(ctx, o, &a, &d, &to);
    int classes = d.label_dim;
    char crop[FD_CROP_MAX];
    crop_text(o, &d, &to, crop);
    fd_arena_free(&a);
    fd_dataset_close(&d);
    if (s != FD_OK) {
        fd_dataset_abandon(to.w);
        return s;
    }
    FD_TRY(fd_dataset_commit(ctx, to.w, crop));
    printf("%s: %lld images of %d x %d, ", o->dest, (long long)to.n, to.side, to.side);
    if (o->labels) printf("%d classes", classes);
    else printf("no labels");
    if (to.left_out) printf("; %lld smaller ones left out", (long long)to.left_out);
    printf("\n");
    return FD_OK;
}

/* "64" or "512x384". */
static fd_status read_resolution(fd_ctx *ctx, create_options *o) {
    char *end;
    if (!o->resolution) return FD_OK;
    long w = strtol(o->resolution, &end, 10), h = *end == 'x' ? strtol(end + 1, &end, 10) : w;
    if (*end || w < 4 || h < 4 || w > 1024 || h > 1024)
        return FD_FAIL(ctx, FD_E_ARG, "--resolution: '%.40s' is neither N nor WxH with 4 to 1024", o->resolution);
    o->width = (int)w;
    o->height = (int)h;
    return FD_OK;
}

fd_status fd_dataset_create_command(fd_ctx *ctx, int argc, char **argv) {
    create_options p = {.num = 50000, .labels = true};
    bool num_given = false;
    fd_option o[] = {
        {.name = "dest", .type = FD_OPT_TEXT, .to = &p.dest, .value = "FILE.zip", .help = "The set to write."},
        {.name = "out", .type = FD_OPT_TEXT, .to = &p.dest, .value = "FILE.zip", .help = "The same.",
         .no_default = true},
        {.name = "source", .type = FD_OPT_TEXT, .to = &p.source, .value = "PATH",
         .help = "Folder or zip of pictures, with labels from its dataset.json or else from the names of its folders; or an "
                 "archive of CIFAR-10 or CIFAR-100, or MNIST's images."},
        {.name = "transform", .type = FD_OPT_ENUM, .to = &p.transform, .value = "NAME", .words = fd_transform_names,
         .help = "What is done to each picture, as EDM's and EDM2's tools do it, with Pillow's pixels."},
        {.name = "resolution", .type = FD_OPT_TEXT, .to = &p.resolution, .value = "N",
         .no_default = true, .help = "Width and height of the result, 4 to 1024; also 64x64, and 512x384 for center-crop-wide. "
                                     "Sprites: 16 if not given."},
        {.name = "labels", .type = FD_OPT_FLAG, .to = &p.labels,
         .help = "Keep the labels; --no-labels leaves them out."},
        {.name = "max-size", .type = FD_OPT_COUNT, .to = &p.max_size, .value = "N", .lo = 1, .hi = 1e9,
         .no_default = true, .help = "Only so many pictures of the source, drawn with the seed."},
        {.name = "num", .type = FD_OPT_COUNT, .to = &p.num, .value = "N", .lo = 1, .hi = 1e8,
         .help = "Sprites: how many.", .given = &num_given},
        {.name = "seed", .type = FD_OPT_SEED, .to = &p.seed, .value = "N",
         .help = "Of the sprites, or of --max-size."},
    };
    fd_args a = {
        .command = "dataset create", .operands = "[sprites]", .most = 1, .option = o, .n = (int)FD_COUNT(o),
        .about = "Writes an EDM set: a zip of stored PNGs with labels in dataset.json. With the word sprites it "
                 "draws the procedural set (small shapes in ten classes, the same bytes on every machine); else it "
                 "converts --source.",
        .examples = "  fdistill dataset create sprites --dest sprites-16x16.zip --num 50000 --seed 0\n"
                    "  fdistill dataset create --source photos/ --dest photos-64x64.zip --transform center-crop "
                    "--resolution 64\n"};
    FD_TRY(fd_args_parse(ctx, &a, argc, argv));
    if (a.helped) return FD_OK;
    if (!p.dest)
        return FD_FAIL(ctx, FD_E_ARG, "--dest FILE.zip is missing; 'fdistill dataset create --help' shows the use");
    size_t length = strlen(p.dest);
    if (length < 5 || strcmp(p.dest + length - 4, ".zip"))
        return FD_FAIL(ctx, FD_E_ARG, "--dest: %s does not end in .zip", p.dest);
    FD_TRY(read_resolution(ctx, &p));
    fd_interrupt_install();
    if (a.n_operands) {
        if (strcmp(a.operand[0], "sprites"))
            return FD_FAIL(ctx, FD_E_ARG, "unknown set '%.64s'; 'sprites' is the only one that can be drawn",
                           a.operand[0]);
        if (p.source) return FD_FAIL(ctx, FD_E_ARG, "--source and the word sprites exclude each other");
        return create_sprites(ctx, &p);
    }
    if (!p.source)
        return FD_FAIL(ctx, FD_E_ARG, "--source PATH is missing (or the word sprites); 'fdistill dataset create "
                       "--help' shows the use");
    if (num_given) return FD_FAIL(ctx, FD_E_ARG, "--num is for sprites; use --max-size to take a part of a set");
    return create_from(ctx, &p);
}
