/* state.h — a training state: every array a run needs to go on with the same bits, in one safetensors file.
 *
 * The file appears under its name only when it is complete (written beside it, synced, renamed), so whatever kills the
 * program leaves the previous state whole. The run's options travel in the metadata and are compared on resume.
 */
#ifndef FD_TRAIN_STATE_H
#define FD_TRAIN_STATE_H

#include "io/safetensors.h"

#define FD_STATE_ITEMS 96

typedef struct { char name[48]; fd_st_dtype dtype; void *data; int64_t count; } fd_state_item;
typedef struct { fd_state_item list[FD_STATE_ITEMS]; int n; } fd_state;    /* borrowed pointers */

fd_status fd_state_add(fd_ctx *ctx, fd_state *s, const char *name, fd_st_dtype dtype, void *data, int64_t count);
fd_status fd_state_save(fd_ctx *ctx, const fd_state *s, const char *path, const char *options);
/* Strict: the file must hold exactly these items with these counts, and the same options text. Nothing is changed
 * unless all of it fits. */
fd_status fd_state_load(fd_ctx *ctx, const fd_state *s, const char *path, const char *options);

#endif
