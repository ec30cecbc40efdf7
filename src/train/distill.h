/* distill.h — the main job: a one-step student from a teacher, f-distill (arXiv 2502.15681), `fdistill distill`. */
#ifndef FD_TRAIN_DISTILL_H
#define FD_TRAIN_DISTILL_H

#include "fdiv/ratio.h"
#include "models/net_config.h"
#include "train/job.h"

#define FD_EMAS_MAX 8

/* What is optimised; kept apart from how the run is organised, so that tests give every number themselves. */
typedef struct fd_distill_method {
    const fd_divergence *divergence;  /* --divergence                                                             */
    fd_ratio_config ratio;            /* --ratio-bins …; its t_min, t_max, rho are those of the grid t is drawn from */
    int freq;                         /* --update-freq: every freq-th iteration is a student step, others critic; 5 */
    double gan_weight;                /* --gan-weight: lambda of the student's GAN term; 1e-3                     */
    double gan_limit;                 /* --gan-limit: its gradient at the image, at most this times the score's; 0 = none */
    double r1_weight, r1_alpha;       /* --r1-weight, --r1-alpha: approximate R1 on the heads; 0, 0.1             */
    double guidance;                  /* --guidance: classifier-free guidance on the teacher; 1 = none            */
    bool fake_edm_weight;             /* --fake-weight edm: EDM's sigma weight in the fake score's loss; else flat */
    double sigma_max;                 /* noise level the student starts from; 80                                  */
    double clip;                      /* --clip: student's gradient norm limit; 10; 0 = none                      */
    int taps[8], ntaps;               /* encoder levels the heads look at, 0 = finest; default all                */
    int64_t pairs;                    /* --pairs: images of the teacher's sampler that the student is drawn to first; 0 */
    int pair_steps;                   /* --pair-steps: steps of DPM-Solver++(2M) that make them, an evaluation each; 16 */
    int pair_iterations;              /* --pair-iterations: so many iterations; 500                               */
    double pair_lr;                   /* --pair-lr: falling by a cosine within them; 0: the student's rate        */
    double pair_weight;               /* --pair-weight: of the distance to them in the student's loss afterwards; 0 */
    int head_width;                   /* --head-width: channels of the heads; 0 = as the tapped features          */
    bool head_cond;                   /* --head-cond: the heads judge an image as one of its class                */
    fd_head_norm head_norm;           /* --head-norm: group, as published, or none                                */
} fd_distill_method;

typedef struct fd_distill_options {
    fd_job_options job;
    fd_distill_method method;
    const char *teacher;              /* --teacher                                                                */
    const char *transfer;             /* --transfer: the student's weights at the start; NULL: the teacher's       */
    fd_lr lr, fake_lr, heads_lr;      /* --lr, --fake-lr, --disc-lr                                               */
    double beta1, beta2, eps, weight_decay;   /* 0.9, 0.999, 1e-8, 0.01                                           */
    /* --ema: several at once. >= 1: half-life in images; below 1: decay per iteration (0.9999), FastGen's way.   */
    double ema[FD_EMAS_MAX];
    int n_ema;
    double dropout;                   /* of the student; 0                                                        */
} fd_distill_options;

fd_distill_method fd_distill_method_defaults(void);
fd_distill_options fd_distill_defaults(void);
fd_status fd_distill(fd_ctx *ctx, const fd_distill_options *o);

#endif
