/* conv_amx.h — convolutions of stride 1 by AMX, in bf16 and in f32; one of the algorithms behind conv2d. */
#ifndef FD_CPU_CONV_AMX_H
#define FD_CPU_CONV_AMX_H

#include "cpu/conv_choice.h"

/* Whether it can: processor, types, layouts, shape; never looks at the batch. */
bool fd_amx_suits(const fd_call *c, fd_conv_role role);

/* For calls that suit. Forward and data gradient give an image the same bits in any batch; no result depends on the number of
 * threads. */
fd_status fd_amx_prepare(fd_ctx *ctx, fd_call *c, fd_conv_role role);

/* The weights' gradient, for the file above only. */
bool fd_amx_suits_bwd_w(const fd_call *c);
fd_status fd_amx_prepare_bwd_w(fd_ctx *ctx, fd_call *c);

#endif
