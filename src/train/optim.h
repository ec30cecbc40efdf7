/* optim.h — Adam, AdamW, gradient statistics and exponential moving averages over flat blocks of floats.
 *
 * A block is what fd_params lays out: all weights of a network one after the other; gradients, moments and averages
 * are arrays of the same layout. Scalar factors are computed in double and rounded once; element arithmetic is float,
 * in the order torch uses, without fused multiply-add. Every element depends on its own history only, and sums are
 * taken over slices whose borders do not depend on the number of threads: results are the same bits on any machine.
 */
#ifndef FD_TRAIN_OPTIM_H
#define FD_TRAIN_OPTIM_H

#include <stdbool.h>
#include <stdint.h>

#include "run/flat.h"

typedef struct { double lr, beta1, beta2, eps, weight_decay; } fd_adam;   /* decay 0: Adam */

/* Kept up to date in the same pass over the weights: a <- a + (w - a)(1 - beta). */
typedef struct { float *a; double beta; } fd_ema;

/* Step number n (the first is 1) with the gradient grad_scale * g:
 *   w <- w (1 - lr decay)
 *   m <- b1 m + (1-b1) g,   v <- b2 v + (1-b2) g^2
 *   w <- w - lr/(1-b1^n) m / (sqrt(v)/sqrt(1-b2^n) + eps)
 * grad_scale is the clip factor (1: none). emas may be NULL with n_emas 0. Zero heap calls.
 * Source: Loshchilov & Hutter 2019; torch.optim.AdamW. */
void fd_adamw_step(const fd_adam *o, int64_t n, const fd_range *ranges, int n_ranges, float *w,
                   const float *g, float *m, float *v, double grad_scale, const fd_ema *emas, int n_emas);

/* The rounded factors of that step, for those who take it elsewhere. */
fd_adam_factors fd_adam_factors_of(const fd_adam *o, int64_t n, double grad_scale);

typedef struct {
    double norm;              /* global L2 norm; not finite if any element is not   */
    int64_t nonfinite;        /* NaN and infinite elements                          */
    int64_t infinite;         /* of those, infinite                                 */
    int64_t first_nonfinite;  /* index in the flat array of the first of them, or -1 */
} fd_grad_stats;

/* Sums in double over fixed slices, added in order. */
fd_grad_stats fd_grad_measure(const fd_range *ranges, int n_ranges, const float *g);
/* min(1, max_norm / (norm + 1e-6)); 1 when max_norm <= 0 (no clipping). A non-finite norm gives 0: skip such a step.
 */
double fd_clip_factor(double norm, double max_norm);
/* NaN -> 0 and +-infinity -> +-largest float, in place. Published trainings did this and then stepped with a clip
 * factor of 0 if there was an infinity (its norm overflows). We skip such steps instead; this is for comparison with
 * them. */
void fd_grad_repair(const fd_range *ranges, int n_ranges, float *g);

/* a <- a + (w - a)(1 - beta) */
void fd_ema_update(const fd_range *ranges, int n_ranges, const float *w, float *a, double beta);
/* EDM's decay per step of `batch` images: 0.5^(batch / max(min(halflife, ramp * seen), 1e-8)); lengths in images,
 * seen = images before this step. ramp <= 0 switches the ramp-up off. */
double fd_ema_beta(double batch, double halflife, double ramp, double seen);

#endif
