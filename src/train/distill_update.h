/* distill_update.h — one iteration of f-distill: a student step or a critic step, the optimisers, the averages.
 *
 * Iterations count from 1. Every freq-th trains the student, the others the fake score and the heads. The averages of
 * the student move in every iteration, also those that do not change it, as in the published code. A step with a
 * non-finite loss or gradient is left out whole: weights, moments, averages and ratio stay as they were.
 *
 * Before that a student may be drawn towards the teacher's own images (pairs.h): fd_distill_approach.
 */
#ifndef FD_TRAIN_DISTILL_UPDATE_H
#define FD_TRAIN_DISTILL_UPDATE_H

#include "train/distiller.h"
#include "train/update.h"

enum { FD_STUDENT, FD_FAKE, FD_HEADS, FD_TRAINED_NETS };

/* All that training changes besides the weights; what a state file must hold. */
typedef struct {
    fd_ratio ratio;
    struct { float *m, *v; double steps; } adam[FD_TRAINED_NETS];   /* [trained] each; heads: NULL without heads */
    float *ema[FD_EMAS_MAX];                                        /* [total] of the student */
    int n_ema;
    fd_updater updater;                                             /* where the distiller's backend works */
    fd_arena arena;
} fd_distill_progress;

/* Moments zero, averages copies of the student as it is now. */
fd_status fd_distill_progress_new(fd_ctx *ctx, const fd_distill_method *m, const fd_distill_nets *nets, int n_ema,
                                  fd_distill_progress *p);
void fd_distill_progress_free(fd_distill_progress *p);

typedef struct {
    bool was_student, skipped;
    fd_student_step student;               /* valid if was_student, else critic is */
    fd_critic_step critic;
    fd_grad_stats grad[FD_TRAINED_NETS];   /* of the nets this iteration trains */
    double pairs;                          /* distance to the pairs' images, of fd_distill_approach or with a pair_weight */
    double clip;                           /* factor on the student's gradient, 1 = none */
    const char *culprit_scope, *culprit_op;   /* skipped: the first layer with a non-finite number, if one is found */
} fd_iteration;

/* Noise (the z, labels and first of b) and the images [batch,C,R,R] that the student should make of it. */
typedef struct { fd_distill_batch b; const float *target; } fd_distill_pairs;

/* optimiser: settings per net, learning rates of this iteration included. ema_beta: share of the old average kept, one
 * per average. pairs: for student steps with a pair_weight; else NULL. */
fd_status fd_distill_iterate(fd_ctx *ctx, fd_distiller *d, const fd_distill_method *m, const fd_distill_nets *nets,
                             fd_distill_progress *p, int64_t iteration, const fd_distill_batch *b, const fd_distill_pairs *pairs,
                             const fd_adam optimiser[FD_TRAINED_NETS], const double *ema_beta, fd_iteration *out);

/* Instead: one step of the student towards the pairs' images alone. Only the student and its averages move. out: was_student,
 * skipped, pairs, grad, clip and the culprit. */
fd_status fd_distill_approach(fd_ctx *ctx, fd_distiller *d, const fd_distill_method *m, const fd_distill_nets *nets,
                              fd_distill_progress *p, const fd_distill_pairs *pairs,
                              const fd_adam optimiser[FD_TRAINED_NETS], const double *ema_beta, fd_iteration *out);

#endif
