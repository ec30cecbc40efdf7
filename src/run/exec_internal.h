/* exec_internal.h — the executor's own state, shared by exec.c (plan and run) and exec_report.c (dumps, profile). */
#ifndef FD_RUN_EXEC_INTERNAL_H
#define FD_RUN_EXEC_INTERNAL_H

#include "run/exec.h"
#include "run/plan.h"

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
    size_t act_bytes, unplanned_bytes, input_bytes, work_bytes;
    /* What the pointers in `call` were resolved with. */
    void *base;
    float *set_w[FD_MAX_SETS], *set_g[FD_MAX_SETS];
    bool profile;
    double *seconds;               /* [nnode] */
    int64_t *runs;                 /* [nnode] */
};

#endif
