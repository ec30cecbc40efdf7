/* ranks.h — the program as one of several ranks that mpirun started (comm/comm.h). Alone, nothing here does anything. */
#ifndef FD_CLI_RANKS_H
#define FD_CLI_RANKS_H

#include "base/err.h"

/* Meets the other ranks and sets ctx->comm. All but rank 0 fall silent. Unless OMP_NUM_THREADS is set, the ranks of a machine
 * share its cores. */
fd_status fd_ranks_enter(fd_ctx *ctx);
/* After a command that succeeded: waits for the others. */
void fd_ranks_leave(fd_ctx *ctx);
/* Says on stderr what failed here, and by which rank; once, if all failed for the same reason. */
void fd_ranks_complain(fd_ctx *ctx, fd_status status);

#endif
