/* Context, version and status names of the public API. */
#include "api/api.h"
#include "base/version.h"

/* Statuses go through the API by number. */
#define SAME(a, b) _Static_assert((int)(a) == (int)(b), #a " and " #b " differ")
SAME(FD_OK, FDISTILL_OK);
SAME(FD_E_ARG, FDISTILL_E_ARG);
SAME(FD_E_SHAPE, FDISTILL_E_SHAPE);
SAME(FD_E_FORMAT, FDISTILL_E_FORMAT);
SAME(FD_E_IO, FDISTILL_E_IO);
SAME(FD_E_NOMEM, FDISTILL_E_NOMEM);
SAME(FD_E_UNSUPPORTED, FDISTILL_E_UNSUPPORTED);
SAME(FD_E_NUMERIC, FDISTILL_E_NUMERIC);
SAME(FD_E_DEVICE, FDISTILL_E_DEVICE);
SAME(FD_E_CANCELLED, FDISTILL_E_CANCELLED);

const char *fdistill_version(void) { return fd_version(); }

const char *fdistill_status_name(fdistill_status status) { return fd_status_name((fd_status)status); }

fdistill_context *fdistill_context_new(void) {
    fdistill_context *ctx = fd_alloc(NULL, sizeof *ctx);
    if (ctx) ctx->c.quiet = ctx->c.silent = true;
    return ctx;
}

void fdistill_context_free(fdistill_context *ctx) { fd_free(ctx); }

void fdistill_context_threads(fdistill_context *ctx, int threads) { ctx->c.threads = threads > 0 ? threads : 0; }

const char *fdistill_message(const fdistill_context *ctx) { return ctx->c.message; }
