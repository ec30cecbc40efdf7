/* twin.h — device copies of flat host blocks (weights, gradients), shared by all plans that use the block.
 *
 * A block is known by its host address and the device. Who copies what and when is the executor's business: exec_device.c.
 */
#ifndef FD_RUN_TWIN_H
#define FD_RUN_TWIN_H

#include "run/backend.h"

typedef struct fd_twin {
    const fd_device *device;
    const void *host;
    void *p;                  /* on the device */
    size_t bytes;
    uint64_t version;         /* of the host block when it was copied last; 0: never */
    int users;
    struct fd_twin *next;
} fd_twin;

/* The twin of a block, made if there is none. Every get is paired with a put; the block must live until then. */
fd_status fd_twin_get(fd_ctx *ctx, const fd_device *device, const void *host, size_t bytes, fd_twin **out);
void fd_twin_put(fd_twin *t);      /* NULL is allowed */

#endif
