/* flat.h — optimiser work over flat blocks of floats (weights, gradients, moments, averages), where a device holds them.
 * What the numbers mean: train/optim.h, whose results these are, bit for bit. */
#ifndef FD_RUN_FLAT_H
#define FD_RUN_FLAT_H

#include <stdint.h>

#include "base/err.h"

/* Elements [offset, offset + length) of the flat arrays. */
typedef struct { int64_t offset, length; } fd_range;

/* x = g scale;  m <- m b1 + x a1;  v <- v b2 + a2 x x;  w <- w keep + step m / (sqrt(v) / root + eps) */
typedef struct { float scale, keep, b1, a1, b2, a2, root, eps, step; } fd_adam_factors;

/* a <- a + (w - a) rate */
typedef struct { float *a; float rate; } fd_average;

/* All pointers are the device's. Averages are updated with the new weights. */
typedef struct fd_flat {
    fd_status (*square_sum)(fd_ctx *ctx, const float *g, const fd_range *range, int n, double *out);
    fd_status (*adamw)(fd_ctx *ctx, const fd_adam_factors *f, const fd_range *range, int n, float *w, const float *g, float *m,
                       float *v, const fd_average *average, int n_average);
    fd_status (*average)(fd_ctx *ctx, const fd_range *range, int n, const float *w, const fd_average *average, int n_average);
} fd_flat;

#endif
