/* edm_step.h — one pass of EDM training: loss and gradients of a batch whose random numbers are given.
 *
 *   loss = sum over pixels of weight(sigma) (D(y + sigma n; sigma) - y)^2,  weight = (s^2 + sd^2)/(s sd)^2
 * summed over the samples and divided by the global batch. Source: Karras et al. 2022, eq. 2 and table 1; EDM loss.py.
 */
#ifndef FD_TRAIN_EDM_STEP_H
#define FD_TRAIN_EDM_STEP_H

#include "train/view.h"

typedef struct fd_edm_step {
    fd_view view;
    fd_val y, weight, dloss, loss;
    float *noisy, *w;
} fd_edm_step;

typedef struct { int n; fd_dtype dtype; bool augment; uint64_t dropout_seed; const fd_backend *backend; } fd_edm_step_spec;

fd_status fd_edm_step_open(fd_ctx *ctx, fd_net *net, const fd_edm_step_spec *spec, fd_edm_step *s);
void fd_edm_step_close(fd_edm_step *s);

/* images, noise [n,C,R,R]; sigma [n]; labels, augment as fd_view_fill; first: index of the first sample (dropout).
 * Adds scale * d(sum of losses) to the gradients of the network; *loss += scale * sum of the losses. */
fd_status fd_edm_step_run(fd_ctx *ctx, fd_edm_step *s, const float *images, const float *noise, const double *sigma,
                          const float *labels, const float *augment, uint64_t first, double scale, double *loss);

#endif
