/* op.h — what an operation is: its rules (written per op in src/op/<name>.c) and the call a kernel receives. */
#ifndef FD_GRAPH_OP_H
#define FD_GRAPH_OP_H

#include "graph/graph.h"

/* One resolved call: operands with pointers and sizes, everything a kernel may look at. */
typedef struct fd_call {
    fd_buf in[FD_MAX_IN], out[FD_MAX_OUT];     /* parameter gradients are accumulated (+=), all others written (=) */
    const uint64_t *version[FD_MAX_IN];        /* of parameter inputs: changes when the weights change; else NULL */
    fd_attr attr;
    void *work;                                /* scratch of work_bytes, alive during this call only */
    size_t work_bytes;
    void *state;                               /* made by the kernel's prepare, e.g. library primitives */
    const char *algo;                          /* name of the chosen algorithm for dumps; NULL = the only one */
    int threads;
} fd_call;

typedef struct fd_op_info {
    const char *name;
    const char *in_name[FD_MAX_IN], *out_name[FD_MAX_OUT];   /* a trailing _ marks an optional operand */
    int nin, nout;
    /* Checks operand shapes and sets shape and dtype of the NODE values in n->out. Absent outputs are FD_UNWANTED. */
    fd_status (*infer)(fd_graph *g, fd_node *n);
    /* Records gradient nodes: gy[k] gradient of output k (0 = none), gx[k] to be set for inputs that are wanted. */
    fd_status (*vjp)(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx);
    /* Plain-loop reference: any block, any dtype, f32 (or wider) arithmetic. */
    void (*ref)(const fd_call *c);
} fd_op_info;

const fd_op_info *fd_op_get(fd_op op);
fd_op fd_op_by_name(const char *name);          /* FD_OP_COUNT when unknown */
/* Floating-point operations of a node (multiply and add count as two); 0 for data movement. */
double fd_op_flops(const fd_graph *g, const fd_node *n);
/* True when output 0 may be written over input k: each element of the input is read before or when that of the
 * output is written. */
bool fd_op_in_place(fd_op op, int k);
/* True when output 0 costs about one pass over memory: a backward pass may make it again instead of keeping it. */
bool fd_op_cheap(fd_op op);

/* For shape rules: fails with op name, scope, what is wrong and the operand shapes. */
fd_status fd_shape_fail(fd_graph *g, const fd_node *n, const char *what);
#define FD_IN(g, n, k) (&(g)->val[(n)->in[k]])
/* Sets shape and type of output k if it is wanted and a new value; a PGRAD output is checked to have that count. */
fd_status fd_set_out(fd_graph *g, fd_node *n, int k, fd_shape s, fd_dtype dt);

#define FD_OP(name, in, out, diff)                          \
    fd_status fd_infer_##name(fd_graph *g, fd_node *n);     \
    void fd_ref_##name(const fd_call *c);                   \
    FD_VJP_##diff(name)
#define FD_VJP_DIFF(name) fd_status fd_vjp_##name(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx);
#define FD_VJP_NODIFF(name)
#include "ops.def"
#undef FD_OP
#undef FD_VJP_DIFF
#undef FD_VJP_NODIFF

#endif
