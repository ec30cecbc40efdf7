/* optim.h — the optimiser's work on flat blocks, and what it needs of backend_cuda.c. */
#ifndef FD_CUDA_OPTIM_H
#define FD_CUDA_OPTIM_H

#include "cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const fd_flat fd_cuda_flat;

/* A block of device memory that lives as long as the process and is used by one piece of work at a time. */
fd_status fd_cuda_scratch(fd_ctx *ctx, size_t bytes, void **out);
/* A small copy to the host; waits for it. */
fd_status fd_cuda_fetch(fd_ctx *ctx, void *to, const void *from, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
