/* measure.h — moments of a source's pictures in the feature space of a classifier. */
#ifndef FD_EVAL_MEASURE_H
#define FD_EVAL_MEASURE_H

#include "eval/moments.h"
#include "eval/reference.h"
#include "eval/image_source.h"

/* Reads every picture once, in batches, as x / 127.5 - 1; gray pictures are repeated for a colour feature network.
 * ARG if the network is no classifier or made for another size: nothing is resized. A progress bar named `what`.
 * Owner of *out: the caller (fd_moments_free). FD_E_CANCELLED after a signal. */
fd_status fd_measure_moments(fd_ctx *ctx, fd_image_source *s, fd_net *features, int batch, const char *what,
                             fd_moments *out);

/* The moments with their provenance. `name` of the feature network. Owner of *out: the caller. */
fd_status fd_measure_reference(fd_ctx *ctx, fd_image_source *s, fd_net *features, const char *name, int batch,
                               const char *what, fd_reference *out);

/* "cifar10-features" for "/a/cifar10-features.safetensors"; the title of the file's metadata if it has one. */
void fd_feature_net_name(const fd_net *net, const char *path, char out[256]);

#endif
