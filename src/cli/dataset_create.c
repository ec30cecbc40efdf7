/* fdistill dataset create — the procedural sprites, or an EDM zip from a folder or zip of pictures. */
#include "cli/dataset_create.h"

#include <stdio.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/progress.h"
#include "cli/args.h"
#include "io/dataset.h"
#include "io/image.h"
#include "io/resize.h"
#include "io/sprites.h"

enum { TRANSFORM_NONE, TRANSFORM_SCALE, TRANSFORM_CENTER_CROP };
static const char *const transforms[] = {"none", "scale", "center-crop", NULL};

typedef struct {
    const char *dest, *source;
    int64_t num, max_size;
    uint64_t seed;
    int resolution, transform;
    bool labels;
} create_options;

static fd_status stopped(fd_ctx *ctx, const create_options *o) {
    return FD_FAIL(ctx, FD_E_CANCELLED, "%s: interrupted; nothing was written", o->dest);
}

/* ---- sprites --------------------------------------------------------------------------------------------------- */

#define CHUNK 256

static fd_status draw_sprites(fd_ctx *ctx, const create_options *o, fd_arena *a, fd_dataset_writer *w,
                              fd_progress *bar) {
    size_t bytes = (size_t)3 * (size_t)o->resolution * (size_t)o->resolution;
    uint8_t *images;
    int32_t drawn[CHUNK];
    int labels[CHUNK];
    FD_NEW(ctx, a, images, CHUNK * bytes);
    for (int64_t at = 0; at < o->num; at += CHUNK) {
        int n = (int)(o->num - at < CHUNK ? o->num - at : CHUNK);
        FD_TRY(fd_sprites(ctx, o->seed, (uint64_t)at, n, o->resolution, images, drawn));
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
    if (!o->resolution) o->resolution = FD_SPRITE_RESOLUTION;
    FD_TRY(fd_dataset_create(ctx, o->dest, 3, o->resolution, o->resolution, &w));
    fd_progress_start(ctx, &bar, "drawing", "images", o->num);
    fd_status s = draw_sprites(ctx, o, &a, w, &bar);
    fd_arena_free(&a);
    fd_progress_end(&bar);
    if (s != FD_OK) {
        fd_dataset_abandon(w);
        return s;
    }
    FD_TRY(fd_dataset_commit(ctx, w));
    printf("%s: %lld sprites of %d x %d in %d classes, seed %llu\n", o->dest, (long long)o->num, o->resolution,
           o->resolution, FD_SPRITE_CLASSES, (unsigned long long)o->seed);
    return FD_OK;
}

/* ---- from pictures --------------------------------------------------------------------------------------------- */

/* The transform of one picture; *image is replaced. */
static fd_status transform(fd_ctx *ctx, const create_options *o, const char *name, fd_image *image) {
    fd_image next;
    if (o->transform == TRANSFORM_CENTER_CROP && image->w != image->h) {
        FD_TRY(fd_image_centre_square(ctx, image, &next));
        fd_image_free(image);
        *image = next;
    }
    if (o->transform != TRANSFORM_NONE && o->resolution && (image->w != o->resolution || image->h != o->resolution)) {
        FD_TRY(fd_image_resize(ctx, image, o->resolution, o->resolution, &next));
        fd_image_free(image);
        *image = next;
    }
    if (image->w != image->h)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: %d x %d is not square; use --transform center-crop --resolution N",
                       name, image->w, image->h);
    return FD_OK;
}

typedef struct {
    fd_dataset_writer *w;
    int c, side;
    uint8_t *chw;
} destination;

static fd_status add_picture(fd_ctx *ctx, const create_options *o, fd_arena *a, const fd_dataset *d, int64_t i,
                             destination *to) {
    const char *name = fd_dataset_image_name(d, i);
    fd_image image = {0};
    FD_TRY(fd_dataset_image(ctx, d, i, &image));
    fd_status s = transform(ctx, o, name, &image);
    if (s == FD_OK && !to->w) {
        to->c = image.c;
        to->side = image.w;
        to->chw = fd_arena_alloc(ctx, a, (size_t)image.c * (size_t)image.w * (size_t)image.h);
        s = to->chw ? fd_dataset_create(ctx, o->dest, image.c, image.h, image.w, &to->w) : FD_E_NOMEM;
    }
    if (s == FD_OK && (image.c != to->c || image.w != to->side))
        s = FD_FAIL(ctx, FD_E_FORMAT, "%s: %d x %d with %d channel%s, but the first has %d x %d with %d%s", name,
                    image.w, image.h, image.c, image.c > 1 ? "s" : "", to->side, to->side, to->c,
                    image.c == to->c ? "; use --transform scale --resolution N" : "");
    if (s == FD_OK) {
        fd_image_to_chw(&image, to->chw);
        s = fd_dataset_add(ctx, to->w, to->chw, o->labels ? fd_dataset_class(d, i) : -1);
    }
    fd_image_free(&image);
    return s;
}

static fd_status convert(fd_ctx *ctx, const create_options *o, fd_arena *a, const fd_dataset *d, destination *to) {
    fd_progress bar;
    fd_progress_start(ctx, &bar, "converting", "images", d->n);
    for (int64_t i = 0; i < d->n; i++) {
        FD_TRY(add_picture(ctx, o, a, d, i, to));
        fd_progress_update(&bar, i + 1, NULL);
        if (fd_interrupted()) return stopped(ctx, o);
    }
    fd_progress_end(&bar);
    return FD_OK;
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
    if (o->transform != TRANSFORM_NONE && !o->resolution)
        return FD_FAIL(ctx, FD_E_ARG, "--transform %s needs --resolution N", transforms[o->transform]);
    if (o->transform == TRANSFORM_NONE && o->resolution)
        return FD_FAIL(ctx, FD_E_ARG, "--resolution needs --transform center-crop or scale");
    FD_TRY(open_source(ctx, o, &d));
    fd_status s = convert(ctx, o, &a, &d, &to);
    int classes = d.label_dim;
    int64_t n = d.n;
    fd_arena_free(&a);
    fd_dataset_close(&d);
    if (s != FD_OK) {
        fd_dataset_abandon(to.w);
        return s;
    }
    FD_TRY(fd_dataset_commit(ctx, to.w));
    printf("%s: %lld images of %d x %d, ", o->dest, (long long)n, to.side, to.side);
    if (o->labels) printf("%d classes\n", classes);
    else printf("no labels\n");
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
         .help = "Folder or zip of pictures. Labels come from its dataset.json, else from the names of its folders."},
        {.name = "transform", .type = FD_OPT_ENUM, .to = &p.transform, .value = "NAME", .words = transforms,
         .help = "What is done to each picture; resampling is Lanczos, with Pillow's pixels."},
        {.name = "resolution", .type = FD_OPT_INT, .to = &p.resolution, .value = "N", .lo = 4, .hi = 1024,
         .no_default = true, .help = "Width and height of the result. Sprites: 16 if not given."},
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
