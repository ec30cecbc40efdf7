/* divergence.h — the eight f-divergences, as functions of the log ratio l = log r, r = p_teacher / q_student.
 *
 *   D_f(p||q) = E_q[ f(r) ],   f convex, f(1) = 0
 *   gradient with respect to the student:  -E[ h(r) (score_p - score_q) dG ],   h(r) = f''(r) r^2
 *
 * Everything is a function of l, because that is what a discriminator's logit estimates, and because forms in l keep
 * their relative accuracy near r = 1, where f vanishes. Accurate to 1e-12 relative for l in [-20, 20].
 * Source: f-distill, arXiv 2502.15681, Table 1; Pearson and reverse KL from the definitions.
 */
#ifndef FD_FDIV_DIVERGENCE_H
#define FD_FDIV_DIVERGENCE_H

#include "base/err.h"

typedef struct fd_divergence {
    const char *name;        /* what users type: rkl sf js sh kl jf neyman pearson                      */
    const char *title;       /* for people: "forward KL"                                                */
    const char *aliases;     /* other spellings, separated by spaces                                    */
    const char *character;   /* one phrase: does it seek modes or cover them, how noisy is h            */
    bool constant;           /* h = 1 whatever r is: no ratio needed, no normalisation (reverse KL)     */
    double (*f)(double l);
    double (*df)(double l);  /* derivative with respect to r, not l                                     */
    double (*d2f)(double l);
    double (*h)(double l);   /* f''(r) r^2                                                              */
    /* The weighting used in training: proportional to h (the mean over the batch is divided out later), without the
     * constants of sh (1/4), neyman (2) and pearson (2), and with neyman's r kept above 1e-8. */
    double (*weight)(double l);
    float (*weight_r)(float r);   /* the same in float, from r > 0, in the order of operations of the training code */
} fd_divergence;

#define FD_DIVERGENCES 8

/* Row i of the table, 0 <= i < FD_DIVERGENCES, in the order rkl sf js sh kl jf neyman pearson; NULL outside. */
const fd_divergence *fd_divergence_at(int i);
/* By name, title or alias; case and the characters '-', '_' and ' ' do not matter. ARG, listing the names, if there
 * is none. */
fd_status fd_divergence_find(fd_ctx *ctx, const char *name, const fd_divergence **out);

#endif
