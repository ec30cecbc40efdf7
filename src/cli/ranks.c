#include "cli/ranks.h"

#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "comm/comm.h"

#define GRACE 2       /* seconds that rank 0 has to say it first */

static int cores_of(pid_t process) {
    cpu_set_t set;
    return sched_getaffinity(process, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}

/* mpirun may have bound this rank to few cores; it is itself the parent, and has all that the job may use. */
static void share_cores(fd_ctx *ctx) {
    const int mine = omp_get_num_procs(), parents = cores_of(getppid());
    const int cores = parents > mine ? parents : mine;
    int threads = cores / ctx->comm->local;
    if (threads < 1) threads = 1;
    if (threads > mine) {
        if (fd_comm_first(ctx))
            fprintf(stderr, "fdistill: warning: mpirun bound every rank to %d of %d cores; 'mpirun --bind-to none' lets %d ranks use "
                    "all\n", mine, cores, ctx->comm->local);
        threads = mine;
    }
    ctx->threads = threads;
    omp_set_num_threads(threads);
}

fd_status fd_ranks_enter(fd_ctx *ctx) {
    FD_TRY(fd_comm_open(ctx, &ctx->comm));
    if (!ctx->comm) return FD_OK;
    if (!fd_comm_first(ctx)) {
        ctx->quiet = true;
        if (!freopen("/dev/null", "w", stdout)) return FD_FAIL(ctx, FD_E_IO, "/dev/null: cannot open");
    }
    if (!getenv("OMP_NUM_THREADS")) share_cores(ctx);
    return FD_OK;
}

void fd_ranks_leave(fd_ctx *ctx) { fd_comm_close(ctx->comm); }

void fd_ranks_fail(fd_ctx *ctx, fd_status status, int code) {
    const char *text = ctx->message[0] ? ctx->message : fd_status_name(status);
    if (!ctx->comm) {
        fprintf(stderr, "fdistill: %s\n", text);
        return;
    }
    /* A signal in this time is mpirun's, because rank 0 has ended the run. */
    if (!fd_comm_first(ctx) && sleep(GRACE) > 0) return;
    fprintf(stderr, "fdistill: rank %d: %s\n", fd_comm_rank(ctx), text);
    fd_comm_abort(ctx->comm, code);
}
