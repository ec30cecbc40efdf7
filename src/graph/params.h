/* params.h — the named weights of one network in one flat block.
 *
 * All trainable tensors lie in one array of floats in the order of declaration (the order of the network, which is
 * also EDM's), each starting on a 64-byte boundary; gradients, Adam moments and EMAs are arrays of the same layout, so
 * that the optimiser is one pass over flat memory. Buffers (Fourier frequencies, resample filters) follow the trainable
 * part and never receive gradients.
 *
 * Life: fd_params_init → the model's build function declares tensors → fd_params_freeze allocates → values come from an
 * initialiser or a checkpoint. Building a second graph on a frozen set looks tensors up and checks their shapes.
 */
#ifndef FD_GRAPH_PARAMS_H
#define FD_GRAPH_PARAMS_H

#include <stdint.h>

#include "base/arena.h"

/* How a tensor starts (algorithms.md 3.1). scale multiplies the drawn values. */
typedef enum {
    FD_INIT_ZERO, FD_INIT_ONE, FD_INIT_XAVIER_UNIFORM, FD_INIT_XAVIER_NORMAL, FD_INIT_KAIMING_UNIFORM,
    FD_INIT_KAIMING_NORMAL, FD_INIT_NORMAL /* N(0, scale^2) */, FD_INIT_UNIFORM /* U(-scale, scale) */,
    FD_INIT_FILTER /* outer(v,v)/(sum v)^2 of `taps` */
} fd_init_kind;
typedef struct {
    fd_init_kind kind;
    double scale;
    int64_t fan_in, fan_out;      /* as torch counts them; 0 where the kind needs none */
    float taps[4];
    int ntaps;
} fd_init;

typedef struct fd_param {
    const char *name;             /* EDM's state_dict name */
    int rank;
    int64_t dim[4];
    int64_t count;                /* elements */
    int64_t offset;               /* first element in the flat arrays */
    bool buffer;                  /* not trained */
    fd_init init;
} fd_param;

typedef struct fd_params {
    fd_arena arena;
    fd_param *list;
    int n, capacity;
    int64_t trained;              /* floats of the trainable part, padding included */
    int64_t total;                /* floats of the whole block                      */
    int64_t count_trained;        /* trainable elements without padding: "parameters" */
    float *w;                     /* [total] weights; owner: this set (or swapped in by fd_params_use) */
    float *own;                   /* what fd_params_free frees */
    float *g;                     /* [trained] gradient accumulators; NULL until fd_params_need_grads */
    bool g_lent;                  /* another set's: fd_params_borrow_grads */
    uint64_t version;             /* raised by whoever changes w, so that re-laid copies know they are stale */
    bool frozen;
} fd_params;

void fd_params_init(fd_params *p);
void fd_params_free(fd_params *p);
/* Declares (before freeze) or finds (after) a tensor; *index is its place in list. SHAPE error on disagreement. */
fd_status fd_params_declare(fd_ctx *ctx, fd_params *p, const char *name, int rank, const int64_t *dim, bool buffer,
                            const fd_init *init, int *index);
int fd_params_find(const fd_params *p, const char *name);        /* -1 when absent */
fd_status fd_params_freeze(fd_ctx *ctx, fd_params *p);           /* lays out, allocates w (zeroed) */
fd_status fd_params_need_grads(fd_ctx *ctx, fd_params *p);       /* allocates g once, zeroed */
/* Uses the lender's g, for sets of which only one gathers gradients at a time. Same layout, before need_grads of p; the
 * lender lives longer or p is not run any more. SHAPE error otherwise. */
fd_status fd_params_borrow_grads(fd_ctx *ctx, fd_params *p, fd_params *lender);
/* Fills every tensor by its initialiser from Philox(seed, FD_RNG_INIT, hash of the name). */
void fd_params_initialise(fd_params *p, uint64_t seed);
void fd_params_touch(fd_params *p);                              /* the weights changed */
/* Runs the network with another block of the same layout (an EMA); returns the previous one, to swap back. */
float *fd_params_use(fd_params *p, float *w);

#endif
