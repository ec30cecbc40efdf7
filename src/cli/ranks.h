/* ranks.h — the program as one of several ranks that mpirun started (comm/comm.h). Alone, nothing here does anything. */
#ifndef FD_CLI_RANKS_H
#define FD_CLI_RANKS_H

#include "base/err.h"

/* Meets the other ranks and sets ctx->comm. All but rank 0 fall silent. Unless OMP_NUM_THREADS is set, the ranks of a machine
 * share its cores. */
fd_status fd_ranks_enter(fd_ctx *ctx);
/* After a command that succeeded: waits for the others. */
void fd_ranks_leave(fd_ctx *ctx);
/* After one that failed: says on stderr what, and on which rank, and ends all ranks with this exit code. Where all fail for the
 * same reason, rank 0 says it for them. Returns in a process alone, and on ranks that others have ended. */
void fd_ranks_fail(fd_ctx *ctx, fd_status status, int code);

#endif
