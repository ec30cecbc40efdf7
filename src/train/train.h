/* train.h — teachers: denoising score matching as in EDM (Karras et al. 2022), the `fdistill train` command. */
#ifndef FD_TRAIN_TRAIN_H
#define FD_TRAIN_TRAIN_H

#include "models/models.h"
#include "train/job.h"

#define FD_TRAIN_PASS 32       /* images per pass unless asked otherwise: beyond this, batches are no faster */

typedef struct fd_train_options {
    fd_job_options job;
    fd_net_config net;         /* resolution, channels, label_dim: the data set's; augment_dim follows augment   */
    const char *transfer;      /* --transfer: start from these weights; NULL = a fresh initialisation            */
    fd_lr lr;                  /* --lr (1e-3), ramp 10e6 images                                                  */
    double beta1, beta2, eps;  /* 0.9, 0.999, 1e-8                                                               */
    double ema_halflife;       /* --ema, images; 0.5e6                                                           */
    double ema_ramp;           /* half-life is at most this share of the images seen; 0.05                       */
    double p_mean, p_std;      /* ln sigma ~ N(p_mean, p_std^2); -1.2, 1.2                                       */
    double augment;            /* --augment: probability of each of EDM's augmentations (augment.h); 0 = none    */
    double label_dropout;      /* --label-dropout: probability of training a sample without its label; 0         */
    double clip;               /* --clip: gradient norm limit; 0 = none (EDM)                                    */
} fd_train_options;

fd_train_options fd_train_defaults(void);
/* Runs to the end or to the signal. FD_E_CANCELLED after a signal (state saved). */
fd_status fd_train(fd_ctx *ctx, const fd_train_options *o);

#endif
