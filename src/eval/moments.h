/* moments.h — mean and covariance of feature vectors, streaming, in double.
 *
 * Rows are collected into chunks of a fixed size; each chunk is centred by its own mean before its products are
 * formed, and joined to the rest by the exact formula for two groups (Chan, Golub & LeVeque 1983). So features with a
 * mean of 1000 and a deviation of 0.05 lose nothing, the way the caller cuts his batches changes no bit, and another
 * order of the rows changes the result by about 1e-15 of the variances only.
 */
#ifndef FD_EVAL_MOMENTS_H
#define FD_EVAL_MOMENTS_H

#include "base/arena.h"

typedef struct {
    int d;                /* length of a feature vector */
    int64_t n;            /* rows taken in, those still in the chunk included */
    /* private */
    fd_arena arena;
    int64_t joined;       /* rows in mean and m2 */
    int waiting;          /* rows in chunk */
    double *mean, *m2;    /* [d], [d][d] lower triangle: sum of (x - mean)(x - mean)^T */
    double *chunk;        /* [FD_MOMENTS_CHUNK][d] */
    double *centre;       /* [d] */
} fd_moments;

#define FD_MOMENTS_CHUNK 256

/* 8 d^2 + 2 kB d bytes. Owner: the caller, until _free. ARG unless 1 <= d <= 65536. */
fd_status fd_moments_init(fd_ctx *ctx, fd_moments *m, int d);
void fd_moments_free(fd_moments *m);

/* Rows x [n][d]. NUMERIC, naming the row, if a value is not finite; the rows before it have then been taken in. */
fd_status fd_moments_add(fd_ctx *ctx, fd_moments *m, const float *x, int64_t n);
fd_status fd_moments_add_double(fd_ctx *ctx, fd_moments *m, const double *x, int64_t n);
/* What `from` has seen is added to m; `from` keeps its contents. SHAPE if the lengths differ. */
fd_status fd_moments_merge(fd_ctx *ctx, fd_moments *m, fd_moments *from);
/* mu [d], sigma [d][d] full and symmetric, divisor n - 1. ARG if n < 2. More rows may follow. */
fd_status fd_moments_get(fd_ctx *ctx, fd_moments *m, double *mu, double *sigma);

#endif
