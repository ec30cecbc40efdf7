/* exec_device.c — what running on a device adds: copies of weights and gradients, recordings, the stage.
 *
 * The host's blocks of weights and gradients are the truth between runs, unless a twin says that it is newer (the optimiser
 * works on the device). A run first brings over weights that changed (by their version), and gradients if it adds to them;
 * those go back when it ends. A range of nodes that is run a second
 * time is recorded, and from then on replayed as a whole.
 */
#include "run/exec_internal.h"

fd_status fd_exec_device_memory(fd_ctx *ctx, fd_exec *e) {
    for (int v = 1; v < e->g->nval; v++) {
        size_t bytes = fd_tensor_bytes(e->g->val[v].s, e->g->val[v].dt);
        if (bytes > e->stage_bytes) e->stage_bytes = bytes;
    }
    e->stage = fd_alloc(ctx, e->stage_bytes);
    return e->stage ? FD_OK : FD_E_NOMEM;
}

static void forget_tapes(fd_exec *e) {
    for (int i = 0; i < e->tapes; i++)
        if (e->tape[i].tape) e->device->forget(e->tape[i].tape);
    e->tapes = 0;
}

/* Blocks come and go in turns (weights and their average): the last few are kept. */
static void retire(fd_exec *e, fd_twin *t) {
    if (!t) return;
    const int n = (int)FD_COUNT(e->former);
    fd_twin_put(e->former[n - 1]);
    for (int i = n - 1; i > 0; i--) e->former[i] = e->former[i - 1];
    e->former[0] = t;
}

fd_status fd_exec_device_resolve(fd_ctx *ctx, fd_exec *e) {
    forget_tapes(e);
    for (int s = 0; s < e->g->nset; s++) {
        const fd_params *p = e->g->set[s];
        fd_twin *w, *g = NULL;
        FD_TRY(fd_twin_get(ctx, e->device, p->w, (size_t)p->total * sizeof(float), &w));
        retire(e, e->twin_w[s]);
        e->twin_w[s] = w;
        if (p->g) FD_TRY(fd_twin_get(ctx, e->device, p->g, (size_t)p->trained * sizeof(float), &g));
        retire(e, e->twin_g[s]);
        e->twin_g[s] = g;
    }
    return FD_OK;
}

void fd_exec_device_free(fd_exec *e) {
    forget_tapes(e);
    for (int s = 0; s < FD_MAX_SETS; s++) {
        fd_twin_put(e->twin_w[s]);
        fd_twin_put(e->twin_g[s]);
    }
    for (size_t i = 0; i < FD_COUNT(e->former); i++) fd_twin_put(e->former[i]);
    fd_free(e->stage);
}

/* Bit s: nodes [from, to) add to the gradients of set s. */
static unsigned sets_trained(const fd_exec *e, int from, int to) {
    unsigned sets = 0;
    for (int i = from; i < to; i++)
        for (int k = 0; k < e->g->node[i].nout; k++) {
            fd_val v = e->g->node[i].out[k];
            if (v > 0 && e->g->val[v].kind == FD_VAL_PGRAD) sets |= 1u << e->g->val[v].set;
        }
    return sets;
}

/* Runs, records or replays. Profiles want node by node. */
static fd_status run_range(fd_ctx *ctx, fd_exec *e, int from, int to) {
    fd_tape *t = NULL;
    for (int i = 0; i < e->tapes && !t; i++)
        if (e->tape[i].from == from && e->tape[i].to == to) t = &e->tape[i];
    if (e->profile || to - from < 2) return fd_exec_run_nodes(ctx, e, from, to);
    if (!t) {
        if (e->tapes < FD_MAX_TAPES) e->tape[e->tapes++] = (fd_tape){from, to, NULL};
        return fd_exec_run_nodes(ctx, e, from, to);
    }
    if (!t->tape) {
        FD_TRY(e->device->record(ctx));
        fd_status run = fd_exec_run_nodes(ctx, e, from, to), end = e->device->recorded(ctx, &t->tape);
        if (run != FD_OK || end != FD_OK) return run != FD_OK ? run : end;
    }
    return e->device->replay(ctx, t->tape);
}

fd_status fd_exec_device_run(fd_ctx *ctx, fd_exec *e, int from, int to) {
    const unsigned trained = sets_trained(e, from, to);
    for (int s = 0; s < e->g->nset; s++) {
        const fd_params *p = e->g->set[s];
        fd_twin *w = e->twin_w[s], *g = e->twin_g[s];
        if (!w->newer && w->version != p->version) {
            FD_TRY(e->device->put(ctx, w->p, p->w, w->bytes));
            w->version = p->version;
        }
        if (trained >> s & 1 && !g->newer) FD_TRY(e->device->put(ctx, g->p, p->g, g->bytes));
    }
    FD_TRY(run_range(ctx, e, from, to));
    for (int s = 0; s < e->g->nset; s++)
        if (trained >> s & 1 && !e->twin_g[s]->newer)
            FD_TRY(e->device->get(ctx, e->g->set[s]->g, e->twin_g[s]->p, e->twin_g[s]->bytes));
    return FD_OK;
}
