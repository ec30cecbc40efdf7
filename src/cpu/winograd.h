/* winograd.h — 3x3 convolutions by Winograd's F(4x4, 3x3), one of the algorithms behind conv2d. */
#ifndef FD_CPU_WINOGRAD_H
#define FD_CPU_WINOGRAD_H

#include "cpu/cpu.h"

/* The three uses of a convolution; see conv2d.c. */
typedef enum { FD_CONV_FORWARD, FD_CONV_BWD_X, FD_CONV_BWD_W } fd_conv_role;

/* What every algorithm's state begins with. */
typedef struct fd_conv_state {
    fd_status (*run)(fd_ctx *ctx, const fd_call *c);
    void (*release)(void *state);
} fd_conv_state;

/* FD_E_UNSUPPORTED without a message when shape, layout or FD_CONV speak against it. Forward and data gradient give
 * an image the same bits in any batch and with any number of threads. */
fd_status fd_winograd_prepare(fd_ctx *ctx, fd_call *c, fd_conv_role role);

#endif
