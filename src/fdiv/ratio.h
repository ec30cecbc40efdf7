/* ratio.h — from discriminator logits to the weight h of every generated sample.
 *
 *   1. l = mean over heads of the logits, clamped to [-logit_clamp, logit_clamp];  r = e^l, clamped to [r_min, r_max]
 *   2. samples fall into bins by t; every bin keeps an average b of its r (moving with rate `ema`; 0: this batch)
 *   3. r <- r / (b[bin] + 1e-6)          because a discriminator is calibrated differently at every noise level
 *   4. h <- weight(r) / (mean of weight(r) + 1e-6)
 *
 * Steps 2 and 4 look at the whole batch. The caller therefore gathers the logits and t of all micro-batches and all
 * ranks, in sample order, and calls fd_ratio_apply once per student step: a few floats per sample. The result then
 * does not depend on how the batch was cut. Sums are taken in double, everything else in float, as the training code
 * does. Source: f-distill (arXiv 2502.15681) section 4; constants of the published CIFAR-10 configuration. */
#ifndef FD_FDIV_RATIO_H
#define FD_FDIV_RATIO_H

#include <stdint.h>

#include "fdiv/divergence.h"
#include "fdiv/sigma.h"

#define FD_RATIO_BINS_MAX 64

typedef enum {
    FD_SPACING_SIGMA,       /* equal widths in t: what was published; bin 0 gets 64 % of the draws */
    FD_SPACING_LOG_SIGMA,   /* equal widths in log t */
    FD_SPACING_QUANTILE     /* equal shares of the draws of t */
} fd_spacing;

typedef struct {
    double logit_clamp, r_min, r_max;  /* 10, 0.1, 20 */
    int bins;                          /* 1 … FD_RATIO_BINS_MAX */
    fd_spacing spacing;
    double ema;                        /* share of the old average kept, in [0, 1) */
    double t_min, t_max, rho;          /* of the grid t is drawn from; 0.002, 80, 7. rho matters here for quantile spacing only */
    bool normalise_bins, normalise_h;  /* steps 3 and 4 */
} fd_ratio_config;

typedef struct {
    fd_ratio_config config;
    float bins[FD_RATIO_BINS_MAX];              /* the averages b; part of the training state */
    int64_t seen[FD_RATIO_BINS_MAX];            /* samples each bin has had; part of the training state */
    double edges[FD_RATIO_BINS_MAX + 1];        /* bin k holds edges[k] <= t < edges[k+1]; the outer bins are open */
} fd_ratio;

/* Every stage, n values each; NULL where not wanted. */
typedef struct {
    float *l_mean, *l_clamped, *r_exp, *r_clamped, *r_normalised, *h_raw;
    int64_t *bin_index;
} fd_ratio_stages;

typedef struct {
    double h_min, h_mean, h_max, h_std;
    double r_mean;                              /* of the clamped r */
    double clip_low, clip_high;                 /* share of the samples cut at r_min / r_max or by the logit clamp */
    double logit_mean, logit_std;               /* of the head average, before any clamp; std over the batch (n) */
    int64_t count[FD_RATIO_BINS_MAX];           /* samples per bin in this batch */
} fd_ratio_stats;

/* The published values: clamp 10, r in [0.1, 20], 10 bins in sigma, ema 0, both normalisations on. */
fd_ratio_config fd_ratio_defaults(void);
/* Checks the configuration (ARG names the field), computes the bin edges, sets all averages to 1. */
fd_status fd_ratio_init(fd_ctx *ctx, const fd_ratio_config *config, fd_ratio *r);
/* Bin of noise level t. */
int fd_ratio_bin(const fd_ratio *r, double t);

/* One student step over the whole batch. logits [n][heads], t [n], h [n] (out). Updates bins and seen, also for
 * reverse KL, whose h is exactly 1 and not normalised. stages and stats may be NULL.
 * NUMERIC, with state and h unchanged, if a logit or a t is not finite. */
fd_status fd_ratio_apply(fd_ctx *ctx, fd_ratio *r, const fd_divergence *d, const float *logits, int heads,
                         const double *t, int64_t n, float *h, const fd_ratio_stages *stages, fd_ratio_stats *stats);

/* "sigma", "log-sigma", "quantile"; ARG listing them otherwise. */
fd_status fd_spacing_find(fd_ctx *ctx, const char *name, fd_spacing *out);
const char *fd_spacing_name(fd_spacing s);

#endif
