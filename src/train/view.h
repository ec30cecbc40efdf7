/* view.h — one use of a network: its preconditioned graph at a fixed batch, a plan, and the inputs to fill.
 *
 * A distillation step uses the same networks in several gradient views (forward only; forward and backward; encoder
 * only). Each is one fd_view: built once, sharing weights through the parameter set and memory through a pool.
 */
#ifndef FD_TRAIN_VIEW_H
#define FD_TRAIN_VIEW_H

#include "models/net.h"
#include "run/exec.h"

typedef struct fd_view {
    fd_net *net;
    int n;                       /* batch of one pass */
    fd_graph *g;
    fd_exec *e;
    fd_nn nn;
    fd_precond k;
    fd_unet_io io;
    fd_val x, D;
    int forward_end;             /* node position where the forward part ends: phases of fd_exec_run */
    float *coef;                 /* [4][n] scratch of the preconditioning */
    uint32_t *index;             /* [n][2] scratch of the dropout counters */
    fd_arena arena;
} fd_view;

typedef struct {
    int n;
    fd_dtype dtype;
    bool augment, dropout;       /* give the network these inputs */
    uint64_t dropout_seed;
    const int *taps;
    int ntaps;
    bool features_only;
} fd_view_spec;

/* Records inputs and network. The caller adds losses and gradients to v->g, then calls fd_view_plan. */
fd_status fd_view_open(fd_ctx *ctx, fd_net *net, const fd_view_spec *spec, fd_view *v);
fd_status fd_view_plan(fd_ctx *ctx, fd_view *v, const fd_backend *backend, fd_pool *pool);
void fd_view_close(fd_view *v);      /* safe on {0} */

/* Fills the inputs: x [n,C,R,R], sigma [n], labels [n,label_dim] (NULL: zeros), augment [n,augment_dim] (NULL: zeros). */
fd_status fd_view_fill(fd_ctx *ctx, fd_view *v, const float *x, const double *sigma, const float *labels, const float *augment);
/* Dropout counters: samples first … first+n-1. No-op without dropout. */
fd_status fd_view_count_samples(fd_ctx *ctx, fd_view *v, uint64_t first);
static inline fd_shape fd_view_shape(const fd_view *v) { return v->g->val[v->x].s; }

#endif
