#include "cli/device.h"

const char *const fd_device_names[] = {"cpu", "cuda", "auto", NULL};

fd_status fd_device_open(fd_ctx *ctx, int device, const fd_backend **out) {
    return fd_backend_choose(ctx, fd_device_names[device], out);
}
