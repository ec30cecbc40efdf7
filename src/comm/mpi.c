/* Ranks over Open MPI, the only file that knows MPI.
 *
 * The library is loaded when a launcher asks for ranks: a program alone starts as fast as without MPI, and runs on machines
 * that have none. Therefore functions and handles are looked up by name; Open MPI's handles (MPI_FLOAT …) are the addresses
 * of objects of the library, names that have been the same since 1.3. */
#include <dlfcn.h>
#include <mpi.h>
#include <stdio.h>

#include "base/library.h"
#include "comm/transport.h"

#ifndef OPEN_MPI
#error "mpi.h is not Open MPI's"
#endif

static struct {
    int (*init)(int *, char ***, int, int *);
    int (*finalize)(void);
    int (*end_all)(MPI_Comm, int);
    int (*rank)(MPI_Comm, int *);
    int (*size)(MPI_Comm, int *);
    int (*on_error)(MPI_Comm, MPI_Errhandler);
    int (*error_string)(int, char *, int *);
    int (*allreduce)(const void *, void *, int, MPI_Datatype, MPI_Op, MPI_Comm);
    int (*allgather)(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, MPI_Comm);
    int (*bcast)(void *, int, MPI_Datatype, int, MPI_Comm);
    int (*send)(const void *, int, MPI_Datatype, int, int, MPI_Comm);
    int (*recv)(void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Status *);
    int (*barrier)(MPI_Comm);
    MPI_Comm world;
    MPI_Datatype f32, f64, byte;
    MPI_Op sum;
    MPI_Errhandler errors_return;
} mpi;

static const fd_symbol symbols[] = {
    {"MPI_Init_thread", &mpi.init},
    {"MPI_Finalize", &mpi.finalize},
    {"MPI_Abort", &mpi.end_all},
    {"MPI_Comm_rank", &mpi.rank},
    {"MPI_Comm_size", &mpi.size},
    {"MPI_Comm_set_errhandler", &mpi.on_error},
    {"MPI_Error_string", &mpi.error_string},
    {"MPI_Allreduce", &mpi.allreduce},
    {"MPI_Allgather", &mpi.allgather},
    {"MPI_Bcast", &mpi.bcast},
    {"MPI_Send", &mpi.send},
    {"MPI_Recv", &mpi.recv},
    {"MPI_Barrier", &mpi.barrier},
    {"ompi_mpi_comm_world", &mpi.world},
    {"ompi_mpi_float", &mpi.f32},
    {"ompi_mpi_double", &mpi.f64},
    {"ompi_mpi_byte", &mpi.byte},
    {"ompi_mpi_op_sum", &mpi.sum},
    {"ompi_mpi_errors_return", &mpi.errors_return},
};

/* FD_MPI_LIBRARY, the file that the build found, for installations outside the loader's path. Open MPI's own plugins look
 * for its symbols among the global ones. */
static fd_status load(fd_ctx *ctx) {
    void *library = dlopen("libmpi.so.40", RTLD_NOW | RTLD_GLOBAL);
    if (!library) library = dlopen(FD_MPI_LIBRARY, RTLD_NOW | RTLD_GLOBAL);
    if (!library)
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "ranks need Open MPI, version 3 or later, on every machine: %s", dlerror());
    const char *lacks = fd_library_find(library, symbols, FD_COUNT(symbols));
    return lacks ? FD_FAIL(ctx, FD_E_UNSUPPORTED, "Open MPI's library has no '%s'", lacks) : FD_OK;
}

static fd_status check(fd_ctx *ctx, int code, const char *what) {
    if (code == MPI_SUCCESS) return FD_OK;
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    mpi.error_string(code, text, &length);
    return FD_FAIL(ctx, FD_E_DEVICE, "ranks: Open MPI's %s failed: %s", what, text);
}

static fd_status open_mpi(fd_ctx *ctx, fd_comm *c) {
    int level;
    FD_TRY(load(ctx));
    FD_TRY(check(ctx, mpi.init(NULL, NULL, MPI_THREAD_FUNNELED, &level), "start"));
    mpi.on_error(mpi.world, mpi.errors_return);
    FD_TRY(check(ctx, mpi.rank(mpi.world, &c->rank), "rank"));
    return check(ctx, mpi.size(mpi.world, &c->size), "size");
}

static void close_mpi(void) { mpi.finalize(); }
static void abort_mpi(int code) { mpi.end_all(mpi.world, code); }

static fd_status sum_f32(fd_ctx *ctx, float *x, int n) {
    return check(ctx, mpi.allreduce(MPI_IN_PLACE, x, n, mpi.f32, mpi.sum, mpi.world), "sum");
}
static fd_status sum_f64(fd_ctx *ctx, double *x, int n) {
    return check(ctx, mpi.allreduce(MPI_IN_PLACE, x, n, mpi.f64, mpi.sum, mpi.world), "sum");
}
static fd_status gather(fd_ctx *ctx, const void *mine, int bytes, void *all) {
    return check(ctx, mpi.allgather(mine, bytes, mpi.byte, all, bytes, mpi.byte, mpi.world), "gather");
}
static fd_status broadcast(fd_ctx *ctx, void *data, int bytes, int from) {
    return check(ctx, mpi.bcast(data, bytes, mpi.byte, from, mpi.world), "broadcast");
}
static fd_status bring(fd_ctx *ctx, const fd_comm *c, void *data, int bytes, int from) {
    int code = c->rank == from ? mpi.send(data, bytes, mpi.byte, 0, 0, mpi.world)
             : c->rank == 0    ? mpi.recv(data, bytes, mpi.byte, from, 0, mpi.world, MPI_STATUS_IGNORE)
                               : MPI_SUCCESS;
    return check(ctx, code, "message");
}
static fd_status barrier(fd_ctx *ctx) { return check(ctx, mpi.barrier(mpi.world), "barrier"); }

const fd_transport fd_transport_mpi = {
    .name = "Open MPI", .open = open_mpi, .close = close_mpi, .abort_all = abort_mpi, .sum_f32 = sum_f32, .sum_f64 = sum_f64,
    .gather = gather, .broadcast = broadcast, .bring = bring, .barrier = barrier,
};
