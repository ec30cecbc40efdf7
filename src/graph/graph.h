/* graph.h — the recorded computation: values, nodes, and gradients as ordinary nodes.
 *
 * A graph is static: shapes are fixed when it is recorded. Recording never computes. Errors are sticky: a constructor
 * that gets value 0 returns 0, the text of the first failure is in the context, and fd_graph_ok tells at the end. So a
 * network can be written as expressions.
 */
#ifndef FD_GRAPH_GRAPH_H
#define FD_GRAPH_GRAPH_H

#include "base/arena.h"
#include "graph/params.h"
#include "graph/tensor.h"

#define FD_MAX_IN 7
#define FD_MAX_OUT 4
#define FD_MAX_SETS 8
#define FD_CONCAT_MAX 6     /* operands of concat */

typedef enum {
#define FD_OP(name, in, out, diff) FD_OP_##name,
#include "ops.def"
#undef FD_OP
    FD_OP_COUNT
} fd_op;

typedef int fd_val;     /* index of a value in its graph; 0 = none */

typedef enum { FD_VAL_NONE, FD_VAL_INPUT, FD_VAL_PARAM, FD_VAL_PGRAD, FD_VAL_NODE } fd_val_kind;

typedef struct fd_value {
    fd_val_kind kind;
    fd_shape s;
    fd_dtype dt;
    int node, out;          /* NODE: producer and which of its outputs */
    int set, param;         /* PARAM, PGRAD: index into sets, index into that set's list */
    const char *name;       /* inputs and parameters, and what fd_graph_name named; else NULL */
    bool keep;              /* readable after the run: its memory is never reused */
} fd_value;

typedef enum { FD_NORM_PLAIN, FD_NORM_ADD /* x + e before */, FD_NORM_SCALE_SHIFT /* *(1+e[:C]) + e[C:] after */ } fd_norm_mode;
typedef enum { FD_EMBED_COS_SIN, FD_EMBED_SIN_COS } fd_embed_mode;

/* Attributes of every op, by name; an op's doc says which it reads. Unused ones are zero. */
typedef struct fd_attr {
    int stride, pad, pad_w; /* conv2d, pools: rows of border above and below, columns of it left and right */
    int window;             /* pools: rows and columns of a window */
    int h, w;               /* conv2d_bwd_x: size of dx; broadcast_*: size of y */
    int groups, act, mode;  /* group_norm: act 0 none, 1 silu; mode: fd_norm_mode. noise_embed: fd_embed_mode.
                               conv2d: act 0 none, 1 relu */
    float eps;
    int heads;              /* attention */
    int up, ntaps;          /* resample: 1 = up by two, 0 = down by two; pad as above */
    float taps[4], gain;    /* one-dimensional filter, already divided by its sum; factor on the 2-D result */
    float a, b;             /* add, scale, softplus (sign) */
    int c0, c1;             /* slice: channels [c0, c1); noise_embed, broadcast_rows: channels in c1 */
    float p;                /* dropout probability */
    uint64_t seed;          /* dropout: run seed */
    uint32_t id;            /* dropout: which layer */
    int endpoint;           /* noise_embed */
    int dt_set;             /* 1: the output has type dt, else that of the first input */
    fd_dtype dt;
} fd_attr;

typedef struct fd_node {
    fd_op op;
    int nin, nout;
    fd_val in[FD_MAX_IN], out[FD_MAX_OUT];
    fd_attr attr;
    const char *scope;      /* "enc.32x32_block0.conv0"; backward nodes carry the scope of their forward node */
} fd_node;

typedef struct fd_graph {
    fd_ctx *ctx;
    fd_arena arena;
    fd_value *val;  int nval, val_cap;      /* val[0] is the none value */
    fd_node *node;  int nnode, node_cap;
    fd_params *set[FD_MAX_SETS]; int nset;
    const char *scope;
    bool failed;
    unsigned train_sets;                    /* during fd_graph_backward: bit s = set s receives gradients */
    bool *needs;                            /* during fd_graph_backward: value needs a gradient */
    int needs_n;
} fd_graph;

fd_status fd_graph_new(fd_ctx *ctx, fd_graph **g);
void fd_graph_free(fd_graph *g);
bool fd_graph_ok(const fd_graph *g);                      /* no failure so far */

fd_val fd_graph_input(fd_graph *g, const char *name, fd_shape s, fd_dtype dt);
/* Parameter `index` of a set; the set is registered with the graph on first use. */
fd_val fd_graph_param(fd_graph *g, fd_params *set, int index);
void fd_graph_keep(fd_graph *g, fd_val v);                /* an output: survives until the next run */
void fd_graph_name(fd_graph *g, fd_val v, const char *name);
/* Scope for the nodes recorded from now on; the text is copied. */
void fd_graph_scope(fd_graph *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
fd_val fd_graph_find(const fd_graph *g, const char *name);  /* by name; 0 when absent */
int fd_graph_position(const fd_graph *g);                 /* number of nodes so far: marks phases for fd_exec_run */

/* Records a node. in[k] = 0 where an optional input is absent. out (may be NULL): on entry 0 = make a new value,
 * FD_UNWANTED = this optional output is not wanted, else an existing PGRAD value; on return the values. Returns out[0]
 * (the first wanted one), 0 after a failure. */
#define FD_UNWANTED (-1)
fd_val fd_graph_node(fd_graph *g, fd_op op, const fd_val *in, const fd_attr *attr, fd_val *out);

/* Appends the gradient nodes.
 *   y[i], gy[i]   outputs and their given gradients (values of the graph, usually inputs), i < ny
 *   trained       parameter sets that receive gradients (+= into set->g)
 *   wrt[i]        other values whose gradient is wanted; gwrt[i] becomes that gradient (0 when y does not depend on it)
 * Work that feeds none of these is never recorded. */
fd_status fd_graph_backward(fd_graph *g, int ny, const fd_val *y, const fd_val *gy, int ntrained,
                            fd_params *const *trained, int nwrt, const fd_val *wrt, fd_val *gwrt);

/* For the gradient rules. */
bool fd_wants(const fd_graph *g, fd_val v);               /* v needs a gradient in the backward pass being recorded */
fd_val fd_pgrad(fd_graph *g, fd_val param);               /* where a parameter's gradient goes; FD_UNWANTED if not trained */

/* For dumps and errors: the name, or "%12". */
const char *fd_val_label(const fd_graph *g, fd_val v, char out[96]);

#endif
