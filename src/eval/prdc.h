/* prdc.h — precision, recall, density and coverage from k nearest neighbours, in double.
 *
 * The ball of a sample reaches to its k-th nearest other sample of its own set.
 *   precision  share of generated samples inside some real ball
 *   recall     share of real samples inside some generated ball
 *   density    mean number of real balls around a generated sample, divided by k
 *   coverage   share of real balls with a generated sample inside
 * Source: Kynkäänniemi et al. 2019; Naeem et al. 2020.
 */
#ifndef FD_EVAL_PRDC_H
#define FD_EVAL_PRDC_H

#include <stdint.h>

#include "base/err.h"

typedef struct { double precision, recall, density, coverage; } fd_prdc_result;

/* Real x [nx][d], generated y [ny][d]; 1 <= k < nx, ny. strict: inside means distance < radius (the prdc package),
 * else <= (the original precision and recall, torch-fidelity); they differ only where distances tie. Distances are
 * formed from differences, so ties and large offsets are exact; (nx + ny)^2 d operations: 3 s on one core for 1000
 * against 1000 of 2048 features. NUMERIC if a value is not finite, CANCELLED after a signal.
 */
fd_status fd_prdc(fd_ctx *ctx, const float *x, int64_t nx, const float *y, int64_t ny, int d, int k, bool strict,
                  fd_prdc_result *out);
/* The same from doubles. */
fd_status fd_prdc_double(fd_ctx *ctx, const double *x, int64_t nx, const double *y, int64_t ny, int d, int k,
                         bool strict, fd_prdc_result *out);

#endif
