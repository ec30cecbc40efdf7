/* fd_infinity.h — the Fréchet distance that infinitely many generated pictures would have.
 *
 * The distance of n pictures is too large by about c / n. It is computed for 15 sizes of subsets, drawn without
 * replacement; a straight line over 1 / n, fitted by least squares, is read off at 0. What the finite number of pictures
 * behind the *reference* adds stays in. Source: Chong & Forsyth 2020 (arXiv 1911.07023).
 */
#ifndef FD_EVAL_FD_INFINITY_H
#define FD_EVAL_FD_INFINITY_H

#include "eval/reference.h"

enum { FD_INFINITY_POINTS = 15 };

typedef struct {
    double distance;              /* at 1/n = 0 */
    double error;                 /* standard error of that, from the scatter around the line */
    double slope;                 /* per 1/n */
    int64_t sizes[FD_INFINITY_POINTS];
    double distances[FD_INFINITY_POINTS];
} fd_infinity_result;

/* features [n][d] of the generated pictures against a reference of the same d. Sizes run from n/10 (half of n if that is
 * no more than d) to n. ARG if n < 20. Draws come from (seed, FD_RNG_SUBSET). 15 Fréchet distances: a minute or less. */
fd_status fd_infinity(fd_ctx *ctx, const float *features, int64_t n, const fd_reference *ref, uint64_t seed,
                      fd_infinity_result *out);

#endif
