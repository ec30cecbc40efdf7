/* ops.h — one test problem of one operation: a line of text, the graph it describes, its data.
 *
 * The graph holds the forward op and, where there is one, its gradient nodes, so a line in conv2d.cases tests conv2d,
 * conv2d_bwd_x and conv2d_bwd_w. Data come from the counter-based generator: the same on every machine, and sample 0
 * is the same for every batch size.
 */
#ifndef FD_TESTS_OPS_H
#define FD_TESTS_OPS_H

#include <stdio.h>

#include "graph/build.h"
#include "graph/op.h"
#include "run/exec.h"

#define MAX_KEYS 24
#define MAX_INPUTS 8

typedef struct {
    fd_op op;
    char line[256];
    bool perf_only;
    struct { char key[12], value[16]; bool used; } kv[MAX_KEYS];
    int nkv;
} problem;

/* An operand of the forward op that is an input of the graph, with its data in NCHW order. */
typedef struct { fd_val v; void *data; bool differentiable; } operand;

typedef struct {
    fd_ctx *ctx;
    problem *p;
    fd_graph *g;
    fd_params *params;           /* shared by all graphs of one problem */
    fd_arena arena;
    operand in[MAX_INPUTS];
    int nin;
    fd_val y, dy;                /* result and its given gradient; dy = 0: the op has none */
    fd_val dx[MAX_INPUTS];       /* gradient of in[k], 0 when there is none */
    int forward_nodes;
} setup;

/* "n=2 c=8 …" → problem. ARG error names what is wrong. */
fd_status problem_parse(fd_ctx *ctx, problem *p, fd_op op, const char *line);
double problem_number(problem *p, const char *key, double otherwise);
bool problem_is(problem *p, const char *key, const char *value);
bool problem_is_bf16(problem *p);

/* Records the graph. keep_all: every value stays readable. samples > 0 replaces the line's n. A failure frees all. */
fd_status setup_new(fd_ctx *ctx, setup *s, problem *p, fd_params *params, bool keep_all, int samples);
void setup_free(setup *s);
/* Plans, fills inputs, and sets the gradient accumulators to their start values. */
fd_status setup_exec(setup *s, const fd_backend *backend, bool unplanned, fd_exec **out);
void setup_reset_grads(setup *s);

/* Normal numbers of a stream of their own per name. */
void draw(float *out, int64_t count, const char *name, double scale, double add);

/* The backend whose kernels are tried. */
extern const fd_backend *under_test;
enum { GUARD = 256 };
/* Runs the call; where the backend has a device, on copies of all operands there, each between guards of NaN. A write
 * outside an operand is DEVICE. */
fd_status run_call(fd_ctx *ctx, const fd_backend *backend, const fd_kernel *kernel, fd_call *c);

/* What a mode does with one problem: true = good; otherwise it has printed why. */
bool check_fast(fd_ctx *ctx, problem *p);
bool check_grad(fd_ctx *ctx, problem *p);
bool measure(fd_ctx *ctx, problem *p);
/* Set by the mode "twin": every compared result gets one wrong element, which must be noticed. */
extern bool spoil;
#define COMPLAIN(...) ((void)(spoil || printf(__VA_ARGS__)))
/* Ops whose kernels check_fast has compared. */
extern bool covered[FD_OP_COUNT];

/* Relative L2 difference over all elements, whatever the layouts; infinite when a number is not finite. */
double difference(const fd_buf *want, const fd_buf *got);

#endif
