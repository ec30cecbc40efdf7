/* checkpoint_parts.h — between opening a checkpoint and finding its trees; internal to src/io. */
#ifndef FD_IO_CHECKPOINT_PARTS_H
#define FD_IO_CHECKPOINT_PARTS_H

#include "io/checkpoint.h"
#include "io/pickle_parts.h"

/* Fills tree and array from root. */
fd_status fd_checkpoint_walk(fd_ctx *ctx, fd_checkpoint *c);

#endif
