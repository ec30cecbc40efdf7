/* scores.h — the numbers that compare a measured set with a reference, chosen by a list of words. */
#ifndef FD_EVAL_SCORES_H
#define FD_EVAL_SCORES_H

#include "eval/fd_infinity.h"
#include "eval/frechet.h"
#include "eval/kid.h"
#include "eval/measure.h"
#include "eval/prdc.h"

typedef enum {
    FD_SCORE_FD = 1,              /* Fréchet distance of the moments                                    */
    FD_SCORE_KID = 2,             /* of the whole sets and over subsets                                 */
    FD_SCORE_PRDC = 4,            /* precision, recall, density, coverage; ties count as inside          */
    FD_SCORE_IS = 8,              /* from the logits; needs no reference                                */
    FD_SCORE_FD_INFINITY = 16,
    FD_SCORE_SPATIAL = 32         /* Fréchet distance of the spatial features' moments: sFID            */
} fd_score;
#define FD_SCORE_WORDS "fd, kid, prdc, is, fd-infinity, sfd"
/* "fd,kid" to FD_SCORE_FD | FD_SCORE_KID; fid is fd. ARG for another word. */
fd_status fd_score_parse(fd_ctx *ctx, const char *list, unsigned *out);
static inline bool fd_score_needs_reference(unsigned which) { return which & ~(unsigned)FD_SCORE_IS; }
/* Features of every picture of the reference, not only their moments. */
static inline bool fd_score_needs_real_features(unsigned which) { return which & (FD_SCORE_KID | FD_SCORE_PRDC); }
static inline bool fd_score_needs_features(unsigned which) {
    return which & (FD_SCORE_KID | FD_SCORE_PRDC | FD_SCORE_FD_INFINITY);
}

typedef struct fd_score_spec {
    unsigned which;
    int kid_subsets, kid_size;    /* 100 of 1000, the usual; a size above that of a set is cut to it */
    int nearest;                  /* k of precision and recall: 3 */
    int splits;                   /* of the Inception score: 10, one after the other in the order of the pictures */
    uint64_t seed;                /* of the subsets */
} fd_score_spec;
#define FD_SCORE_DEFAULTS {.which = FD_SCORE_FD, .kid_subsets = 100, .kid_size = 1000, .nearest = 3, .splits = 10}

typedef struct fd_scores {        /* what was asked for */
    fd_frechet_result fd, spatial;
    double kid;
    fd_kid_result kid_subsets;
    fd_prdc_result prdc;
    double is_mean, is_std;
    fd_infinity_result infinity;
} fd_scores;

/* ref may be NULL for the Inception score alone. ARG if features or logits were not kept. */
fd_status fd_scores_compute(fd_ctx *ctx, const fd_score_spec *spec, const fd_measured *mine, const fd_reference *ref,
                            fd_scores *out);

#endif
