/* backend_cuda.c — one NVIDIA GPU, the first, or of several ranks to each its own: its memory, its one stream, recordings, and
 * the table of kernels. The only caller of cudaMalloc.
 *
 * The CUDA runtime is linked statically and looks for the driver when it is first asked: a machine without one runs the
 * same program and is told so here.
 */
#include <pthread.h>

#include "comm/comm.h"
#include "cuda/conv.h"
#include "cuda/cuda.h"
#include "cuda/optim.h"

static cudaStream_t stream;
static int gpus;

cudaStream_t fd_cuda_stream(void) { return stream; }
int fd_cuda_count(void) { return gpus; }

fd_status fd_cuda_check(fd_ctx *ctx, cudaError_t e, const char *what) {
    if (e == cudaSuccess) return FD_OK;
    return FD_FAIL(ctx, FD_E_DEVICE, "%s on the GPU failed: %s", what, cudaGetErrorString(e));
}
fd_status fd_cuda_launched(fd_ctx *ctx) { return fd_cuda_check(ctx, cudaGetLastError(), "starting a kernel"); }

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static fd_status allocate(fd_ctx *ctx, size_t bytes, void **out) {
    *out = NULL;
    if (cudaMalloc(out, bytes ? bytes : 1) == cudaSuccess) return FD_OK;
    cudaGetLastError();      /* not for the next launch */
    size_t left = 0, all = 0;
    cudaMemGetInfo(&left, &all);
    return FD_FAIL(ctx, FD_E_NOMEM, "out of GPU memory: %.1f MiB were asked for, %.1f of %.1f MiB are free: use a smaller "
                   "--batch-gpu or --batch", (double)bytes / 1048576, (double)left / 1048576, (double)all / 1048576);
}
static void release(void *p) { cudaFree(p); }

static fd_status zero(fd_ctx *ctx, void *p, size_t bytes) {
    return fd_cuda_check(ctx, cudaMemsetAsync(p, 0, bytes, stream), "clearing memory");
}
/* From pageable memory the call returns once the runtime has its own copy. */
static fd_status put(fd_ctx *ctx, void *to, const void *from, size_t bytes) {
    return fd_cuda_check(ctx, cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream), "copying to memory");
}
static fd_status wait(fd_ctx *ctx) { return fd_cuda_check(ctx, cudaStreamSynchronize(stream), "a kernel"); }
static fd_status get(fd_ctx *ctx, void *to, const void *from, size_t bytes) {
    FD_TRY(fd_cuda_check(ctx, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream), "copying from memory"));
    return wait(ctx);
}

fd_status fd_cuda_fetch(fd_ctx *ctx, void *to, const void *from, size_t bytes) { return get(ctx, to, from, bytes); }

fd_status fd_cuda_scratch(fd_ctx *ctx, size_t bytes, void **out) {
    static void *block;
    static size_t size;
    if (size < bytes) {
        release(block);
        size = 0;
        FD_TRY(allocate(ctx, bytes, &block));
        size = bytes;
    }
    *out = block;
    return FD_OK;
}

/* ---- recordings -------------------------------------------------------------------------------------------------- */

static fd_status record(fd_ctx *ctx) {
    return fd_cuda_check(ctx, cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "recording");
}
static fd_status recorded(fd_ctx *ctx, void **tape) {
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    FD_TRY(fd_cuda_check(ctx, cudaStreamEndCapture(stream, &graph), "recording"));
    cudaError_t e = cudaGraphInstantiate(&exec, graph, 0);
    cudaGraphDestroy(graph);
    *tape = e == cudaSuccess ? exec : NULL;
    return fd_cuda_check(ctx, e, "preparing a recording");
}
static fd_status replay(fd_ctx *ctx, void *tape) {
    return fd_cuda_check(ctx, cudaGraphLaunch((cudaGraphExec_t)tape, stream), "replaying a recording");
}
static void forget(void *tape) { cudaGraphExecDestroy((cudaGraphExec_t)tape); }

/* ---- reports ----------------------------------------------------------------------------------------------------- */

static char name[sizeof ((struct cudaDeviceProp *)0)->name];

static const char *describe(void) {
    static char text[512];
    snprintf(text, sizeof text, "%s, %s", name, fd_cudnn_describe());
    return text;
}

static bool memory(size_t *used, size_t *total) {
    size_t left;
    if (cudaMemGetInfo(&left, total) != cudaSuccess) {
        cudaGetLastError();
        return false;
    }
    *used = *total - left;
    return true;
}

static const fd_device device = {allocate, release,  zero,   put,    get,         wait,          record,
                                 recorded, replay,   forget, fd_cuda_sum, &fd_cuda_flat, memory, describe};

/* ---- the table --------------------------------------------------------------------------------------------------- */

/* Channels innermost. */
static int block(fd_shape s, fd_dtype dt) { return (int)s.c; }

static fd_backend cuda = {.name = "cuda", .device = &device, .block = block};

static void fill(void) {
#define FD_OP(name, in, out, diff) cuda.kernel[FD_OP_##name] = fd_cuda_##name;
#include "ops.def"
#undef FD_OP
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool opened;

static fd_status open_device(fd_ctx *ctx) {
    int count = 0;
    struct cudaDeviceProp prop;
    cudaError_t e = cudaGetDeviceCount(&count);
    if (e != cudaSuccess || count < 1) {
        cudaGetLastError();
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "no GPU can be used here: %s",
                       e != cudaSuccess ? cudaGetErrorString(e) : "the driver found none");
    }
    const int mine = ctx->comm ? ctx->comm->place % count : 0;
    gpus = count;
    FD_TRY(fd_cuda_check(ctx, cudaSetDevice(mine), "opening"));
    FD_TRY(fd_cuda_check(ctx, cudaGetDeviceProperties(&prop, mine), "asking"));
    if (prop.major < 8)
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s has compute capability %d.%d; 8.0 or newer is needed", prop.name, prop.major,
                       prop.minor);
    snprintf(name, sizeof name, "%s", prop.name);
    return fd_cuda_check(ctx, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "opening");
}

fd_status fd_backend_cuda(fd_ctx *ctx, const fd_backend **out) {
    *out = NULL;
    pthread_mutex_lock(&lock);
    fd_status s = FD_OK;
    if (!opened) {
        s = open_device(ctx);
        if (s == FD_OK) {
            fill();
            cuda.batch_decides_bits = fd_cudnn_usable();
        }
        opened = s == FD_OK;
    }
    pthread_mutex_unlock(&lock);
    if (s == FD_OK) *out = &cuda;
    return s;
}
