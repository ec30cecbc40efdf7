/* api.h — what the files of the public API share. */
#ifndef FD_API_API_H
#define FD_API_API_H

#include <string.h>

#include "fdistill.h"
#include "models/net.h"

struct fdistill_context { fd_ctx c; };

struct fdistill_net {
    fd_net *net;
    char digest[65];
    /* The plan of the last call to fdistill_generate, for the next one. */
    fd_denoiser *denoiser;
    int batch, threads;
    fd_dtype dtype;
};

/* Starts a public call: forgets the last failure. A context must be given. */
static inline fd_ctx *fd_api_enter(fdistill_context *ctx) {
    fd_clear(&ctx->c);
    return &ctx->c;
}

/* A caller's structure into ours, whichever is longer: what the caller does not know keeps its default. `last` is the
 * offset of the last member of its first version; false when the size cannot be right. */
static inline bool fd_api_take(void *ours, size_t our_size, const void *theirs, size_t last) {
    size_t size = *(const size_t *)theirs;
    if (size <= last || size > 65536) return false;
    memcpy(ours, theirs, size < our_size ? size : our_size);
    return true;
}

#endif
