/* exec_internal.h — the executor's own state, shared by exec.c (plan and run), exec_device.c (what a run on a device
 * needs besides) and exec_report.c (dumps, profile). */
#ifndef FD_RUN_EXEC_INTERNAL_H
#define FD_RUN_EXEC_INTERNAL_H

#include "run/exec.h"
#include "run/plan.h"
#include "run/twin.h"

#define FD_MAX_TAPES 8

/* A range of nodes that was run, and its recording once it was run twice. */
typedef struct { int from, to; void *tape; } fd_tape;

struct fd_exec {
    fd_graph *g;
    const fd_backend *backend;
    fd_pool *pool;
    fd_arena arena;
    fd_call *call;                 /* [nnode] */
    const fd_kernel **kernel;      /* [nnode] */
    int nnode;                     /* planned nodes; the graph may not grow afterwards */
    fd_slot *slot;                 /* one per value that needs memory, then one per node for its workspace */
    int *slot_of;                  /* [nval] index into slot, -1 = none */
    int *work_slot;                /* [nnode] */
    size_t *input_at;              /* [nval] offset into inputs */
    void *own, *inputs;            /* memory without a pool; memory of the graph's inputs */
    const fd_device *device;       /* of the backend; NULL: all memory is the process's own */
    fd_twin *twin_w[FD_MAX_SETS], *twin_g[FD_MAX_SETS];
    fd_twin *former[2 * FD_MAX_SETS];   /* of blocks that were swapped out: they come back */
    fd_tape tape[FD_MAX_TAPES];
    int tapes;
    void *stage;                   /* [stage_bytes] for values on their way to and from a device */
    size_t stage_bytes;
    size_t act_bytes, unplanned_bytes, input_bytes, work_bytes;
    /* What the pointers in `call` were resolved with. */
    void *base;
    float *set_w[FD_MAX_SETS], *set_g[FD_MAX_SETS];
    bool profile;
    double *seconds;               /* [nnode] */
    int64_t *runs;                 /* [nnode] */
};

/* exec.c, for the others */
fd_buf fd_exec_describe(const fd_exec *e, fd_val v);
fd_status fd_exec_run_nodes(fd_ctx *ctx, fd_exec *e, int from, int to);

/* exec_device.c */
fd_status fd_exec_device_memory(fd_ctx *ctx, fd_exec *e);      /* at plan time: the stage */
fd_status fd_exec_device_resolve(fd_ctx *ctx, fd_exec *e);     /* weights or memory moved: twins anew, tapes forgotten */
fd_status fd_exec_device_run(fd_ctx *ctx, fd_exec *e, int from, int to);
void fd_exec_device_free(fd_exec *e);

#endif
