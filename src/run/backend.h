/* backend.h — a table of kernels, one per op, and what the planner must know of a device.
 *
 * A backend in this process's memory first fills its table with the references and then overrides entries: a missing
 * optimisation is slow, never wrong. One whose operands lie in the memory of a device has a kernel for every op; where a
 * kernel cannot, planning fails with its message.
 */
#ifndef FD_RUN_BACKEND_H
#define FD_RUN_BACKEND_H

#include "graph/op.h"
#include "run/flat.h"

typedef struct fd_kernel {
    /* Optional. Called once per node at plan time with shapes, blocks, attributes and threads set but no pointers: sets
     * c->state, c->work_bytes, c->algo. FD_E_UNSUPPORTED (without a message) makes the planner fall back on the reference. */
    fd_status (*prepare)(fd_ctx *ctx, fd_call *c);
    fd_status (*run)(fd_ctx *ctx, const fd_call *c);
    void (*release)(void *state);
} fd_kernel;

/* The memory of a device and the order of its work. Kernels and `put` queue work and return; it is done in order. */
typedef struct fd_device {
    fd_status (*alloc)(fd_ctx *ctx, size_t bytes, void **out);                /* contents undefined; NOMEM */
    void (*release)(void *p);                                                 /* NULL is allowed */
    fd_status (*zero)(fd_ctx *ctx, void *p, size_t bytes);
    fd_status (*put)(fd_ctx *ctx, void *to, const void *from, size_t bytes);  /* `from` may change after the call */
    fd_status (*get)(fd_ctx *ctx, void *to, const void *from, size_t bytes);  /* after all work queued before */
    fd_status (*wait)(fd_ctx *ctx);
    /* What kernels queue between the first two is not done but put on a tape, which replay queues as a whole. */
    fd_status (*record)(fd_ctx *ctx);
    fd_status (*recorded)(fd_ctx *ctx, void **tape);
    fd_status (*replay)(fd_ctx *ctx, void *tape);
    void (*forget)(void *tape);
    /* x [n] on the device becomes the sum over the ranks, queued like a kernel; *done false, on all ranks, where that is not possible
     * here: then it has to go through the host. Called by every rank. */
    fd_status (*sum)(fd_ctx *ctx, float *x, int64_t n, bool *done);
    const fd_flat *flat;
    bool (*memory)(size_t *used, size_t *total);      /* of the whole device, whoever uses it; false: unknown */
    const char *(*describe)(void);      /* the device and its libraries, for reports */
} fd_device;

typedef struct fd_backend {
    const char *name;                 /* "cpu", "reference", "cuda" */
    const fd_device *device;          /* where operands lie; NULL: in this process's memory */
    /* An image's bits may depend on the batch it is in (library convolutions choose by shape). */
    bool batch_decides_bits;
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
/* The first NVIDIA GPU (cuda/backend_cuda.c); UNSUPPORTED with the reason when there is none. Only where the build has
 * it: use fd_backend_choose. */
fd_status fd_backend_cuda(fd_ctx *ctx, const fd_backend **out);
/* "cpu"; "cuda", or why not (UNSUPPORTED); "auto": the GPU when there is one, else the CPU; "reference". */
fd_status fd_backend_choose(fd_ctx *ctx, const char *device, const fd_backend **out);

#endif
