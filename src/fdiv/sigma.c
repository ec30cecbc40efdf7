#include "fdiv/sigma.h"

#include <math.h>

void fd_karras_grid(int n, double sigma_min, double sigma_max, double rho, double *out) {
    double a = pow(sigma_max, 1.0 / rho), b = pow(sigma_min, 1.0 / rho);
    for (int j = 0; j < n; j++)
        out[j] = pow(n > 1 ? a + (double)j / (n - 1) * (b - a) : a, rho);
}

void fd_polynomial_init(fd_polynomial *p, double sigma_min, double sigma_max, double rho) {
    double down[FD_POLYNOMIAL_LEVELS];
    fd_karras_grid(FD_POLYNOMIAL_LEVELS, sigma_min, sigma_max, rho, down);
    for (int j = 0; j < FD_POLYNOMIAL_LEVELS; j++) p->level[j] = down[FD_POLYNOMIAL_LEVELS - 1 - j];
}

double fd_polynomial_draw(const fd_polynomial *p, const fd_rng *r, uint64_t draw) {
    uint64_t n = FD_POLYNOMIAL_LAST - FD_POLYNOMIAL_FIRST + 1;
    return p->level[FD_POLYNOMIAL_FIRST + fd_rng_below(r, draw, n)];
}

double fd_polynomial_quantile(const fd_polynomial *p, double q) {
    int n = FD_POLYNOMIAL_LAST - FD_POLYNOMIAL_FIRST + 1;
    int below = (int)floor(q * n + 0.5);          /* so many draws of n lie below the answer */
    if (below <= 0) return p->level[FD_POLYNOMIAL_FIRST];
    if (below >= n) return p->level[FD_POLYNOMIAL_LAST];
    const double *l = p->level + FD_POLYNOMIAL_FIRST;
    return sqrt(l[below - 1] * l[below]);
}

double fd_sigma_lognormal(const fd_rng *r, uint64_t draw, double mean, double std) {
    return exp(mean + std * fd_rng_normal(r, draw));
}
