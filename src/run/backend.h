/* backend.h — a table of kernels, one per op, and what the planner must know of a device.
 *
 * A backend first fills its table with the references and then overrides entries: a missing optimisation is slow,
 * never wrong.
 */
#ifndef FD_RUN_BACKEND_H
#define FD_RUN_BACKEND_H

#include "graph/op.h"

typedef struct fd_kernel {
    /* Optional. Called once per node at plan time with shapes, blocks, attributes and threads set but no pointers: sets
     * c->state, c->work_bytes, c->algo. FD_E_UNSUPPORTED (without a message) makes the planner fall back on the reference. */
    fd_status (*prepare)(fd_ctx *ctx, fd_call *c);
    fd_status (*run)(fd_ctx *ctx, const fd_call *c);
    void (*release)(void *state);
} fd_kernel;

typedef struct fd_backend {
    const char *name;                 /* "cpu", "reference" */
    fd_kernel kernel[FD_OP_COUNT];
    /* Channel block for a value of this shape and type; must divide s.c. */
    int (*block)(fd_shape s, fd_dtype dt);
} fd_backend;

/* The plain references for every op, NCHW: slow, the judge of all others. */
const fd_backend *fd_backend_reference(void);
/* Fills a table with the references (for backends that then override entries). */
void fd_backend_fill_reference(fd_backend *b);
/* oneDNN + OpenMP (src/cpu/backend_cpu.c). */
const fd_backend *fd_backend_cpu(void);

#endif
