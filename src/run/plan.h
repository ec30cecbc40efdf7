/* plan.h — where every value lives: lifetimes in, offsets out. Pure arithmetic, knows no tensors. */
#ifndef FD_RUN_PLAN_H
#define FD_RUN_PLAN_H

#include "base/arena.h"

/* Something that needs `bytes` from step `first` to step `last`, both included. */
typedef struct fd_slot {
    size_t bytes;
    int first, last;
    size_t offset;      /* result, a multiple of FD_ALIGN */
} fd_slot;

/* Places all slots so that no two that are alive at the same step overlap; *total = end of the highest. Largest first,
 * each at the lowest offset that is free for its whole life: within a few per cent of the live bound on U-Nets. */
fd_status fd_plan_place(fd_ctx *ctx, fd_slot *slot, int n, size_t *total);

#endif
