/* array_set.h — sets that are distributed as arrays instead of pictures: CIFAR-10 and CIFAR-100 (the Python and the binary
 * version: the archive, its unpacked folder, or one file of it), and MNIST's idx files, each as it is or gzipped.
 *
 * As EDM's dataset_tool.py reads them: an archive or folder is its training part, MNIST's 28 x 28 pixels get a margin of two
 * black ones. Other parts are named as files: cifar-10-batches-py/test_batch, t10k-images-idx3-ubyte.gz. CIFAR-100's labels
 * are the hundred fine ones. Python's batches are pickles, read as data (pickle.h).
 */
#ifndef FD_IO_ARRAY_SET_H
#define FD_IO_ARRAY_SET_H

#include "io/image.h"

typedef struct fd_array_set {
    int64_t n;
    int c, h, w;                  /* margin included */
    int margin, classes;          /* classes 0: no labels came along */
    const uint8_t **planes;       /* [n], each [c][h - 2 margin][w - 2 margin] */
    int32_t *label;               /* [n] */
    fd_bytes *map;                /* files that are open */
    int maps;
    fd_arena arena;
} fd_array_set;

/* Is it one of these, by its first bytes or, for CIFAR's unpacked files, by their names? Anything that cannot be read is
 * none. */
bool fd_array_set_is(const char *path);
/* FORMAT for a damaged or incomplete one. Owner: the caller. */
fd_status fd_array_set_open(fd_ctx *ctx, const char *path, fd_array_set *out);
void fd_array_set_close(fd_array_set *s);              /* safe on {0} */
/* Owner: the caller, fd_image_free. Thread-safe. */
fd_status fd_array_set_image(fd_ctx *ctx, const fd_array_set *s, int64_t i, fd_image *out);

#endif
