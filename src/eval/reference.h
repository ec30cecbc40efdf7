/* reference.h — statistics of a set in a feature space, as an npz that EDM, pytorch-fid and others read, with an
 * entry of our own that says where the numbers come from.
 *
 *   mu [d], sigma [d][d] float64, divisor n - 1
 *   mu_s, sigma_s: the same of the spatial features of sFID, where asked for; names as in ADM's references
 *   fdistill_features [n][d] float32, where asked for: what KID and precision/recall compare
 *   fdistill_meta: UTF-8 JSON as bytes: n, dataset, feature network (name, digest), resize and uint8 rules, codec of
 *   the pictures, how they were cut (dataset.h), tool
 */
#ifndef FD_EVAL_REFERENCE_H
#define FD_EVAL_REFERENCE_H

#include "base/arena.h"

#define FD_RESIZE_NONE "none: the feature network takes the pictures as they are"
#define FD_UINT8_RULE "x * 127.5 + 128, clamped to 0…255, truncated"

typedef struct fd_provenance {
    bool known;                   /* false: the file said nothing; all else is empty then */
    int64_t n;                    /* pictures                                             */
    char data[256], data_digest[65];
    char features[256], features_digest[65];
    int resolution;
    char resize[96], uint8_rule[96], codec[16], crop[96], tool[64];
} fd_provenance;

typedef struct fd_reference {
    int d;
    double *mu, *sigma;           /* [d], [d][d]; in the arena */
    int ds;                       /* of the spatial statistics in references of ADM's evaluator; 0: none */
    double *mu_s, *sigma_s;
    float *features;              /* [nfeatures][d] or NULL */
    int64_t nfeatures;
    fd_provenance from;
    fd_arena arena;
} fd_reference;

/* Reads the keys of EDM, pytorch-fid, FastGen and ADM's evaluator (mu, sigma, mu_s, sigma_s) and lucidrains' m2, s2, and from a
 * .pkl the fid entry of EDM2's; the
 * features only on request. FORMAT for anything that is no such statistics. Owner: the caller. */
fd_status fd_reference_load(fd_ctx *ctx, const char *path, fd_reference *out);
/* The features of an open reference, from the same file; FORMAT if they do not fit. r->features stays NULL where the file
 * has none. */
fd_status fd_reference_load_features(fd_ctx *ctx, const char *path, fd_reference *r);
void fd_reference_free(fd_reference *r);               /* safe on {0} */
fd_status fd_reference_save(fd_ctx *ctx, const char *path, const fd_reference *r);

#endif
