/* sigma.h — noise levels: Karras grids, the polynomial distribution of t, log-normal sigma.
 * Sigma is in image units with data in [-1, 1]. All in double: a float grid moves the levels by 1e-7.
 */
#ifndef FD_FDIV_SIGMA_H
#define FD_FDIV_SIGMA_H

#include "base/rng.h"

/* n levels from sigma_max down to sigma_min, without a final zero:
 *   out[j] = (sigma_max^(1/rho) + j/(n-1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho
 * n = 1 gives sigma_max. Source: Karras et al. 2022, eq. 5. */
void fd_karras_grid(int n, double sigma_min, double sigma_max, double rho, double *out);

#define FD_POLYNOMIAL_LEVELS 1000
#define FD_POLYNOMIAL_FIRST 2        /* the indices drawn: first … last, both included */
#define FD_POLYNOMIAL_LAST 998

/* Distribution of t in distillation: index uniform in [2, 998] of an ascending Karras grid of 1000 levels. */
typedef struct { double level[FD_POLYNOMIAL_LEVELS]; } fd_polynomial;

void fd_polynomial_init(fd_polynomial *p, double sigma_min, double sigma_max, double rho);
/* t of draw number `draw` of the stream. */
double fd_polynomial_draw(const fd_polynomial *p, const fd_rng *r, uint64_t draw);
/* Level below which the share `q` in [0, 1] of the draws lies; between two levels for 0 < q < 1, so that no draw
 * falls on an edge made from it. */
double fd_polynomial_quantile(const fd_polynomial *p, double q);

/* exp(mean + std * normal), the training distribution of EDM (mean -1.2, std 1.2). */
double fd_sigma_lognormal(const fd_rng *r, uint64_t draw, double mean, double std);

#endif
