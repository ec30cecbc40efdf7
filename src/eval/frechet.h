/* frechet.h — squared Fréchet (2-Wasserstein) distance of two Gaussians, from means and covariances.
 *
 *   |mu1 - mu2|^2 + tr S1 + tr S2 - 2 tr (S1^1/2 S2 S1^1/2)^1/2
 *
 * With Inception features this is FID (Heusel et al. 2017); with other features it is called FD with their name. The
 * square roots come from triangular factors and a symmetric eigenvalue problem: unlike the general matrix square root of the
 * original script they cannot become complex or fail on singular covariances. Eigenvalues below zero, which rounding makes, count
 * as zero. Accuracy: 1e-10 relative or 1e-13 of the traces, singular covariances included, against float64 features; the
 * symmetric square root that others take is off by 1e-8 to 2e-6 there.
 */
#ifndef FD_EVAL_FRECHET_H
#define FD_EVAL_FRECHET_H

#include "base/err.h"

typedef struct {
    double distance;            /* never negative, never NaN */
    double mean_part;           /* |mu1 - mu2|^2 */
    double covariance_part;     /* the rest */
} fd_frechet_result;

/* mu [d], sigma [d][d] symmetric (the lower triangle is read). NUMERIC, naming the place, if a value is not finite or
 * a variance is negative. Takes 24 d^2 bytes; d = 2048 takes under 3 s on two cores.
 * The same bits for any number of threads. */
fd_status fd_frechet(fd_ctx *ctx, int d, const double *mu1, const double *sigma1, const double *mu2,
                     const double *sigma2, fd_frechet_result *out);

#endif
