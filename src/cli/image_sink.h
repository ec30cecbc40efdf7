/* image_sink.h — where generated pictures go: a folder of PNGs, an EDM zip, or an npz for ADM's evaluator. */
#ifndef FD_CLI_IMAGE_SINK_H
#define FD_CLI_IMAGE_SINK_H

#include <stdint.h>

#include "base/err.h"

typedef enum { FD_SINK_PNG, FD_SINK_ZIP, FD_SINK_NPZ } fd_sink_format;

typedef struct {
    fd_sink_format format;
    const char *path;             /* PNG: folder, made if absent; ZIP, NPZ: file */
    bool subdirs;                 /* PNG: 000000/000007.png, the folder is the seed rounded down to thousands */
    int c, h, w;
    int64_t total;                /* pictures to come */
    bool classes;
    const char *network, *sampler;    /* digest and words for the PNG text chunks */
} fd_sink_spec;

typedef struct fd_sink fd_sink;

fd_status fd_sink_open(fd_ctx *ctx, const fd_sink_spec *spec, fd_sink **out);
/* n pictures uint8 [n][c][h][w] with their seeds and classes; encoded on all threads. In a folder, seeds
 * must differ. */
fd_status fd_sink_add(fd_ctx *ctx, fd_sink *s, const uint64_t *seeds, const int *classes, int64_t n,
                      const uint8_t *images);
/* A zip or npz appears under its name only now. Frees s, also on failure. */
fd_status fd_sink_commit(fd_ctx *ctx, fd_sink *s);
void fd_sink_abandon(fd_sink *s);      /* pictures already in a folder stay; NULL is allowed */

#endif
