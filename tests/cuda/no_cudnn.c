/* no_cudnn.c — the emulated device has no cuDNN: convolutions run on the project's own kernels. */
#include "cuda/conv.h"

fd_status fd_cudnn_prepare(fd_ctx *ctx, fd_call *c, fd_conv_role role) { return FD_E_UNSUPPORTED; }
fd_status fd_cudnn_run(fd_ctx *ctx, const fd_call *c, fd_conv_role role) { return FD_E_UNSUPPORTED; }
void fd_cudnn_release(void *state) {}
const char *fd_cudnn_describe(void) { return "none (emulated device)"; }
bool fd_cudnn_usable(void) { return false; }
