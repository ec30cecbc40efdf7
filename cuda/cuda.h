/* cuda.h — what the files of the CUDA backend share: the kernel of every op, the stream, and how errors are reported.
 *
 * Values lie in device memory as [N][H*W][C] (block C of the layout family, NHWC), parameters and their gradients as
 * plain row-major f32. All work of the process goes to one stream, in order, and nothing here waits for it: so a run
 * can be recorded and replayed (backend_cuda.c).
 */
#ifndef FD_CUDA_CUDA_H
#define FD_CUDA_CUDA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "run/backend.h"

/* Dynamic shared memory a block may have without asking for more, on every device. */
#define FD_CUDA_SHARED ((size_t)48 * 1024)

/* The stream of all kernels and copies; made when the device is opened. */
cudaStream_t fd_cuda_stream(void);
/* fd_device's sum (nccl.c). */
fd_status fd_cuda_sum(fd_ctx *ctx, float *x, int64_t n, bool *done);
/* GPUs that this process may use; 0 before the device is opened. */
int fd_cuda_count(void);
/* DEVICE with the runtime's words when e is an error. */
fd_status fd_cuda_check(fd_ctx *ctx, cudaError_t e, const char *what);
/* After launches: an error here means a wrong launch, or one of an earlier kernel that showed up now. */
fd_status fd_cuda_launched(fd_ctx *ctx);

extern const fd_kernel fd_cuda_conv2d, fd_cuda_conv2d_bwd_x, fd_cuda_conv2d_bwd_w;
extern const fd_kernel fd_cuda_linear, fd_cuda_linear_bwd_x, fd_cuda_linear_bwd_w;
extern const fd_kernel fd_cuda_group_norm, fd_cuda_group_norm_bwd;
extern const fd_kernel fd_cuda_silu, fd_cuda_silu_bwd, fd_cuda_relu, fd_cuda_relu_bwd, fd_cuda_softplus, fd_cuda_softplus_bwd;
extern const fd_kernel fd_cuda_attention, fd_cuda_attention_bwd;
extern const fd_kernel fd_cuda_resample, fd_cuda_max_pool, fd_cuda_avg_pool;
extern const fd_kernel fd_cuda_add, fd_cuda_scale, fd_cuda_mix_rows, fd_cuda_cast;
extern const fd_kernel fd_cuda_concat, fd_cuda_slice;
extern const fd_kernel fd_cuda_noise_embed, fd_cuda_dropout;
extern const fd_kernel fd_cuda_sq_err, fd_cuda_sq_err_bwd, fd_cuda_softmax_xent, fd_cuda_softmax_xent_bwd;
extern const fd_kernel fd_cuda_dot_rows, fd_cuda_sum_rows, fd_cuda_broadcast_rows, fd_cuda_mean_hw, fd_cuda_broadcast_hw;

#ifdef __cplusplus
}
#endif
#endif
