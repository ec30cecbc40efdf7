#include "graph/graph.h"

#include <stdio.h>
#include <string.h>

#include "graph/op.h"

/* Room for one more in a list that grows by doubling inside the graph's arena. */
static fd_status grow(fd_ctx *ctx, fd_arena *a, void **list, int n, int *cap, size_t size) {
    if (n < *cap) return FD_OK;
    int more = *cap ? 2 * *cap : 256;
    void *fresh = fd_arena_alloc(ctx, a, fd_mul_size((size_t)more, size));
    if (!fresh) return FD_E_NOMEM;
    if (*list) memcpy(fresh, *list, (size_t)n * size);
    *list = fresh;
    *cap = more;
    return FD_OK;
}

fd_status fd_graph_new(fd_ctx *ctx, fd_graph **out) {
    fd_graph *g = fd_alloc(ctx, sizeof *g);
    if (!g) return FD_E_NOMEM;
    g->ctx = ctx;
    g->scope = "";
    g->nval = 1;      /* value 0 is "none" */
    if (grow(ctx, &g->arena, (void **)&g->val, 1, &g->val_cap, sizeof *g->val) != FD_OK) {
        fd_graph_free(g);
        return FD_E_NOMEM;
    }
    *out = g;
    return FD_OK;
}

void fd_graph_free(fd_graph *g) {
    if (!g) return;
    fd_arena_free(&g->arena);
    fd_free(g);
}

bool fd_graph_ok(const fd_graph *g) { return !g->failed; }

static fd_val fail(fd_graph *g) {
    g->failed = true;
    return 0;
}

static fd_val new_value(fd_graph *g, fd_value v) {
    if (grow(g->ctx, &g->arena, (void **)&g->val, g->nval, &g->val_cap, sizeof *g->val) != FD_OK) return fail(g);
    g->val[g->nval] = v;
    return g->nval++;
}

fd_val fd_graph_input(fd_graph *g, const char *name, fd_shape s, fd_dtype dt) {
    if (s.n < 1 || s.c < 1 || s.h < 1 || s.w < 1) {
        FD_FAIL(g->ctx, FD_E_SHAPE, "graph input '%s': empty shape [%lld,%lld,%lld,%lld]", name, (long long)s.n,
                (long long)s.c, (long long)s.h, (long long)s.w);
        return fail(g);
    }
    const char *copy = fd_arena_strdup(g->ctx, &g->arena, name);
    if (!copy) return fail(g);
    return new_value(g, (fd_value){.kind = FD_VAL_INPUT, .s = s, .dt = dt, .name = copy});
}

static int set_index(fd_graph *g, fd_params *set) {
    for (int i = 0; i < g->nset; i++)
        if (g->set[i] == set) return i;
    if (g->nset == FD_MAX_SETS) {
        FD_FAIL(g->ctx, FD_E_ARG, "a graph can use at most %d parameter sets", FD_MAX_SETS);
        return -1;
    }
    g->set[g->nset] = set;
    return g->nset++;
}

static fd_shape param_shape(const fd_param *p) {
    if (p->rank == 1) return (fd_shape){1, p->dim[0], 1, 1};
    return (fd_shape){p->dim[0], p->dim[1], p->rank > 2 ? p->dim[2] : 1, p->rank > 3 ? p->dim[3] : 1};
}

static fd_val param_value(fd_graph *g, int set, int index, fd_val_kind kind) {
    for (int i = 1; i < g->nval; i++)   /* one value per parameter, so that its gradient is found again */
        if (g->val[i].kind == kind && g->val[i].set == set && g->val[i].param == index) return i;
    const fd_param *p = &g->set[set]->list[index];
    return new_value(g, (fd_value){.kind = kind, .s = param_shape(p), .dt = FD_F32, .set = set, .param = index,
                                   .name = p->name});
}

fd_val fd_graph_param(fd_graph *g, fd_params *set, int index) {
    int s = set_index(g, set);
    return s < 0 ? fail(g) : param_value(g, s, index, FD_VAL_PARAM);
}

fd_val fd_pgrad(fd_graph *g, fd_val param) {
    if (!param || g->val[param].kind != FD_VAL_PARAM || !fd_wants(g, param)) return FD_UNWANTED;
    return param_value(g, g->val[param].set, g->val[param].param, FD_VAL_PGRAD);
}

void fd_graph_keep(fd_graph *g, fd_val v) {
    if (v > 0) g->val[v].keep = true;
}

void fd_graph_name(fd_graph *g, fd_val v, const char *name) {
    if (v > 0) g->val[v].name = fd_arena_strdup(g->ctx, &g->arena, name);
}

void fd_graph_scope(fd_graph *g, const char *fmt, ...) {
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    const char *copy = fd_arena_strdup(g->ctx, &g->arena, text);
    if (copy) g->scope = copy;
    else fail(g);
}

fd_val fd_graph_find(const fd_graph *g, const char *name) {
    for (int i = 1; i < g->nval; i++)
        if (g->val[i].name && g->val[i].kind != FD_VAL_PGRAD && strcmp(g->val[i].name, name) == 0) return i;
    return 0;
}

int fd_graph_position(const fd_graph *g) { return g->nnode; }

const char *fd_val_label(const fd_graph *g, fd_val v, char out[96]) {
    const fd_value *x = &g->val[v > 0 ? v : 0];
    if (v <= 0) snprintf(out, 96, "-");
    else if (x->name) snprintf(out, 96, "%s%s", x->kind == FD_VAL_PGRAD ? "grad of " : "", x->name);
    else snprintf(out, 96, "%%%d", v);
    return out;
}

static bool is_optional(const char *operand) {
    size_t n = strlen(operand);
    return n && operand[n - 1] == '_';
}

fd_val fd_graph_node(fd_graph *g, fd_op op, const fd_val *in, const fd_attr *attr, fd_val *out) {
    const fd_op_info *info = fd_op_get(op);
    if (g->failed) return 0;
    fd_node n = {.op = op, .nin = info->nin, .nout = info->nout, .scope = g->scope};
    if (attr) n.attr = *attr;
    for (int k = 0; k < n.nin; k++) {
        n.in[k] = in[k];
        if (!in[k] && !is_optional(info->in_name[k])) {
            FD_FAIL(g->ctx, FD_E_ARG, "%s in '%s': operand '%s' is missing", info->name, g->scope, info->in_name[k]);
            return fail(g);
        }
    }
    for (int k = 0; k < n.nout; k++) {
        n.out[k] = out ? out[k] : 0;
        if (n.out[k] == 0)
            n.out[k] = new_value(g, (fd_value){.kind = FD_VAL_NODE, .node = g->nnode, .out = k});
        if (g->failed) return 0;
    }
    if (grow(g->ctx, &g->arena, (void **)&g->node, g->nnode, &g->node_cap, sizeof *g->node) != FD_OK) return fail(g);
    if (info->infer(g, &n) != FD_OK) return fail(g);
    g->node[g->nnode++] = n;
    fd_val first = 0;
    for (int k = n.nout - 1; k >= 0; k--) {
        if (out) out[k] = n.out[k];
        if (n.out[k] > 0) first = n.out[k];
    }
    return first;
}
