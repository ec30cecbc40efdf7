/* autodiff.c — gradients as ordinary nodes: walk the list backwards, ask every op for its rule, add up fan-outs.
 *
 * What needs a gradient is decided once, forwards: a value does if it is a trained parameter, is asked for, or is
 * computed from one that does. Everything else is never recorded, so a frozen network costs its data gradient only.
 */
#include <stdio.h>
#include <string.h>

#include "graph/build.h"
#include "graph/op.h"
#include "graph/recompute.h"

bool fd_wants(const fd_graph *g, fd_val v) { return v > 0 && v < g->needs_n && g->needs[v]; }

static fd_status mark_needs(fd_graph *g, int nwrt, const fd_val *wrt) {
    FD_NEW(g->ctx, &g->arena, g->needs, g->nval);
    g->needs_n = g->nval;
    for (int v = 1; v < g->nval; v++) {
        const fd_value *x = &g->val[v];
        if (x->kind == FD_VAL_PARAM)
            g->needs[v] = (g->train_sets >> x->set & 1) && !g->set[x->set]->list[x->param].buffer;
    }
    for (int i = 0; i < nwrt; i++) g->needs[wrt[i]] = true;
    for (int i = 0; i < g->nnode; i++) {
        const fd_node *n = &g->node[i];
        bool any = false;
        for (int k = 0; k < n->nin; k++) any = any || g->needs[n->in[k]];
        if (!any || !fd_op_get(n->op)->vjp) continue;
        for (int k = 0; k < n->nout; k++)
            if (n->out[k] > 0) g->needs[n->out[k]] = true;
    }
    return FD_OK;
}

/* grad[v] += more: the first contribution is the gradient itself, later ones become add nodes. */
static void contribute(fd_graph *g, fd_val *grad, fd_val v, fd_val more) {
    if (!more) return;
    grad[v] = grad[v] ? fd_add(g, grad[v], more, 1, 1) : more;
}

static fd_status one_node(fd_graph *g, const fd_node *n, fd_val *grad) {
    fd_val gy[FD_MAX_OUT] = {0}, gx[FD_MAX_IN] = {0};
    bool reached = false, wanted = false;
    for (int k = 0; k < n->nout; k++) {
        if (n->out[k] > 0) gy[k] = grad[n->out[k]];
        reached = reached || gy[k];
    }
    for (int k = 0; k < n->nin; k++) wanted = wanted || fd_wants(g, n->in[k]);
    if (!reached || !wanted) return FD_OK;
    const fd_op_info *info = fd_op_get(n->op);
    if (!info->vjp)
        return FD_FAIL(g->ctx, FD_E_UNSUPPORTED, "%s in '%s' has no gradient rule", info->name, n->scope);
    g->scope = n->scope;
    FD_TRY(info->vjp(g, n, gy, gx));
    for (int k = 0; k < n->nin; k++)
        if (fd_wants(g, n->in[k]) && g->val[n->in[k]].kind != FD_VAL_PARAM) contribute(g, grad, n->in[k], gx[k]);
    return g->failed ? g->ctx->code : FD_OK;
}

fd_status fd_graph_backward(fd_graph *g, int ny, const fd_val *y, const fd_val *gy, int ntrained,
                            fd_params *const *trained, int nwrt, const fd_val *wrt, fd_val *gwrt) {
    if (g->failed) return g->ctx->code;
    g->train_sets = 0;
    for (int i = 0; i < ntrained; i++)
        for (int s = 0; s < g->nset; s++)
            if (g->set[s] == trained[i]) g->train_sets |= 1u << s;
    FD_TRY(mark_needs(g, nwrt, wrt));
    fd_val *grad;
    FD_NEW(g->ctx, &g->arena, grad, g->nval);
    for (int i = 0; i < ny; i++) {
        if (!fd_same_shape(g->val[y[i]].s, g->val[gy[i]].s))
            return FD_FAIL(g->ctx, FD_E_SHAPE, "backward: gradient %d has another shape than its output", i);
        contribute(g, grad, y[i], gy[i]);
    }
    const char *scope = g->scope;
    int start = g->nnode;
    for (int i = start - 1; i >= 0; i--) {
        fd_node n = g->node[i];     /* a copy: the list may move while nodes are appended */
        FD_TRY(one_node(g, &n, grad));
    }
    for (int i = 0; i < nwrt; i++) gwrt[i] = grad[wrt[i]];
    g->scope = scope;
    return g->failed ? g->ctx->code : fd_graph_recompute(g, start);
}
