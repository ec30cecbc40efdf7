/* info.c — the table of all operations, made from ops.def, and what the planner and error texts ask of it. */
#include <stdio.h>
#include <string.h>

#include "graph/op.h"

#define IN(...) {__VA_ARGS__}
#define OUT(...) {__VA_ARGS__}
#define VJP_DIFF(op) fd_vjp_##op
#define VJP_NODIFF(op) NULL
#define COUNT_OF(...) (int)(sizeof((const char *const[])__VA_ARGS__) / sizeof(const char *))
/* The lists hold commas once expanded, hence one more level of variable arguments. */
#define FD_OP(op, inputs, outputs, diff)                                                                        \
    [FD_OP_##op] = {.name = #op, .in_name = inputs, .out_name = outputs, .nin = COUNT_OF(inputs),               \
                    .nout = COUNT_OF(outputs), .infer = fd_infer_##op, .vjp = VJP_##diff(op), .ref = fd_ref_##op},
static const fd_op_info table[FD_OP_COUNT] = {
#include "ops.def"
};
#undef FD_OP

const fd_op_info *fd_op_get(fd_op op) { return (unsigned)op < FD_OP_COUNT ? &table[op] : NULL; }

fd_op fd_op_by_name(const char *name) {
    int op = 0;
    while (op < FD_OP_COUNT && strcmp(table[op].name, name)) op++;
    return (fd_op)op;
}

/* Products are exact; what is done per element is counted by the formula, with exp and division as one each. */
double fd_op_flops(const fd_graph *g, const fd_node *n) {
    const fd_value *first = &g->val[n->in[0]];
    double count = (double)fd_count(first->s), pixels = (double)fd_pixels(first->s);
    switch (n->op) {
    case FD_OP_conv2d: {       /* every output element is a dot product with one filter */
        fd_shape w = FD_IN(g, n, 1)->s;
        return 2.0 * (double)fd_count(g->val[n->out[0]].s) * (double)(w.c * w.h * w.w);
    }
    case FD_OP_conv2d_bwd_x: { /* the same products, distributed */
        fd_shape w = FD_IN(g, n, 1)->s;
        return 2.0 * count * (double)(w.c * w.h * w.w);
    }
    case FD_OP_conv2d_bwd_w: {
        fd_shape w = g->val[n->out[0]].s;
        return 2.0 * count * (double)(w.c * w.h * w.w);
    }
    case FD_OP_linear:         return 2.0 * (double)first->s.n * (double)fd_count(FD_IN(g, n, 1)->s);
    case FD_OP_linear_bwd_x:   return 2.0 * (double)first->s.n * (double)fd_count(FD_IN(g, n, 1)->s);
    case FD_OP_linear_bwd_w:   return 2.0 * count * (double)FD_IN(g, n, 1)->s.c;
    case FD_OP_attention:      /* two products of HW x HW x C */
        return 2.0 * 2.0 * count / 3.0 * pixels;
    case FD_OP_attention_bwd:  /* five: logits, dp, dq, dk, dv */
        return 5.0 * 2.0 * count * pixels;
    case FD_OP_group_norm:     return count * (n->attr.act ? 11.0 : 7.0);
    case FD_OP_group_norm_bwd: return count * (n->attr.act ? 21.0 : 13.0);
    case FD_OP_resample: {     /* each small-side pixel meets every tap */
        double small = n->attr.up ? count : (double)fd_count(g->val[n->out[0]].s);
        return 2.0 * small * n->attr.ntaps * n->attr.ntaps;
    }
    case FD_OP_max_pool: case FD_OP_avg_pool:
        return (double)fd_count(g->val[n->out[0]].s) * n->attr.window * n->attr.window;
    case FD_OP_add:            return 3.0 * count;
    case FD_OP_scale:          return count;
    case FD_OP_mix_rows:       return count * (n->in[1] ? 3.0 : 1.0);
    case FD_OP_silu:           return 4.0 * count;
    case FD_OP_silu_bwd:       return 8.0 * count;
    case FD_OP_relu: case FD_OP_relu_bwd: return count;
    case FD_OP_dropout:        return count;
    case FD_OP_softplus:       return 6.0 * count;
    case FD_OP_softplus_bwd:   return 6.0 * count;
    case FD_OP_sq_err:         return 3.0 * count;
    case FD_OP_sq_err_bwd:     return 2.0 * (double)fd_count(FD_IN(g, n, 1)->s);
    case FD_OP_dot_rows:       return 2.0 * count;
    case FD_OP_sum_rows:       return count;
    case FD_OP_mean_hw:        return count;
    case FD_OP_broadcast_hw:   return count;
    case FD_OP_softmax_xent:   return 6.0 * count;
    case FD_OP_softmax_xent_bwd: return 6.0 * (double)fd_count(FD_IN(g, n, 1)->s);
    case FD_OP_noise_embed:    return 2.0 * (double)fd_count(g->val[n->out[0]].s);
    case FD_OP_slice: case FD_OP_concat: case FD_OP_cast: case FD_OP_broadcast_rows: case FD_OP_COUNT: return 0;
    }
    return 0;
}

bool fd_op_in_place(fd_op op, int k) {
    switch (op) {
    case FD_OP_silu: case FD_OP_relu: case FD_OP_scale: case FD_OP_dropout: case FD_OP_softplus:
    case FD_OP_group_norm:             /* the statistics are complete before the first write */
        return k == 0;
    case FD_OP_add: case FD_OP_silu_bwd: case FD_OP_relu_bwd: case FD_OP_softplus_bwd: case FD_OP_mix_rows:
    case FD_OP_group_norm_bwd:         /* all sums of a group are complete before its dx is written */
        return k == 0 || k == 1;
    case FD_OP_sq_err_bwd: case FD_OP_softmax_xent_bwd:
        return k == 1 || k == 2;
    default:
        return false;
    }
}

bool fd_op_cheap(fd_op op) {
    switch (op) {
    case FD_OP_group_norm: case FD_OP_silu: case FD_OP_relu: case FD_OP_dropout: case FD_OP_concat: case FD_OP_resample:
    case FD_OP_cast: case FD_OP_scale:
        return true;
    default:
        return false;
    }
}

static size_t put(char *text, size_t at, size_t size, const char *fmt, const char *name, const fd_value *v) {
    if (at >= size) return at;
    int n = snprintf(text + at, size - at, fmt, name, (long long)v->s.n, (long long)v->s.c, (long long)v->s.h,
                     (long long)v->s.w, v->dt == FD_F32 ? "" : v->dt == FD_BF16 ? " bf16" : " i32");
    return n < 0 ? size : at + (size_t)n;
}

fd_status fd_shape_fail(fd_graph *g, const fd_node *n, const char *what) {
    const fd_op_info *info = fd_op_get(n->op);
    char shapes[512] = "";
    size_t at = 0;
    for (int k = 0; k < info->nin; k++) {
        if (n->in[k] <= 0) continue;
        char name[32];
        snprintf(name, sizeof name, "%s", info->in_name[k]);
        name[strcspn(name, "_")] = 0;
        at = put(shapes, at, sizeof shapes, at ? ", %s [%lld,%lld,%lld,%lld]%s" : "%s [%lld,%lld,%lld,%lld]%s", name,
                 FD_IN(g, n, k));
    }
    return FD_FAIL(g->ctx, FD_E_SHAPE, "%s in '%s': %s: %s", info->name, n->scope ? n->scope : "", what, shapes);
}

fd_status fd_set_out(fd_graph *g, fd_node *n, int k, fd_shape s, fd_dtype dt) {
    fd_val v = n->out[k];
    if (v <= 0) return FD_OK;
    fd_value *value = &g->val[v];
    if (value->kind == FD_VAL_PGRAD) {
        if (fd_count(value->s) == fd_count(s) && dt == FD_F32) return FD_OK;
        return fd_shape_fail(g, n, "the parameter whose gradient this is has another size");
    }
    value->s = s;
    value->dt = dt;
    return FD_OK;
}
