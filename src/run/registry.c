/* registry.c — backends by name; the only place that knows which of them this build has. */
#include <string.h>

#include "run/backend.h"

#ifdef FD_HAVE_CUDA
static fd_status open_cuda(fd_ctx *ctx, const fd_backend **out) { return fd_backend_cuda(ctx, out); }
#else
static fd_status open_cuda(fd_ctx *ctx, const fd_backend **out) {
    return FD_FAIL(ctx, FD_E_UNSUPPORTED, "this fdistill was built without CUDA; build it where CMake finds nvcc and "
                   "cuDNN (-DFD_CUDA=ON)");
}
#endif

fd_status fd_backend_choose(fd_ctx *ctx, const char *device, const fd_backend **out) {
    *out = NULL;
    if (!strcmp(device, "reference")) *out = fd_backend_reference();
    if (!strcmp(device, "cpu")) *out = fd_backend_cpu();
    if (*out) return FD_OK;
    if (!strcmp(device, "cuda")) {
        if (open_cuda(ctx, out) == FD_OK) return FD_OK;
        return fd_while(ctx, "--device cuda");
    }
    if (strcmp(device, "auto"))
        return FD_FAIL(ctx, FD_E_ARG, "--device: '%s' is none of auto, cpu, cuda", device);
    fd_ctx why = {0};      /* no GPU is no failure here */
    if (open_cuda(&why, out) != FD_OK) *out = fd_backend_cpu();
    return FD_OK;
}
