/* device.h — the option --device of everything that runs networks. */
#ifndef FD_CLI_DEVICE_H
#define FD_CLI_DEVICE_H

#include "cli/args.h"
#include "run/backend.h"

extern const char *const fd_device_names[];       /* "cpu", "cuda", "auto" */

/* Row of an option table; d is an int variable, 0 = cpu. */
#define FD_DEVICE_ROW(d)                                                                                             \
    {.name = "device", .type = FD_OPT_ENUM, .to = &(d), .value = "NAME", .words = fd_device_names,                   \
     .help = "Where networks run: the processor, an NVIDIA GPU, or the GPU where there is one."}

/* UNSUPPORTED with the reason where a GPU was asked for and there is none, or by one of several ranks. */
fd_status fd_device_open(fd_ctx *ctx, int device, const fd_backend **out);

#endif
