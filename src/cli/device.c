#include "cli/device.h"

const char *const fd_device_names[] = {"cpu", "cuda", "auto", NULL};
const char *const fd_tune_names[] = {"known", "on", "off", NULL};

fd_status fd_device_open(fd_ctx *ctx, fd_device_choice device, const fd_backend **out) {
    ctx->tune = (fd_tuning)device.tune;
    FD_TRY(fd_backend_choose(ctx, fd_device_names[device.name], out));
    if (ctx->comm && ctx->tune == FD_TUNE_ON)
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "--tune on: several ranks would not measure the same; run 'fdistill bench' with it "
                       "first, with the --threads of one rank, and leave it out here");
    return FD_OK;
}
