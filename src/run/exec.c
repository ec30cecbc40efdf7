#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/progress.h"
#include "run/exec_internal.h"

/* ---- planning ---------------------------------------------------------------------------------------------------- */

fd_buf fd_exec_describe(const fd_exec *e, fd_val v) {
    if (v <= 0) return (fd_buf){0};
    const fd_value *x = &e->g->val[v];
    fd_buf b = {.s = x->s, .dt = x->dt, .block = 1};
    if (x->kind == FD_VAL_NODE || x->kind == FD_VAL_INPUT) b.block = x->dt == FD_I32 ? 1 : e->backend->block(x->s, x->dt);
    return b;
}

static fd_status prepare_nodes(fd_ctx *ctx, fd_exec *e) {
    static const fd_kernel none;
    for (int i = 0; i < e->nnode; i++) {
        const fd_node *n = &e->g->node[i];
        fd_call *c = &e->call[i];
        for (int k = 0; k < n->nin; k++) {
            c->in[k] = fd_exec_describe(e, n->in[k]);
            if (n->in[k] > 0 && e->g->val[n->in[k]].kind == FD_VAL_PARAM)
                c->version[k] = &e->g->set[e->g->val[n->in[k]].set]->version;
        }
        for (int k = 0; k < n->nout; k++) c->out[k] = fd_exec_describe(e, n->out[k]);
        c->attr = n->attr;
        c->threads = ctx->threads > 0 ? ctx->threads : omp_get_max_threads();
        const fd_kernel *kernel = &e->backend->kernel[n->op];
        if (kernel->prepare) {
            fd_status s = kernel->prepare(ctx, c);
            if (s == FD_E_UNSUPPORTED && ctx->code == FD_OK && !e->device) {
                kernel = &fd_backend_reference()->kernel[n->op];
                c->algo = "reference";
            } else if (s != FD_OK) {
                if (ctx->code == FD_OK)
                    return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s in '%s' has no kernel in backend '%s' for its shapes",
                                   fd_op_get(n->op)->name, n->scope, e->backend->name);
                return fd_while(ctx, "%s in '%s'", fd_op_get(n->op)->name, n->scope);
            }
        }
        e->kernel[i] = kernel->run ? kernel : &none;
        if (!kernel->run)
            return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s has no kernel in backend '%s'", fd_op_get(n->op)->name,
                           e->backend->name);
    }
    return FD_OK;
}

/* Last node that reads each value (kept ones: the end). */
static fd_status lifetimes(fd_ctx *ctx, fd_exec *e, int **last_out) {
    const fd_graph *g = e->g;
    int *last;
    FD_NEW(ctx, &e->arena, last, g->nval);
    for (int i = 0; i < e->nnode; i++) {
        for (int k = 0; k < g->node[i].nin; k++) last[g->node[i].in[k]] = i;
        for (int k = 0; k < g->node[i].nout; k++)
            if (g->node[i].out[k] > 0 && last[g->node[i].out[k]] < i) last[g->node[i].out[k]] = i;
    }
    for (int v = 1; v < g->nval; v++)
        if (g->val[v].keep) last[v] = e->nnode;
    *last_out = last;
    return FD_OK;
}

/* The input whose memory output 0 of node i may take over, or 0. */
static fd_val take_over(const fd_exec *e, int i, const int *last) {
    const fd_graph *g = e->g;
    const fd_node *n = &g->node[i];
    if (n->out[0] <= 0 || g->val[n->out[0]].kind != FD_VAL_NODE) return 0;
    fd_buf out = fd_exec_describe(e, n->out[0]);
    for (int k = 0; k < n->nin; k++) {
        fd_val v = n->in[k];
        if (v <= 0 || !fd_op_in_place(n->op, k) || g->val[v].kind != FD_VAL_NODE || last[v] != i) continue;
        bool twice = false;      /* the same value as two operands: overwriting one would change the other */
        for (int j = 0; j < n->nin; j++) twice = twice || (j != k && n->in[j] == v);
        fd_buf in = fd_exec_describe(e, v);
        if (!twice && in.dt == out.dt && in.block == out.block && fd_same_shape(in.s, out.s)) return v;
    }
    return 0;
}

static fd_status place_values(fd_ctx *ctx, fd_exec *e, bool unplanned) {
    const fd_graph *g = e->g;
    int *last, nslot = 0;
    FD_TRY(lifetimes(ctx, e, &last));
    FD_NEW(ctx, &e->arena, e->slot, g->nval + e->nnode);
    FD_NEW(ctx, &e->arena, e->slot_of, g->nval);
    FD_NEW(ctx, &e->arena, e->work_slot, e->nnode);
    FD_NEW(ctx, &e->arena, e->input_at, g->nval);
    for (int v = 0; v < g->nval; v++) {
        e->slot_of[v] = -1;
        if (g->val[v].kind != FD_VAL_INPUT) continue;
        e->input_at[v] = e->input_bytes;
        e->input_bytes += (fd_tensor_bytes(g->val[v].s, g->val[v].dt) + FD_ALIGN - 1) / FD_ALIGN * FD_ALIGN;
    }
    for (int i = 0; i < e->nnode; i++) {
        const fd_node *n = &g->node[i];
        fd_val old = unplanned ? 0 : take_over(e, i, last);
        for (int k = 0; k < n->nout; k++) {
            fd_val v = n->out[k];
            if (v <= 0 || g->val[v].kind != FD_VAL_NODE) continue;
            e->unplanned_bytes += (fd_tensor_bytes(g->val[v].s, g->val[v].dt) + FD_ALIGN - 1) / FD_ALIGN * FD_ALIGN;
            if (k == 0 && old) {
                e->slot_of[v] = e->slot_of[old];
                e->slot[e->slot_of[v]].last = last[v];
                continue;
            }
            e->slot_of[v] = nslot;
            e->slot[nslot++] = (fd_slot){.bytes = fd_tensor_bytes(g->val[v].s, g->val[v].dt),
                                         .first = unplanned ? 0 : i, .last = unplanned ? e->nnode : last[v]};
        }
        e->work_slot[i] = nslot;
        e->slot[nslot++] = (fd_slot){.bytes = e->call[i].work_bytes, .first = i, .last = i};
        if (e->call[i].work_bytes > e->work_bytes) e->work_bytes = e->call[i].work_bytes;
    }
    e->unplanned_bytes += e->work_bytes;    /* planned bytes hold work space too: like is compared with like */
    return fd_plan_place(ctx, e->slot, nslot, &e->act_bytes);
}

/* ---- memory and pointers ----------------------------------------------------------------------------------------- */

static float *weights_of(const fd_exec *e, int set) { return e->device ? e->twin_w[set]->p : e->g->set[set]->w; }
static float *gradients_of(const fd_exec *e, int set) {
    if (!e->device) return e->g->set[set]->g;
    return e->twin_g[set] ? e->twin_g[set]->p : NULL;
}

static void *value_pointer(const fd_exec *e, fd_val v) {
    if (v <= 0) return NULL;
    const fd_value *x = &e->g->val[v];
    switch (x->kind) {
    case FD_VAL_INPUT: return (char *)e->inputs + e->input_at[v];
    case FD_VAL_PARAM: return weights_of(e, x->set) + e->g->set[x->set]->list[x->param].offset;
    case FD_VAL_PGRAD: return gradients_of(e, x->set) + e->g->set[x->set]->list[x->param].offset;
    case FD_VAL_NODE: return (char *)e->base + e->slot[e->slot_of[v]].offset;
    default: return NULL;
    }
}

static void *memory_of(const fd_exec *e) { return e->pool ? e->pool->mem : e->own; }

/* Weights may be swapped (an EMA) and a pool may have moved: then all pointers are set again. */
static fd_status resolve(fd_ctx *ctx, fd_exec *e) {
    bool same = e->base == memory_of(e);
    for (int s = 0; s < e->g->nset; s++) same = same && e->set_w[s] == e->g->set[s]->w && e->set_g[s] == e->g->set[s]->g;
    if (same) return FD_OK;
    if (e->device) FD_TRY(fd_exec_device_resolve(ctx, e));
    e->base = memory_of(e);
    for (int s = 0; s < e->g->nset; s++) {
        e->set_w[s] = e->g->set[s]->w;
        e->set_g[s] = e->g->set[s]->g;
    }
    for (int i = 0; i < e->nnode; i++) {
        const fd_node *n = &e->g->node[i];
        for (int k = 0; k < n->nin; k++) e->call[i].in[k].p = value_pointer(e, n->in[k]);
        for (int k = 0; k < n->nout; k++) e->call[i].out[k].p = value_pointer(e, n->out[k]);
        e->call[i].work = (char *)e->base + e->slot[e->work_slot[i]].offset;
    }
    return FD_OK;
}

static fd_status take(fd_ctx *ctx, const fd_device *device, size_t bytes, void **out) {
    if (device) return device->alloc(ctx, bytes, out);
    *out = fd_alloc(ctx, bytes);
    return *out ? FD_OK : FD_E_NOMEM;
}
static void give_back(const fd_device *device, void *p) {
    if (device) device->release(p);
    else fd_free(p);
}

static fd_status get_memory(fd_ctx *ctx, fd_exec *e) {
    FD_TRY(take(ctx, e->device, e->input_bytes, &e->inputs));
    if (e->device) {
        FD_TRY(e->device->zero(ctx, e->inputs, e->input_bytes));
        FD_TRY(fd_exec_device_memory(ctx, e));
    }
    if (!e->pool) return take(ctx, e->device, e->act_bytes, &e->own);
    if (e->pool->mem && e->pool->device != e->device)
        return FD_FAIL(ctx, FD_E_ARG, "a pool holds the memory of one device; this plan is for another");
    if (e->pool->bytes < e->act_bytes) {
        void *mem;
        FD_TRY(take(ctx, e->device, e->act_bytes, &mem));
        fd_pool_free(e->pool);
        *e->pool = (fd_pool){mem, e->act_bytes, e->device};
    }
    return FD_OK;
}

static fd_status build(fd_ctx *ctx, fd_exec *e, const fd_exec_options *o) {
    FD_NEW(ctx, &e->arena, e->call, e->nnode);
    FD_NEW(ctx, &e->arena, e->kernel, e->nnode);
    FD_NEW(ctx, &e->arena, e->seconds, e->nnode);
    FD_NEW(ctx, &e->arena, e->runs, e->nnode);
    FD_TRY(prepare_nodes(ctx, e));
    FD_TRY(place_values(ctx, e, o->unplanned));
    return get_memory(ctx, e);
}

fd_status fd_exec_new(fd_ctx *ctx, fd_graph *g, const fd_exec_options *o, fd_exec **out) {
    if (!fd_graph_ok(g)) return ctx->code;
    fd_exec *e = fd_alloc(ctx, sizeof *e);
    if (!e) return FD_E_NOMEM;
    e->g = g;
    e->backend = o && o->backend ? o->backend : fd_backend_cpu();
    e->device = e->backend->device;
    e->pool = o ? o->pool : NULL;
    e->nnode = g->nnode;
    fd_status s = build(ctx, e, o ? o : &(fd_exec_options){0});
    if (s != FD_OK) {
        fd_exec_free(e);
        return s;
    }
    *out = e;
    return FD_OK;
}

void fd_exec_free(fd_exec *e) {
    if (!e) return;
    for (int i = 0; e->kernel && i < e->nnode; i++)
        if (e->kernel[i] && e->kernel[i]->release && e->call[i].state) e->kernel[i]->release(e->call[i].state);
    if (e->device) fd_exec_device_free(e);
    give_back(e->device, e->own);
    give_back(e->device, e->inputs);
    fd_arena_free(&e->arena);
    fd_free(e);
}

void fd_pool_free(fd_pool *p) {
    give_back(p->device, p->mem);
    *p = (fd_pool){0};
}

/* ---- running ------------------------------------------------------------------------------------------------------ */

fd_status fd_exec_run_nodes(fd_ctx *ctx, fd_exec *e, int from, int to) {
    for (int i = from; i < to; i++) {
        double start = e->profile ? fd_now() : 0;
        fd_status s = e->kernel[i]->run(ctx, &e->call[i]);
        if (s != FD_OK) return fd_while(ctx, "%s in '%s'", fd_op_get(e->g->node[i].op)->name, e->g->node[i].scope);
        if (e->profile) {
            if (e->device) FD_TRY(e->device->wait(ctx));
            e->seconds[i] += fd_now() - start;
            e->runs[i]++;
        }
    }
    return FD_OK;
}

fd_status fd_exec_run(fd_ctx *ctx, fd_exec *e, int from, int to) {
    if (to < 0) to = e->nnode;
    FD_TRY(resolve(ctx, e));
    return e->device ? fd_exec_device_run(ctx, e, from, to) : fd_exec_run_nodes(ctx, e, from, to);
}

/* Without memory for device copies of the weights there is no buffer: p = NULL. */
fd_buf fd_exec_buf(fd_exec *e, fd_val v) {
    fd_ctx ignored = {0};
    if (resolve(&ignored, e) != FD_OK) return (fd_buf){0};
    fd_buf b = fd_exec_describe(e, v);
    b.p = value_pointer(e, v);
    return b;
}

static fd_status check_access(fd_ctx *ctx, const fd_exec *e, fd_val v, bool write) {
    const fd_value *x = &e->g->val[v > 0 ? v : 0];
    char label[96];
    bool good = write ? x->kind == FD_VAL_INPUT : (x->kind == FD_VAL_INPUT || (x->kind == FD_VAL_NODE && x->keep));
    if (good) return FD_OK;
    return FD_FAIL(ctx, FD_E_ARG, "value %s cannot be %s: it is no %s", fd_val_label(e->g, v, label),
                   write ? "written" : "read", write ? "input" : "kept output");
}

/* A value's memory as the host sees it: its own, or the stage. */
static fd_buf host_side(fd_exec *e, const fd_buf *b) {
    fd_buf h = *b;
    if (e->device) h.p = e->stage;
    return h;
}
static bool is_plain(const fd_buf *b) { return b->dt != FD_BF16 && (b->block == 1 || fd_pixels(b->s) == 1); }

fd_status fd_exec_write(fd_ctx *ctx, fd_exec *e, fd_val v, const void *src) {
    FD_TRY(check_access(ctx, e, v, true));
    FD_TRY(resolve(ctx, e));
    fd_buf b = fd_exec_buf(e, v), h = host_side(e, &b);
    size_t bytes = fd_tensor_bytes(b.s, b.dt);
    if (is_plain(&b)) {
        if (e->device) return e->device->put(ctx, b.p, src, bytes);
        memcpy(b.p, src, bytes);
        return FD_OK;
    }
    const float *x = src;
    for (int64_t n = 0; n < b.s.n; n++)
        for (int64_t c = 0; c < b.s.c; c++)
            for (int64_t i = 0; i < fd_pixels(b.s); i++) fd_put(&h, fd_at(&h, n, c, 0, 0) + i * h.block, *x++);
    return e->device ? e->device->put(ctx, b.p, h.p, bytes) : FD_OK;
}

fd_status fd_exec_fill(fd_ctx *ctx, fd_exec *e, fd_val v, float value) {
    FD_TRY(check_access(ctx, e, v, true));
    FD_TRY(resolve(ctx, e));
    fd_buf b = fd_exec_buf(e, v), h = host_side(e, &b);
    for (int64_t i = 0; i < fd_count(b.s); i++) fd_put(&h, i, value);
    return e->device ? e->device->put(ctx, b.p, h.p, fd_tensor_bytes(b.s, b.dt)) : FD_OK;
}

fd_status fd_exec_read(fd_ctx *ctx, fd_exec *e, fd_val v, float *dst) {
    FD_TRY(check_access(ctx, e, v, false));
    FD_TRY(resolve(ctx, e));
    fd_buf b = fd_exec_buf(e, v), h = host_side(e, &b);
    size_t bytes = fd_tensor_bytes(b.s, b.dt);
    if (is_plain(&b) && b.dt == FD_F32) {
        if (e->device) return e->device->get(ctx, dst, b.p, bytes);
        memcpy(dst, b.p, bytes);
        return FD_OK;
    }
    if (e->device) FD_TRY(e->device->get(ctx, h.p, b.p, bytes));
    for (int64_t n = 0; n < b.s.n; n++)
        for (int64_t c = 0; c < b.s.c; c++)
            for (int64_t i = 0; i < fd_pixels(b.s); i++) *dst++ = fd_get(&h, fd_at(&h, n, c, 0, 0) + i * h.block);
    return FD_OK;
}

static bool all_finite(const fd_buf *b) {
    for (int64_t i = 0; b->p && b->dt != FD_I32 && i < fd_count(b->s); i++)
        if (!isfinite(fd_get(b, i))) return false;
    return true;
}

fd_status fd_exec_find_nonfinite(fd_ctx *ctx, fd_exec *e, const char **scope, const char **op) {
    *scope = *op = NULL;
    for (int i = 0; i < e->nnode; i++) {
        FD_TRY(fd_exec_run(ctx, e, i, i + 1));
        for (int k = 0; k < e->g->node[i].nout; k++) {
            fd_buf b = e->call[i].out[k];
            if (e->device && b.p) {
                void *from = b.p;
                b.p = e->stage;
                FD_TRY(e->device->get(ctx, b.p, from, fd_tensor_bytes(b.s, b.dt)));
            }
            if (all_finite(&b)) continue;
            *scope = e->g->node[i].scope;
            *op = fd_op_get(e->g->node[i].op)->name;
            return FD_OK;
        }
    }
    return FD_OK;
}
