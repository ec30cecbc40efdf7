/* nccl.c — sums over the ranks of what lies on their GPUs, by NCCL: the only file that knows it.
 *
 * The library is loaded when the first sum is asked for, so neither a build nor a process alone needs it. What of nccl.h is used
 * here has had the same binary form since NCCL 2.0. Where a rank has no NCCL, or shares its GPU with another rank, which NCCL does
 * not allow, all ranks go through their hosts instead. FD_NCCL_LIBRARY names another file of the library.
 */
#include <dlfcn.h>
#include <stdlib.h>

#include "base/library.h"
#include "comm/comm.h"
#include "cuda/cuda.h"

enum { NCCL_SUCCESS = 0, NCCL_SUM = 0, NCCL_FLOAT32 = 7 };
typedef struct { char internal[128]; } nccl_id;
typedef void *nccl_comm;

static struct {
    int (*get_id)(nccl_id *);
    int (*init_rank)(nccl_comm *, int, nccl_id, int);
    int (*all_reduce)(const void *, void *, size_t, int, int, nccl_comm, cudaStream_t);
    const char *(*error_string)(int);
} nccl;
static enum { UNTRIED, READY, ABSENT } state;
static nccl_comm comm;

static bool load(void) {
    static const fd_symbol symbols[] = {
        {"ncclGetUniqueId", &nccl.get_id},
        {"ncclCommInitRank", &nccl.init_rank},
        {"ncclAllReduce", &nccl.all_reduce},
        {"ncclGetErrorString", &nccl.error_string},
    };
    const char *other = getenv("FD_NCCL_LIBRARY");
    void *library = dlopen(other && *other ? other : "libnccl.so.2", RTLD_NOW);
    return library && !fd_library_find(library, symbols, FD_COUNT(symbols));
}

static fd_status check(fd_ctx *ctx, int code, const char *what) {
    if (code == NCCL_SUCCESS) return FD_OK;
    return FD_FAIL(ctx, FD_E_DEVICE, "ranks: NCCL's %s failed: %s", what, nccl.error_string(code));
}

/* All ranks meet here once, and all find the same: NCCL on every one, or on none. */
static fd_status meet(fd_ctx *ctx) {
    nccl_id id = {{0}};
    bool lacking;
    FD_TRY(fd_comm_any(ctx, !load() || ctx->comm->local > fd_cuda_count(), &lacking));
    state = ABSENT;
    if (lacking) return FD_OK;
    int code = fd_comm_first(ctx) ? nccl.get_id(&id) : NCCL_SUCCESS;
    FD_TRY(check(ctx, code, "start"));
    FD_TRY(fd_comm_broadcast(ctx, &id, sizeof id, 0));
    FD_TRY(check(ctx, nccl.init_rank(&comm, ctx->comm->size, id, ctx->comm->rank), "start"));
    state = READY;
    return FD_OK;
}

fd_status fd_cuda_sum(fd_ctx *ctx, float *x, int64_t n, bool *done) {
    *done = true;
    if (!ctx->comm) return FD_OK;
    if (state == UNTRIED) FD_TRY(meet(ctx));
    *done = state == READY;
    if (!*done) return FD_OK;
    return check(ctx, nccl.all_reduce(x, x, (size_t)n, NCCL_FLOAT32, NCCL_SUM, comm, fd_cuda_stream()), "sum");
}
