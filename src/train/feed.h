/* feed.h — which image and which random numbers belong to sample number k of a run.
 *
 * Everything about sample k follows from (seed, k): the image by a permutation of the set per epoch that is computed
 * where it is needed, the noise by counters. Nothing is stored, so a run resumes anywhere, and neither the batch size
 * of a pass nor the number of workers changes what sample k is.
 */
#ifndef FD_TRAIN_FEED_H
#define FD_TRAIN_FEED_H

#include "base/rng.h"
#include "io/dataset.h"

typedef struct fd_feed {
    const fd_dataset *data;
    uint64_t seed;
} fd_feed;

/* Position of sample k in the set: epoch k / n visits every image once, in an order of its own. */
int64_t fd_feed_index(const fd_feed *f, uint64_t k);
/* Samples k … k+n-1: images [n][C][H][W] scaled to [-1, 1] (x / 127.5 - 1), labels [n][label_dim] (NULL: not wanted). */
fd_status fd_feed_images(fd_ctx *ctx, const fd_feed *f, uint64_t k, int n, float *images, float *labels);
/* count standard normals for each of the samples k … k+n-1, for one purpose. */
void fd_feed_normals(uint64_t seed, fd_rng_purpose purpose, uint64_t k, int n, int64_t count, float *out);

#endif
