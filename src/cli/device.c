#include "cli/device.h"

const char *const fd_device_names[] = {"cpu", "cuda", "auto", NULL};

fd_status fd_device_open(fd_ctx *ctx, int device, const fd_backend **out) {
    FD_TRY(fd_backend_choose(ctx, fd_device_names[device], out));
    if (ctx->comm && (*out)->device)
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "--device %s: several ranks work on the CPU only; give --device cpu, or start without "
                       "mpirun", fd_device_names[device]);
    return FD_OK;
}
