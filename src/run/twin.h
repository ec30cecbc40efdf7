/* twin.h — device copies of flat host blocks (weights, gradients, moments), shared by all who use the block.
 *
 * A block is known by its host address and the device. Who copies what and when is the business of the executor
 * (exec_device.c) and of the optimiser (train/update.c): a copy that is marked newer is never overwritten from the host.
 */
#ifndef FD_RUN_TWIN_H
#define FD_RUN_TWIN_H

#include "run/backend.h"

typedef struct fd_twin {
    const fd_device *device;
    void *host;
    void *p;                  /* on the device */
    size_t bytes;
    uint64_t version;         /* of the host block when it was copied last; 0: never */
    bool newer;               /* the device's numbers are the newest, the host's are out of date */
    int users;
    struct fd_twin *next;
} fd_twin;

/* The twin of a block, made if there is none. Every get is paired with a put; the block must live until then. */
fd_status fd_twin_get(fd_ctx *ctx, const fd_device *device, const void *host, size_t bytes, fd_twin **out);
void fd_twin_put(fd_twin *t);      /* NULL is allowed */
/* Brings every host block up to date whose twin is newer: before anything of the host reads weights or moments. */
fd_status fd_twins_to_host(fd_ctx *ctx);

#endif
