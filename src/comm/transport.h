/* transport.h — what a library has to offer so that ranks can work over it. One of them (mpi.c); what lies on
 * GPUs is summed by NCCL where that is there (cuda/nccl.c), which meets over this.
 *
 * Counts are ints because MPI's are: comm.c cuts what is longer. All functions are called by every rank, bring by two.
 */
#ifndef FD_COMM_TRANSPORT_H
#define FD_COMM_TRANSPORT_H

#include "comm/comm.h"

typedef struct fd_transport {
    const char *name;
    fd_status (*open)(fd_ctx *ctx, fd_comm *c);           /* fills rank and size */
    void (*close)(void);
    void (*abort_all)(int code);
    fd_status (*sum_f32)(fd_ctx *ctx, float *x, int n);
    fd_status (*sum_f64)(fd_ctx *ctx, double *x, int n);
    fd_status (*gather)(fd_ctx *ctx, const void *mine, int bytes, void *all);
    fd_status (*broadcast)(fd_ctx *ctx, void *data, int bytes, int from);
    fd_status (*bring)(fd_ctx *ctx, const fd_comm *c, void *data, int bytes, int from);
    fd_status (*barrier)(fd_ctx *ctx);
} fd_transport;

extern const fd_transport fd_transport_mpi;               /* only in builds with MPI */

#endif
