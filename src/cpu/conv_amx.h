/* conv_amx.h — convolutions of stride 1 by AMX, in bf16 and in f32; one of the algorithms behind conv2d. */
#ifndef FD_CPU_CONV_AMX_H
#define FD_CPU_CONV_AMX_H

#include "cpu/conv_choice.h"

/* Whether it can: processor, types, layouts, shape; never looks at the batch. */
bool fd_amx_suits(const fd_call *c, fd_conv_role role);

/* For calls that suit: forward and data gradient. An image has the same bits in any batch and for any number of threads. */
fd_status fd_amx_prepare(fd_ctx *ctx, fd_call *c, fd_conv_role role);

#endif
