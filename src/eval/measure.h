/* measure.h — a source's pictures in the feature space of a network: their moments, and on request the features and logits
 * themselves. */
#ifndef FD_EVAL_MEASURE_H
#define FD_EVAL_MEASURE_H

#include "eval/image_source.h"
#include "eval/inception_input.h"
#include "eval/moments.h"
#include "eval/reference.h"

typedef struct fd_measure_spec {
    fd_net *net;                  /* a classifier, or Inception */
    const char *name;             /* of the network: fd_feature_net_name */
    fd_resize_rule resize;        /* Inception only */
    int batch;                    /* pictures read, or generated, at a time; changes no bit of the result */
    bool keep_features, keep_logits;
    bool spatial;                 /* also the moments of Inception's spatial features: stats.mu_s and sigma_s */
    const char *what;             /* of the progress bar */
} fd_measure_spec;

typedef struct fd_measured {
    fd_reference stats;           /* with its provenance; features where they were kept */
    float *logits;                /* [n][classes], where they were kept */
    int classes;
    fd_arena arena;
} fd_measured;

/* Reads every picture once. Inception takes any size (inception_input.h); a classifier those of its own size as
 * x / 127.5 - 1, nothing is resized. Gray pictures are repeated for a colour network. ARG if the network gives no
 * features (or no spatial ones where they are asked for), the pictures do not fit, or there are fewer than two. FD_E_CANCELLED after a signal. The same bits for any
 * batch, number of threads and of ranks (comm/comm.h), who share the pictures; rank 0 gets the result, others zeros.
 * Owner of *out: the caller (fd_measured_free). */
fd_status fd_measure(fd_ctx *ctx, fd_image_source *s, const fd_measure_spec *spec, fd_measured *out);
void fd_measured_free(fd_measured *m);                        /* safe on {0} */

/* "cifar10-features" for "/a/cifar10-features.safetensors"; the title of the file's metadata if it has one. */
void fd_feature_net_name(const fd_net *net, const char *path, char out[256]);
/* Is a distance in this network's features what the literature calls FID? */
bool fd_is_fid(const fd_net *net);
/* How pictures get to the size of the network, as provenance has it. */
const char *fd_measure_resize_words(const fd_net *net, fd_resize_rule rule);

#endif
