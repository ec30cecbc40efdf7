/* backend_reference.c — the plain loops of src/op as a backend: NCHW, no preparation. */
#include <pthread.h>

#include "run/backend.h"

#define FD_OP(name, in, out, diff)                                    \
    static fd_status run_##name(fd_ctx *ctx, const fd_call *c) {      \
        fd_ref_##name(c);                                             \
        return FD_OK;                                                 \
    }
#include "ops.def"
#undef FD_OP

void fd_backend_fill_reference(fd_backend *b) {
#define FD_OP(name, in, out, diff) b->kernel[FD_OP_##name] = (fd_kernel){.run = run_##name};
#include "ops.def"
#undef FD_OP
}

static int plain_block(fd_shape s, fd_dtype dt) { return 1; }

static fd_backend reference = {.name = "reference", .block = plain_block};
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void fill(void) { fd_backend_fill_reference(&reference); }

const fd_backend *fd_backend_reference(void) {
    pthread_once(&once, fill);
    return &reference;
}
