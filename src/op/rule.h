/* rule.h — small helpers shared by the rules and references of src/op. Private to this folder. */
#ifndef FD_OP_RULE_H
#define FD_OP_RULE_H

#include <math.h>

#include "graph/op.h"

/* Type of the main output: attr.dt when set, else that of the first input. */
static inline fd_dtype fd_rule_dtype(const fd_graph *g, const fd_node *n) {
    return n->attr.dt_set ? n->attr.dt : g->val[n->in[0]].dt;
}

static inline bool fd_rule_is_float(const fd_value *v) { return v->dt == FD_F32 || v->dt == FD_BF16; }
static inline bool fd_rule_is_f32(const fd_value *v) { return v->dt == FD_F32; }
/* [N,1,1,1] */
static inline bool fd_rule_is_rows(const fd_value *v, int64_t n) { return v->s.n == n && fd_count(v->s) == n; }

/* 0 (make it) when somebody wants the gradient of v, else FD_UNWANTED. */
static inline fd_val fd_rule_slot(const fd_graph *g, fd_val v) { return v > 0 && fd_wants(g, v) ? 0 : FD_UNWANTED; }
/* Where the gradient of parameter v accumulates; v = 0: an absent optional parameter. */
static inline fd_val fd_rule_pgrad(fd_graph *g, fd_val v) { return v > 0 ? fd_pgrad(g, v) : FD_UNWANTED; }

/* Status of a rule that just recorded a node and got v. */
static inline fd_status fd_rule_done(const fd_graph *g, fd_val v) {
    if (v != 0) return FD_OK;
    return g->ctx->code != FD_OK ? g->ctx->code : FD_E_SHAPE;
}

/* Attributes of a backward node: those of the forward node, with the type of the gradient it makes. */
static inline fd_attr fd_rule_attr(const fd_graph *g, const fd_node *n, fd_val like) {
    fd_attr a = n->attr;
    a.dt_set = 1;
    a.dt = g->val[like].dt;
    return a;
}

/* v as type dt; records a cast when it has another one. */
static inline fd_val fd_rule_cast(fd_graph *g, fd_val v, fd_dtype dt) {
    if (v <= 0 || g->val[v].dt == dt) return v;
    fd_attr a = {.dt_set = 1, .dt = dt};
    return fd_graph_node(g, FD_OP_cast, &v, &a, NULL);
}

/* Position of pixel 0 of plane (n,c); pixel i lies i * t->block further. */
static inline int64_t fd_plane(const fd_buf *t, int64_t n, int64_t c) { return fd_at(t, n, c, 0, 0); }
static inline float fd_pixel(const fd_buf *t, int64_t plane, int64_t i) { return fd_get(t, plane + i * t->block); }
static inline void fd_put_pixel(const fd_buf *t, int64_t plane, int64_t i, double v) {
    fd_put(t, plane + i * t->block, (float)v);
}

static inline int fd_ref_threads(const fd_call *c) { return c->threads > 0 ? c->threads : 1; }

static inline double fd_sigmoid64(double v) { return 1.0 / (1.0 + exp(-v)); }
static inline double fd_silu64(double v) { return v * fd_sigmoid64(v); }
/* d silu / dv = s (1 + v (1 - s)) */
static inline double fd_dsilu64(double v) {
    double s = fd_sigmoid64(v);
    return s * (1.0 + v * (1.0 - s));
}

#endif
