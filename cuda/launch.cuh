/* launch.cuh — how a kernel is started. The tests put a file of the same name in front of this one, which runs the
 * kernel on the host. */
#ifndef FD_CUDA_LAUNCH_CUH
#define FD_CUDA_LAUNCH_CUH

/* kernel: a function or a pointer to one; shared: bytes of dynamic shared memory per block. */
#define FD_LAUNCH(kernel, grid, block, shared, ...) (kernel)<<<(grid), (block), (shared), fd_cuda_stream()>>>(__VA_ARGS__)

/* The dynamic shared memory of the running block, aligned to 16 bytes. */
#define FD_SHARED(type, name)                                   \
    extern __shared__ __align__(16) unsigned char fd_shared_[]; \
    type *name = reinterpret_cast<type *>(fd_shared_)

#endif
