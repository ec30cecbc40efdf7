/* image_source.h — where the pictures of a measurement come from: a set on disk, or a network with no files between.
 *
 * Either way a measurement sees uint8 pictures, because that is what people save and compare; a network's output goes
 * through the same rounding as generated files (x * 127.5 + 128, clamped, truncated).
 */
#ifndef FD_EVAL_IMAGE_SOURCE_H
#define FD_EVAL_IMAGE_SOURCE_H

#include "io/dataset.h"
#include "models/net.h"
#include "train/sampler.h"

typedef struct fd_image_source {
    int64_t n;                    /* pictures                                             */
    int c, h, w;
    bool classes;                 /* fd_image_source_read can tell the class of a picture       */
    char name[256];               /* of the set, or of the network's file                 */
    char digest[65];              /* of the set, or of the network's weights              */
    const char *codec;            /* what the pictures went through: "lossless", "JPEG" or "mixed" */
    const char *crop;             /* how the pictures were cut (dataset.h), of a network, its training set's; "": unknown */
    bool is_network;
    const fd_backend *backend;    /* where networks that look at the pictures run; NULL: the CPU */
    /* private */
    fd_dataset data;
    fd_arena arena;               /* of a sample dump */
    const uint8_t *dump;          /* [n][h][w][c] or NULL */
    const int64_t *dump_classes;
    fd_denoiser *denoiser;
    fd_sampler sampler;
    uint64_t first_seed;
    int cls;
} fd_image_source;

/* num pictures of a set drawn with the seed; num = 0: all. An .npz is a sample dump (arr_0 uint8 [n][h][w][c], arr_1
 * classes), of which the first num are taken. ARG if it has fewer. Classes are read from its
 * dataset.json; folder names are none here, because generated folders are named after their seeds. */
fd_status fd_image_source_set(fd_ctx *ctx, const char *path, int64_t num, uint64_t seed, fd_image_source *out);

typedef struct {
    fd_sampler sampler;
    int64_t num;
    uint64_t first_seed;          /* seeds first … first + num - 1                        */
    int cls;                      /* -1: drawn from each seed                             */
    int batch;
    fd_dtype dtype;
    const fd_backend *backend;    /* NULL: the CPU; also for those that look at the pictures */
} fd_image_source_network_spec;
/* The network must outlive the source. */
fd_status fd_image_source_network(fd_ctx *ctx, fd_net *net, const char *name,
                                  const fd_image_source_network_spec *spec,
                            fd_image_source *out);
void fd_image_source_close(fd_image_source *s);        /* safe on {0} */

/* Pictures first … first+n-1 as uint8 [n][c][h][w]; classes [n] (may be NULL): -1 where unknown. */
fd_status fd_image_source_read(fd_ctx *ctx, fd_image_source *s, int64_t first, int64_t n, uint8_t *images,
                               int32_t *classes);

#endif
