/* dataset.h — image sets in EDM's form: a zip or a folder tree of pictures, labels in dataset.json at the root.
 *
 * dataset.json: {"labels": null} or {"labels": [["00000/img00000000.png", 3], …]}; a label is a class number (one-hot
 * of dimension max + 1) or a list of numbers used as it is. Pictures are ordered by name (bytes), as EDM does. A
 * single folder around everything, as some zip tools make it, is looked through. Arrays (array_set.h) are sets too.
 *
 * Sets that were made here say in dataset.json how their pictures were cut: {"labels": …, "fdistill": {"crop":
 * "center-crop"}}, which EDM's reader ignores.
 */
#ifndef FD_IO_DATASET_H
#define FD_IO_DATASET_H

#include "base/file.h"
#include "io/image.h"

/* What was done to the pictures: names of transforms (transform.h), with ", " between them when it was done in steps; "none":
 * nothing; "": unknown. */
#define FD_CROP_MAX 96

typedef enum { FD_CACHE_AUTO, FD_CACHE_ON, FD_CACHE_OFF } fd_dataset_cache;

typedef struct {
    bool use_labels;              /* ARG if the set has none                                                  */
    bool folder_labels;           /* without dataset.json: class = index of the sorted top-level folder name  */
    bool xflip;                   /* twice the set: pictures n … 2n-1 are mirrored left to right              */
    bool allow_any_size;          /* pictures need not be square                                              */
    int64_t max_size;             /* > 0: a random subset of so many pictures (before xflip), drawn by `seed` */
    uint64_t seed;
    fd_dataset_cache cache;       /* decoded pictures in memory; AUTO: if they fit into 2 GiB                 */
} fd_dataset_options;             /* {0} is plain: no labels, everything */

typedef struct fd_dataset {
    int64_t n;                    /* pictures, after max_size and xflip */
    int c, h, w;
    int label_dim;                /* 0: labels not in use */
    bool class_labels;            /* labels are class numbers */
    char crop[FD_CROP_MAX];
    char name[128];               /* file or folder name without extension */
    char path[4096];
    struct fd_dataset_body *body;
} fd_dataset;

/* Finds the pictures, reads the labels, decodes the first picture, or all of them (with ctx->threads threads and a
 * progress bar) when they are cached. All must have the size and channels of the first. Owner: the caller. */
fd_status fd_dataset_open(fd_ctx *ctx, const char *path, const fd_dataset_options *options, fd_dataset *out);
void fd_dataset_close(fd_dataset *d);                 /* safe on {0} */

/* Picture `index` as uint8 [c][h][w], and its label as label_dim floats (NULL: not wanted). Thread-safe with one
 * context per thread. */
fd_status fd_dataset_get(fd_ctx *ctx, const fd_dataset *d, int64_t index, uint8_t *chw, float *label);
/* Picture `index` as its file has it, whatever its size and channels (converting a set of mixed sizes); decoded anew
 * on every call. Owner: the caller, fd_image_free. Thread-safe likewise. */
fd_status fd_dataset_image(fd_ctx *ctx, const fd_dataset *d, int64_t index, fd_image *out);
/* Class number of a picture, -1 without class labels. */
int fd_dataset_class(const fd_dataset *d, int64_t index);
const char *fd_dataset_image_name(const fd_dataset *d, int64_t index);
/* SHA-256 of size, decoded pixels and labels in use, in order; mirrored copies are left out. Computed once. */
fd_status fd_dataset_digest(fd_ctx *ctx, fd_dataset *d, char out[65]);

#define FD_DATASET_PROBLEMS 1000

/* Everything that is wrong or odd with a set, in plain words. */
typedef struct {
    const char *path, *text;      /* member ("" for the whole set), what is wrong and what to do */
    bool fatal;                   /* fd_dataset_open would refuse it; else worth knowing */
} fd_dataset_problem;
typedef struct {
    fd_dataset_problem *problem;
    int n;                        /* recorded; at most FD_DATASET_PROBLEMS */
    int64_t total, fatal;         /* found */
    int64_t images;               /* pictures found, good or bad */
    int c, h, w;                  /* of the first good picture, 0 if there is none */
    int64_t label_dim;            /* 0: no labels */
    fd_arena arena;               /* owns the texts: fd_dataset_report_free */
} fd_dataset_report;
/* Fails only when the path cannot be read at all; whatever is wrong inside goes to the report. */
fd_status fd_dataset_check(fd_ctx *ctx, const char *path, fd_dataset_report *out);
void fd_dataset_report_free(fd_dataset_report *r);

/* Writes an EDM zip: stored PNG entries 00000/img00000000.png …, dataset.json last; atomic. */
typedef struct fd_dataset_writer fd_dataset_writer;
fd_status fd_dataset_create(fd_ctx *ctx, const char *path, int c, int h, int w, fd_dataset_writer **out);
/* label -1: none; either every picture has a label or no picture has one. */
fd_status fd_dataset_add(fd_ctx *ctx, fd_dataset_writer *w, const uint8_t *chw, int label);
/* The same for n pictures [n][c][h][w] (label NULL: none), compressed by ctx->threads threads; the file does not
 * depend on their number. */
fd_status fd_dataset_add_many(fd_ctx *ctx, fd_dataset_writer *w, const uint8_t *chw, const int *label, int n);
/* crop: see FD_CROP_MAX. Frees w, also on failure. */
fd_status fd_dataset_commit(fd_ctx *ctx, fd_dataset_writer *w, const char *crop);
void fd_dataset_abandon(fd_dataset_writer *w);

#endif
