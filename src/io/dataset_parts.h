/* dataset_parts.h — what the files of dataset.h share: the list of files behind a set, its labels, and the place
 * where faults go. */
#ifndef FD_IO_DATASET_PARTS_H
#define FD_IO_DATASET_PARTS_H

#include "io/array_set.h"
#include "io/dataset.h"
#include "io/image.h"
#include "io/zipfile.h"

#define FD_IMAGE_FILE_MAX ((size_t)512 << 20)     /* bytes of one compressed picture */

/* Opening stops at the first fault; checking collects them all. */
typedef struct {
    fd_ctx *ctx;
    const char *set;              /* path of the set, for messages */
    fd_dataset_report *report;    /* NULL: a fault is the failure of the call */
} fd_faults;
/* Without a report: fails with "set: 'member': text" if it is fatal, else does nothing. With one: records it; FD_OK.
 * */
fd_status fd_fault(fd_faults *f, bool fatal, const char *member, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- files of a zip or folder */

/* real: path or member before stripping; entry: number in the zip or among the arrays */
typedef struct { const char *name, *real; int64_t entry; } fd_source_file;
typedef struct fd_source {
    fd_zip *zip;                  /* NULL: a folder, or arrays */
    fd_array_set *arrays;         /* NULL: files. Else each picture is a file with the name that EDM's tool would give it */
    const char *path;
    fd_source_file *file;         /* every file but hidden ones, sorted by name */
    int64_t n;
    int64_t json;                 /* file number of dataset.json, -1: none */
    int64_t hidden;               /* files left out: names starting with '.', and __MACOSX */
    fd_arena arena;
} fd_source;

fd_status fd_source_open(fd_ctx *ctx, const char *path, fd_source *out);
void fd_source_close(fd_source *s);                                            /* safe on {0} */
/* Not for arrays. */
fd_status fd_source_read(fd_ctx *ctx, const fd_source *s, int64_t file, fd_arena *arena, size_t limit, fd_bytes *out);
/* Decodes n files in parallel: image[i] or the failure in result[i]. A picture whose size differs from w x h x c
 * keeps its size but no pixels (p = NULL), so that a hostile set cannot fill the memory; w = 0 expects nothing. */
void fd_source_decode(const fd_source *s, const int64_t *file, int n, int threads, int w, int h, int c,
                      fd_image *image, fd_ctx *result);

/* ---- labels */

typedef struct {
    int dim;                      /* 0: none */
    char crop[FD_CROP_MAX];       /* beside the labels in dataset.json */
    bool classes;
    int32_t *number;              /* [n] class numbers */
    float *vector;                /* [n][dim] otherwise */
} fd_labels;

/* Made of the letters that such a text has, and not too long. */
bool fd_crop_valid(const char *crop);
/* From dataset.json, or what came with arrays. */
bool fd_source_has_labels(const fd_source *s);
fd_status fd_labels_from_source(fd_faults *f, const fd_source *s, const int64_t *image, int64_t n, bool needed, fd_arena *arena,
                                fd_labels *out);
/* Reads dataset.json. It must be JSON even when the labels are not wanted (`needed` false), which then is all that is
 * asked of it. image: file numbers of the n pictures, sorted. */
fd_status fd_labels_from_json(fd_faults *f, const fd_source *s, const int64_t *image, int64_t n, bool needed,
                              fd_arena *arena, fd_labels *out);
/* Class = index of the top-level folder's name. */
fd_status fd_labels_from_folders(fd_faults *f, const fd_source *s, const int64_t *image, int64_t n, fd_arena *arena,
                                 fd_labels *out);

/* File numbers of the pictures, in the arena. */
fd_status fd_source_images(fd_ctx *ctx, const fd_source *s, fd_arena *arena, int64_t **image, int64_t *n);

#endif
