/* conv.h — what the two ways of convolving share: the plain tiled kernels of conv2d.cu, which work everywhere, and cuDNN
 * (cudnn_conv.c), which is asked first. */
#ifndef FD_CUDA_CONV_H
#define FD_CUDA_CONV_H

#include "cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { FD_CONV_FORWARD, FD_CONV_BWD_X, FD_CONV_BWD_W } fd_conv_role;

/* Sets c->state, c->work_bytes and c->algo; UNSUPPORTED without a message where cuDNN is not there or has no plan for the
 * shape: then the tiled kernels run. */
fd_status fd_cudnn_prepare(fd_ctx *ctx, fd_call *c, fd_conv_role role);
fd_status fd_cudnn_run(fd_ctx *ctx, const fd_call *c, fd_conv_role role);
void fd_cudnn_release(void *state);
bool fd_cudnn_usable(void);
/* "cuDNN 9.12.0", or why it cannot be used. */
const char *fd_cudnn_describe(void);

/* Filters between the parameters' [K][C][R*S] f32 and cuDNN's [K][R*S][C] in the number type of the convolution. */
void fd_cuda_pack_filter(void *to, fd_dtype dt, const float *w, fd_shape s);
void fd_cuda_add_filter(float *dw, const void *from, fd_dtype dt, fd_shape s);
/* y += b (NULL: nothing), then max(y, 0) if relu, in place; db += sum of dy over samples and pixels, with FD_BIAS_PARTS * C floats of scratch. */
enum { FD_BIAS_PARTS = 64 };
void fd_cuda_finish_conv(const fd_buf *y, const float *b, bool relu);
void fd_cuda_bias_gradient(float *db, const fd_buf *dy, float *scratch);

#ifdef __cplusplus
}
#endif
#endif
