/* recompute.c — values that are cheaper to make again than to keep from the forward pass to the backward pass.
 *
 * A convolution's weight gradient reads what a norm made of the norm's input, and the norm's own gradient reads that
 * input: keeping both holds twice the memory for one pass over memory saved. So the nodes of a backward pass read a
 * second copy of such a value, which a clone of its node makes right before its first reader; the bits are the same.
 * What qualifies: the operation moves memory rather than computes (fd_op_cheap), and keeping what it needs takes fewer
 * bytes than keeping the value. Chen et al. 2016 (arXiv 1604.06174) drop whole segments instead; here no convolution
 * is ever run twice.
 */
#include "graph/op.h"
#include "graph/recompute.h"

typedef struct {
    fd_graph *g;
    int nval, start;        /* what there was before any clone; first node of the backward pass */
    bool *read;             /* the backward pass reads this value of the forward pass */
    bool *known;            /* it can be made again */
    size_t *extra;          /* ... if these bytes are kept beside what the backward pass reads anyway */
    fd_val *again;          /* its second copy */
} recomputer;

static size_t bytes_of(const fd_graph *g, fd_val v) { return fd_tensor_bytes(g->val[v].s, g->val[v].dt); }

static bool worth_it(const recomputer *r, fd_val v) { return r->known[v] && r->extra[v] < bytes_of(r->g, v); }

/* Values are numbered in the order of their making, so the inputs of v are known before v. */
static void look_at(recomputer *r, fd_val v) {
    const fd_graph *g = r->g;
    const fd_value *x = &g->val[v];
    if (x->kind != FD_VAL_NODE || x->keep || x->out != 0 || x->node >= r->start) return;
    const fd_node *n = &g->node[x->node];
    if (!fd_op_cheap(n->op)) return;
    r->known[v] = true;
    for (int k = 0; k < n->nin; k++) {
        fd_val u = n->in[k];
        if (u <= 0 || g->val[u].kind != FD_VAL_NODE || g->val[u].keep || r->read[u]) continue;
        r->extra[v] += worth_it(r, u) ? r->extra[u] : bytes_of(g, u);
    }
}

/* v itself, or its second copy, made here if it is the first to ask. */
static fd_val fresh(recomputer *r, fd_val v) {
    fd_graph *g = r->g;
    if (v <= 0 || v >= r->nval || !worth_it(r, v)) return v;
    if (r->again[v]) return r->again[v];
    fd_node n = g->node[g->val[v].node];    /* a copy: the list may move */
    for (int k = 0; k < n.nin; k++) n.in[k] = fresh(r, n.in[k]);
    const char *scope = g->scope;
    g->scope = n.scope;
    r->again[v] = fd_graph_node(g, n.op, n.in, &n.attr, NULL);
    g->scope = scope;
    return r->again[v];
}

/* The node once more, at the end of the list, reading second copies and writing the values it wrote. */
static void record_again(recomputer *r, const fd_node *n) {
    fd_graph *g = r->g;
    fd_val in[FD_MAX_IN], out[FD_MAX_OUT];
    for (int k = 0; k < n->nin; k++) in[k] = fresh(r, n->in[k]);
    for (int k = 0; k < n->nout; k++) {
        out[k] = n->out[k];
        if (out[k] > 0 && g->val[out[k]].kind == FD_VAL_NODE) g->val[out[k]].node = g->nnode;
    }
    g->scope = n->scope;
    fd_graph_node(g, n->op, in, &n->attr, out);
}

fd_status fd_graph_recompute(fd_graph *g, int start) {
    recomputer r = {.g = g, .nval = g->nval, .start = start};
    int count = g->nnode - start;
    fd_node *node;
    FD_NEW(g->ctx, &g->arena, r.read, r.nval);
    FD_NEW(g->ctx, &g->arena, r.known, r.nval);
    FD_NEW(g->ctx, &g->arena, r.extra, r.nval);
    FD_NEW(g->ctx, &g->arena, r.again, r.nval);
    FD_NEW(g->ctx, &g->arena, node, count);
    for (int i = 0; i < count; i++) {
        node[i] = g->node[start + i];
        for (int k = 0; k < node[i].nin; k++) r.read[node[i].in[k]] = node[i].in[k] > 0;
    }
    for (fd_val v = 1; v < r.nval; v++) look_at(&r, v);
    const char *scope = g->scope;
    g->nnode = start;
    for (int i = 0; i < count; i++) record_again(&r, &node[i]);
    g->scope = scope;
    return g->failed ? g->ctx->code : FD_OK;
}
