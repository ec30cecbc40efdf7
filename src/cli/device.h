/* device.h — the options --device and --tune of everything that runs networks. */
#ifndef FD_CLI_DEVICE_H
#define FD_CLI_DEVICE_H

#include "cli/args.h"
#include "run/backend.h"

typedef struct { int name, tune; } fd_device_choice;     /* indices into the words below; {0}: the CPU, as tuned before */

extern const char *const fd_device_names[];       /* "cpu", "cuda", "auto" */
extern const char *const fd_tune_names[];         /* fd_tuning: "known", "on", "off" */

/* Rows of an option table; d is a fd_device_choice. */
#define FD_DEVICE_ROWS(d)                                                                                            \
    {.name = "device", .type = FD_OPT_ENUM, .to = &(d).name, .value = "NAME", .words = fd_device_names,              \
     .help = "Where networks run: the processor, an NVIDIA GPU, or the GPU where there is one."},                    \
    {.name = "tune", .type = FD_OPT_ENUM, .to = &(d).tune, .value = "MODE", .words = fd_tune_names,                  \
     .help = "Convolutions on the processor: the way that was measured to be the faster one before, else by rules; also measure " \
             "what is missing and keep it; rules alone."}

/* Sets ctx->tune. UNSUPPORTED with the reason where a GPU was asked for and there is none, and for what several ranks
 * cannot do. */
fd_status fd_device_open(fd_ctx *ctx, fd_device_choice device, const fd_backend **out);

#endif
