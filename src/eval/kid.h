/* kid.h — kernel Inception distance: unbiased squared MMD with the kernel k(a, b) = (a·b/d + 1)^3, in double.
 * Source: Binkowski et al. 2018. The value may be negative; its expectation is zero for two samples of one source.
 * The same bits for any number of threads. */
#ifndef FD_EVAL_KID_H
#define FD_EVAL_KID_H

#include <stdint.h>

#include "base/err.h"

/* Whole sets x [nx][d], y [ny][d]; nx, ny >= 2 and may differ. NUMERIC if a value is not finite, CANCELLED after a
 * signal. */
fd_status fd_kid(fd_ctx *ctx, const float *x, int64_t nx, const float *y, int64_t ny, int d, double *out);

typedef struct { double mean, std; } fd_kid_result;   /* std over the subsets, population form (divisor count) */

/* `subsets` pairs of subsets of `size` samples; ix, iy [subsets][size] say which. ARG if an index is out of range. */
fd_status fd_kid_subsets(fd_ctx *ctx, const float *x, int64_t nx, const float *y, int64_t ny, int d, int subsets,
                         int size, const int64_t *ix, const int64_t *iy, fd_kid_result *out);
/* The same with subsets drawn without replacement from (seed, FD_RNG_SUBSET); size is cut to the smaller set. */
fd_status fd_kid_random(fd_ctx *ctx, const float *x, int64_t nx, const float *y, int64_t ny, int d, int subsets,
                        int size, uint64_t seed, fd_kid_result *out);

#endif
