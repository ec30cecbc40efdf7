/* comm.h — ranks: the processes that share one run, started together by mpirun.
 *
 * Every rank runs the same program with the same options. A function here is called by all of them at the same place, and
 * returns on each when its part is done. ctx->comm says which rank this process is; NULL, the usual case, is a process
 * alone: rank 0 of 1, for which everything here does nothing, or copies.
 *
 * DEVICE errors when the ranks cannot reach each other. A rank that fails ends the run by fd_comm_abort, so nobody waits for
 * one that is gone.
 */
#ifndef FD_COMM_COMM_H
#define FD_COMM_COMM_H

#include "base/err.h"

struct fd_transport;
typedef struct fd_comm {
    int rank, size;
    int local, place;                     /* ranks on this machine; this one's number among them */
    const struct fd_transport *way;
} fd_comm;

/* How many processes a launcher (mpirun, srun) started together with this one, from the environment alone: 1 without one. */
int fd_comm_launched(void);
/* "Open MPI" where this build can work on several ranks, else NULL. */
const char *fd_comm_transport(void);
/* Meets the other ranks. *out stays NULL in a process alone: no library is loaded then. UNSUPPORTED if this build or machine
 * cannot; then every process of the launch has to stop, or each would make the whole run. */
fd_status fd_comm_open(fd_ctx *ctx, fd_comm **out);
/* Waits for the others and parts; NULL is allowed. */
void fd_comm_close(fd_comm *c);
/* Ends all ranks, this one too, with an exit code: or they would wait for one that has failed. For the end of main only. */
void fd_comm_abort(fd_comm *c, int code);

static inline int fd_comm_rank(const fd_ctx *ctx) { return ctx->comm ? ctx->comm->rank : 0; }
static inline int fd_comm_size(const fd_ctx *ctx) { return ctx->comm ? ctx->comm->size : 1; }
/* The rank that writes files and talks. */
static inline bool fd_comm_first(const fd_ctx *ctx) { return fd_comm_rank(ctx) == 0; }

/* x [n] becomes the sum over the ranks, the same bits on each and in every run of as many ranks on the same machines. */
fd_status fd_comm_sum_f32(fd_ctx *ctx, float *x, int64_t n);
fd_status fd_comm_sum_f64(fd_ctx *ctx, double *x, int64_t n);
/* all [size][bytes]: everybody's `mine`, in the order of the ranks. */
fd_status fd_comm_gather(fd_ctx *ctx, const void *mine, size_t bytes, void *all);
/* data [bytes] of rank `from` on every rank. */
fd_status fd_comm_broadcast(fd_ctx *ctx, void *data, size_t bytes, int from);
/* data [bytes] of rank `from` into rank 0's data; for those two only, others need not call it. */
fd_status fd_comm_bring(fd_ctx *ctx, void *data, size_t bytes, int from);
fd_status fd_comm_barrier(fd_ctx *ctx);

/* *any: is `mine` true on one rank at least? */
fd_status fd_comm_any(fd_ctx *ctx, bool mine, bool *any);
/* text [size] of the lowest rank with found = true, on every rank; unchanged where none has. */
fd_status fd_comm_first_word(fd_ctx *ctx, bool found, char *text, size_t size);
/* NUMERIC on every rank whose data [bytes] are not those of rank 0: "<what> differ from those of rank 0". */
fd_status fd_comm_same(fd_ctx *ctx, const void *data, size_t bytes, const char *what);

#endif
