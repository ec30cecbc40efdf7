/* net_file.h — between network files and the importer; internal to models/.
 *
 * A "view" is an fd_safetensors whose tensors carry our names and whose metadata is that of our files, wherever it came
 * from: a file of ours, or an imported checkpoint whose tensors still lie in their own file.
 */
#ifndef FD_MODELS_NET_FILE_H
#define FD_MODELS_NET_FILE_H

#include "io/safetensors.h"
#include "models/net.h"

#define FD_NET_META_MAX 24

/* The metadata of a file: configuration, provenance, ModelSpec keys. meta has room for FD_NET_META_MAX. */
fd_status fd_net_metadata(fd_ctx *ctx, fd_arena *a, const fd_net_config *config, const fd_net_meta *from,
                          fd_st_meta *meta, int *n);
/* Loads the network a view describes. Strict: see net.h. */
fd_status fd_net_from_view(fd_ctx *ctx, const fd_safetensors *view, fd_net **out);
/* The same checks, without memory for the weights; the tensors come out in the order of our files, all float32, filters
 * that were absent filled in. Arrays in the arena, data where it lies in the view. */
fd_status fd_net_check_view(fd_ctx *ctx, const fd_safetensors *view, fd_arena *a, fd_st_tensor **out, int *n,
                            int64_t *parameters);
/* A resample filter from its taps. */
void fd_net_filter(const fd_init *f, float *w);

#endif
