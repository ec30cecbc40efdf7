/* backend_cpu.c — the default backend: oneDNN convolutions, vectorised loops for the rest, on values in blocks of channels or,
 * where there is AMX, channels last.
 *
 * An op without an entry here runs its reference.
 */
#include <pthread.h>

#include "cpu/cpu.h"

/* The widest block that divides the channels: 16 also where vectors are shorter, so that layouts do not depend on
 * them. */
static int block(fd_shape s, fd_dtype dt) {
    (void)dt;
    if (s.c % 16 == 0) return fd_cpu_channels_last() ? (int)s.c : 16;
    return s.c % 8 == 0 ? 8 : 1;
}

static fd_backend cpu = {.name = "cpu", .block = block};
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill(void) {
    fd_backend_fill_reference(&cpu);
    cpu.kernel[FD_OP_conv2d] = fd_cpu_conv2d;
    cpu.kernel[FD_OP_conv2d_bwd_x] = fd_cpu_conv2d_bwd_x;
    cpu.kernel[FD_OP_conv2d_bwd_w] = fd_cpu_conv2d_bwd_w;
    cpu.kernel[FD_OP_linear] = fd_cpu_linear;
    cpu.kernel[FD_OP_linear_bwd_x] = fd_cpu_linear_bwd_x;
    cpu.kernel[FD_OP_linear_bwd_w] = fd_cpu_linear_bwd_w;
    cpu.kernel[FD_OP_group_norm] = fd_cpu_group_norm;
    cpu.kernel[FD_OP_group_norm_bwd] = fd_cpu_group_norm_bwd;
    cpu.kernel[FD_OP_silu] = fd_cpu_silu;
    cpu.kernel[FD_OP_silu_bwd] = fd_cpu_silu_bwd;
    cpu.kernel[FD_OP_add] = fd_cpu_add;
    cpu.kernel[FD_OP_scale] = fd_cpu_scale;
    cpu.kernel[FD_OP_cast] = fd_cpu_cast;
    cpu.kernel[FD_OP_mix_rows] = fd_cpu_mix_rows;
    cpu.kernel[FD_OP_concat] = fd_cpu_concat;
    cpu.kernel[FD_OP_slice] = fd_cpu_slice;
    cpu.kernel[FD_OP_max_pool] = fd_cpu_max_pool;
    cpu.kernel[FD_OP_avg_pool] = fd_cpu_avg_pool;
    cpu.kernel[FD_OP_resample] = fd_cpu_resample;
    cpu.kernel[FD_OP_softplus] = fd_cpu_softplus;
    cpu.kernel[FD_OP_softplus_bwd] = fd_cpu_softplus_bwd;
    cpu.kernel[FD_OP_dropout] = fd_cpu_dropout;
    cpu.kernel[FD_OP_sq_err] = fd_cpu_sq_err;
    cpu.kernel[FD_OP_sq_err_bwd] = fd_cpu_sq_err_bwd;
    cpu.kernel[FD_OP_sum_rows] = fd_cpu_sum_rows;
    cpu.kernel[FD_OP_broadcast_rows] = fd_cpu_broadcast_rows;
    cpu.kernel[FD_OP_mean_hw] = fd_cpu_mean_hw;
    cpu.kernel[FD_OP_broadcast_hw] = fd_cpu_broadcast_hw;
    cpu.kernel[FD_OP_attention] = fd_cpu_attention;
    cpu.kernel[FD_OP_attention_bwd] = fd_cpu_attention_bwd;
}

const fd_backend *fd_backend_cpu(void) {
    pthread_once(&once, fill);
    return &cpu;
}
