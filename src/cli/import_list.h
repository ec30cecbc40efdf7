/* import_list.h — what a file of weights contains, as text or JSON on standard output. */
#ifndef FD_CLI_IMPORT_LIST_H
#define FD_CLI_IMPORT_LIST_H

#include "io/checkpoint.h"

/* JSON: {"file", "format", "trees": {path: {tensor: {dtype, shape, sum, crc32}}}, …}. sum is taken in float64 (null if
 * it is not finite), crc32 over the values as little-endian float32 in row-major order; both null for types that
 * cannot be converted. Arrays: {"arrays": {path: nested lists}}, big ones as dtype and shape only. EDM's pickles: also
 * class_name, init_kwargs, dataset_kwargs, loss. safetensors: also metadata. */
fd_status fd_import_list(fd_ctx *ctx, const fd_checkpoint *c, bool json);

#endif
