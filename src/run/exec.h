/* exec.h — plan a graph once, run it many times.
 *
 * The plan gives every intermediate value a place in one block of memory by its lifetime (in place where the op
 * allows), prepares kernels and reserves the largest workspace. A run is a loop over a flat list and allocates nothing.
 */
#ifndef FD_RUN_EXEC_H
#define FD_RUN_EXEC_H

#include <stdio.h>

#include "graph/graph.h"
#include "run/backend.h"

typedef struct fd_exec fd_exec;

/* Memory shared by plans that never run at the same time and whose values need not survive each other's runs. It grows
 * to the largest of its plans. {0} is an empty pool. */
typedef struct fd_pool { void *mem; size_t bytes; const fd_device *device; } fd_pool;

/* Owner: the caller, until fd_exec_free; the graph must outlive it. pool = NULL: memory of its own. Inputs always have
 * memory of their own, so they survive the runs of others; kept values do not.
 * unplanned: every value gets its own memory (for tests that planning changes nothing). */
typedef struct { const fd_backend *backend; fd_pool *pool; bool unplanned; } fd_exec_options;
fd_status fd_exec_new(fd_ctx *ctx, fd_graph *g, const fd_exec_options *o, fd_exec **out);
void fd_exec_free(fd_exec *e);
void fd_pool_free(fd_pool *p);

/* Runs nodes [from, to); to = -1 means to the end. */
fd_status fd_exec_run(fd_ctx *ctx, fd_exec *e, int from, int to);

/* Copies between plain NCHW float memory (count floats of the value) and a value's own layout. Only inputs may be
 * written, only kept values and inputs read. I32 inputs take int32_t. */
fd_status fd_exec_write(fd_ctx *ctx, fd_exec *e, fd_val v, const void *src);
fd_status fd_exec_read(fd_ctx *ctx, fd_exec *e, fd_val v, float *dst);
/* Sets every element of an input. */
fd_status fd_exec_fill(fd_ctx *ctx, fd_exec *e, fd_val v, float value);
/* The value's own memory and layout, for tests and measurements: memory of the device where the backend has one. */
fd_buf fd_exec_buf(fd_exec *e, fd_val v);

/* Runs the whole list again node by node and names the first node with a NaN or infinity among its outputs (NULL: none).
 * Parameter gradients are accumulated by this run too: for diagnosis of a step that is thrown away. */
fd_status fd_exec_find_nonfinite(fd_ctx *ctx, fd_exec *e, const char **scope, const char **op);

typedef struct {
    size_t act_bytes;        /* block of activations, as planned          */
    size_t act_unplanned;    /* every value by itself, work space once     */
    size_t input_bytes;
    size_t work_bytes;       /* largest workspace                         */
    double flops;            /* of one whole run                          */
    int nodes;
} fd_plan_summary;
fd_plan_summary fd_exec_summary(const fd_exec *e);
/* The run list as text: number, op, scope, shapes, offsets, bytes, flops, algorithm. */
void fd_exec_dump(const fd_exec *e, FILE *f);
/* With profiling on, every run adds the time of each node. */
void fd_exec_profile(fd_exec *e, bool on);

/* Nodes of one kind together: op, algorithm, type of its first input and, by_shape, the shapes of its first input and
 * output. Sums over the runs since profiling was switched on; bytes: all operands once, work space not counted. */
typedef struct fd_profile_row {
    const char *op, *algo;
    fd_dtype dt;
    fd_shape in, out;
    double seconds, flops, bytes;
    int64_t calls;
} fd_profile_row;
/* At most `most` rows, slowest first; returns their number. */
int fd_exec_profile_rows(const fd_exec *e, bool by_shape, fd_profile_row *rows, int most);

#endif
