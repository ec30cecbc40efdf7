/* distiller.h — f-distill on one batch whose random numbers are given: losses and gradients of student, fake score and
 * discriminator heads (arXiv 2502.15681; the published CIFAR-10 training code where the paper is silent).
 *
 *   student   G = S(sigma_max z),  x_t = G + t eps,  r = exp(mean logit(x_t)),  h from the ratio pipeline (fdiv/ratio.h)
 *             w  = h / (mean |G - D_teacher| + 1e-6)
 *             dL/dG = w (D_fake - D_teacher) / (B C H W) + lambda d/dG mean softplus(-logit(x_t))
 *             with a gan_limit, lambda is less where the second part's norm would exceed gan_limit times the first's
 *   critic    mean weight (D_fake(x_t) - G)^2  and  mean softplus(logit(x_t)) + mean softplus(-logit(real_t))
 *
 * The batch is worked through in passes of n samples. Whatever looks at the whole batch (ratio, normalisation, means)
 * is computed once from the gathered numbers of all passes, so cutting the batch changes the order of sums only. The same
 * holds for ranks (comm/comm.h): each works through its own samples, and B below is the batch of all ranks together. Losses
 * and shares are of the whole batch then, on every rank; gradients are not yet summed over the ranks.
 *
 * The networks run in views (view.h) that share their weights: student forward and backward from an injected image
 * gradient; teacher with tapped encoder, heads and their gradient at the image; fake score forward and backward;
 * teacher encoder alone for the heads' own training. All but the student's share one block of memory.
 */
#ifndef FD_TRAIN_DISTILLER_H
#define FD_TRAIN_DISTILLER_H

#include "train/distill.h"
#include "train/optim.h"
#include "train/view.h"

/* heads may be NULL where nothing needs them: no GAN term and a divergence with h = 1. Borrowed. */
typedef struct { fd_net *student, *teacher, *fake, *heads; } fd_distill_nets;

typedef struct {
    const fd_distill_method *method;     /* borrowed; may change between steps except taps and r1_weight > 0 or not */
    int batch, n;                        /* samples per step on this rank, as many on each; per pass (divides batch) */
    fd_dtype dtype;
    uint64_t dropout_seed;               /* student's dropout */
    const fd_backend *backend;           /* NULL: the CPU backend */
} fd_distiller_spec;

/* Random numbers and data of one step, the `batch` samples of this rank: normals z, eps [batch,C,R,R], noise levels
 * t [batch], labels [batch,label_dim] or NULL. Critic steps also: real images in [-1,1], eps_real, t_real, and r1_noise if
 * r1_weight > 0. */
typedef struct {
    const float *z, *eps, *labels;
    const double *t;
    const float *real, *eps_real, *r1_noise;
    const double *t_real;
    uint64_t first;                      /* index of the first sample, for dropout */
} fd_distill_batch;

/* Everything a student step passes through, for health reports and tests; memory of the distiller, the samples of this rank,
 * overwritten by the next step. */
typedef struct {
    float *g, *x_t, *d_fake, *d_teacher;           /* [batch,C,R,R] */
    float *logits;                                 /* [batch,heads] of the generated images */
    float *h, *w;                                  /* [batch] */
    float *dg, *dg_gan;                            /* [batch,C,R,R]: total gradient at G; of the GAN loss alone, without lambda */
    double loss, loss_vsd, loss_gan;
    double norm_vsd, norm_gan;                     /* L2 norms of the two parts of dg, lambda included */
    fd_ratio_stats ratio;
} fd_student_step;

typedef struct {
    float *g, *x_t, *d_fake;                       /* [batch,C,R,R] */
    float *logits_fake, *logits_real, *logits_r1;  /* [batch,heads] */
    double loss, loss_fake_score, loss_disc, loss_r1;
    double accuracy_fake, accuracy_real;           /* share of the logits with the right sign */
} fd_critic_step;

/* New heads on the teacher's encoder as the method has them, random from the seed; sets m->taps if it names none. *out stays NULL
 * where nothing needs heads. */
fd_status fd_distill_heads(fd_ctx *ctx, const fd_net *teacher, uint64_t seed, fd_distill_method *m, fd_net **out);

typedef struct fd_distiller fd_distiller;

/* SHAPE and ARG errors when the nets do not belong together. Makes the gradient arrays: one that student and fake score share,
 * and the heads'. */
fd_status fd_distiller_new(fd_ctx *ctx, const fd_distiller_spec *spec, const fd_distill_nets *nets, fd_distiller **out);
void fd_distiller_free(fd_distiller *d);

/* Adds the gradient to student->params.g; updates ratio once. stages (may be NULL) as in fd_ratio_apply. NUMERIC, with
 * `ratio` unchanged, when a logit is not finite. */
fd_status fd_distiller_student(fd_ctx *ctx, fd_distiller *d, const fd_distill_batch *b, fd_ratio *ratio,
                               const fd_ratio_stages *stages, fd_student_step *out);
/* Towards given images, target [batch,C,R,R]: adds the gradient of weight times the mean of far / (far + 0.03) over the images,
 * far = mean sqrt(gap^2 + 0.1^2) - 0.1, gap = G - target, to student->params.g. Of b only z, labels and first are looked at. The loss,
 * from 0 (all images met) to 1, without the weight, is of all ranks. */
fd_status fd_distiller_regress(fd_ctx *ctx, fd_distiller *d, const fd_distill_batch *b, const float *target, double weight,
                               double *loss);
/* Adds gradients to fake->params.g and heads->params.g. */
fd_status fd_distiller_critic(fd_ctx *ctx, fd_distiller *d, const fd_distill_batch *b, fd_critic_step *out);
/* The student's images of latents z [n,C,R,R] (n: samples per pass), with the weights it has now. */
fd_status fd_distiller_generate(fd_ctx *ctx, fd_distiller *d, const float *z, const float *labels, float *images);

/* After a step that gave non-finite numbers: the first layer (scope and op) of the last pass whose output has one; NULL
 * if none is found. Adds to the gradients: for diagnosis of a step that is thrown away. */
fd_status fd_distiller_find_nonfinite(fd_ctx *ctx, fd_distiller *d, bool was_student, const char **scope, const char **op);

/* Which tensors the gradients reach: optimisers leave the others alone (an unused map_augment, say, must not decay).
 * Ranges of the flat arrays, memory of the distiller. */
typedef struct { const fd_range *list; int n; } fd_ranges;
fd_ranges fd_distiller_student_ranges(const fd_distiller *d);
fd_ranges fd_distiller_fake_ranges(const fd_distiller *d);
fd_ranges fd_distiller_heads_ranges(const fd_distiller *d);

const fd_device *fd_distiller_device(const fd_distiller *d);      /* NULL: the host */

/* Bytes of all plans (activations, inputs, workspace). */
size_t fd_distiller_bytes(const fd_distiller *d);

#endif
