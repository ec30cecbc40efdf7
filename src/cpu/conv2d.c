/* conv2d, conv2d_bwd_x, conv2d_bwd_w: by winograd.c where that fits, else by oneDNN.
 *
 * oneDNN, at plan time: one convolution primitive per node for the layouts the values have. Where no fast kernel takes these
 * (three output channels, say) the primitive chooses its own and the operand is re-laid on the way in or out, in the
 * workspace. Nothing is allocated by a run but, once, the packed weights.
 *
 *   role     src (SRC)   wei (WEIGHTS)     dst (DST)
 *   forward  x           w packed          y  =
 *   bwd_x    dx  =       w packed          dy
 *   bwd_w    x           workspace -> dw += dy
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "cpu/conv_amx.h"
#include "cpu/conv_dnnl.h"
#include "cpu/packed.h"
#include "cpu/winograd.h"

#define TRY_DNNL(call)                                 \
    do {                                               \
        dnnl_status_t try_dnnl = (call);               \
        if (try_dnnl != dnnl_success) return try_dnnl; \
    } while (0)

/* One operand of the primitive: mem is what the primitive sees. */
typedef struct {
    dnnl_memory_t mem, outer;            /* outer: the value's own layout when that differs                 */
    fd_dnnl_reorder relay;               /* between outer and mem                                           */
    size_t offset, scratch_offset;       /* of mem and the relay's scratch in the workspace when re-laid    */
} operand;

typedef struct {
    fd_conv_state head;
    fd_conv_role what;
    dnnl_primitive_t prim;
    operand src, dst, wei;               /* wei: outer is the row-major parameter or its gradient */
    dnnl_memory_t bias, scratch;
    size_t bias_offset, scratch_offset;  /* bwd_w: the new part of db, to be added */
    fd_packed *packed;
    fd_md_key key;                       /* of the packed weights */
    size_t packed_bytes;
    dnnl_exec_arg_t arg[6];
    int nargs;
    char algo[64];
} conv;

/* ---- planning ---------------------------------------------------------------------------------------------------- */

static void release(void *state) {
    conv *s = state;
    if (!s) return;
    operand *all[] = {&s->src, &s->dst, &s->wei};
    for (size_t i = 0; i < FD_COUNT(all); i++) {
        if (all[i]->mem) dnnl_memory_destroy(all[i]->mem);
        if (all[i]->outer) dnnl_memory_destroy(all[i]->outer);
        fd_dnnl_reorder_free(&all[i]->relay);
    }
    if (s->bias) dnnl_memory_destroy(s->bias);
    if (s->scratch) dnnl_memory_destroy(s->scratch);
    if (s->prim) dnnl_primitive_destroy(s->prim);
    fd_packed_release(s->packed);
    fd_free(s);
}

/* The shapes of one convolution, whichever of its three roles asks. */
typedef struct {
    const fd_buf *x, *y;
    dnnl_dims_t w;
    int stride, pad, pad_w;
    bool bias, relu;
    dnnl_data_type_t dt;
} problem;

static problem describe(fd_conv_role what, const fd_call *c) {
    problem p = {.x = what == FD_CONV_FORWARD ? &c->in[0] : what == FD_CONV_BWD_X ? &c->out[0] : &c->in[1],
                 .y = what == FD_CONV_FORWARD ? &c->out[0] : &c->in[0],
                 .stride = c->attr.stride, .pad = c->attr.pad, .pad_w = c->attr.pad_w,
                 .relu = c->attr.act};
    fd_shape w = what == FD_CONV_BWD_W ? c->out[0].s : c->in[1].s;
    p.w[0] = w.n, p.w[1] = w.c, p.w[2] = w.h, p.w[3] = w.w;
    p.bias = what == FD_CONV_FORWARD ? fd_has(&c->in[2]) : what == FD_CONV_BWD_W && fd_has(&c->out[1]);
    bool half = (p.x->dt == FD_BF16 || p.y->dt == FD_BF16) && fd_cpu_has_bf16();
    p.dt = half ? dnnl_bf16 : dnnl_f32;
    return p;
}

static dnnl_status_t describe_primitive(dnnl_primitive_desc_t *pd, fd_conv_role what, const problem *p, bool any) {
    fd_dnnl_conv d = {.x = p->x, .y = p->y, .any = any, .type = p->dt, .stride = p->stride, .pad = p->pad, .pad_w = p->pad_w,
                      .bias = p->bias, .relu = p->relu};
    memcpy(d.w, p->w, sizeof d.w);
    return fd_dnnl_conv_describe(pd, what, &d);
}

/* The best primitive there is for the problem: dnnl_unimplemented when only oneDNN's own plain loops would do it. */
static dnnl_status_t find_primitive(dnnl_primitive_desc_t *pd, fd_conv_role what, const problem *p) {
    for (int any = 0; any < 2; any++) {
        dnnl_status_t s = describe_primitive(pd, what, p, any);
        if (s == dnnl_out_of_memory) return s;
        if (s != dnnl_success) continue;
        if (!strncmp(fd_dnnl_name(*pd), "jit", 3) || !strncmp(fd_dnnl_name(*pd), "brg", 3)) return s;
        dnnl_primitive_desc_destroy(*pd);
    }
    for (int any = 0; any < 2; any++) {
        dnnl_status_t s = describe_primitive(pd, what, p, any);
        if (s == dnnl_out_of_memory) return s;
        if (s != dnnl_success) continue;
        if (strncmp(fd_dnnl_name(*pd), "ref", 3)) return s;
        dnnl_primitive_desc_destroy(*pd);
    }
    return dnnl_unimplemented;
}

/* Workspace is a row of 64-byte aligned pieces. */
static size_t reserve(fd_call *c, size_t bytes) {
    size_t at = c->work_bytes;
    c->work_bytes += (bytes + 63) / 64 * 64;
    return at;
}

/* Makes the memory objects of one operand, with a re-laid copy if the primitive's layout or type is another one. */
static dnnl_status_t bind(operand *o, fd_call *c, fd_const_md outer, fd_const_md inner, bool output, bool add, bool force) {
    dnnl_engine_t e = fd_dnnl_engine();
    dnnl_status_t s = dnnl_memory_create(&o->mem, inner, e, DNNL_MEMORY_NONE);
    if (s != dnnl_success || (!force && dnnl_memory_desc_equal(outer, inner))) return s;
    if ((s = dnnl_memory_create(&o->outer, outer, e, DNNL_MEMORY_NONE)) != dnnl_success) return s;
    if ((s = fd_dnnl_reorder_new(&o->relay, output ? inner : outer, output ? outer : inner, add)) != dnnl_success) return s;
    if (o->relay.scratch) o->scratch_offset = reserve(c, o->relay.bytes);
    return dnnl_success;
}

/* The layouts outside the primitive: of the values, and of the parameter or its gradient. */
typedef struct { fd_md x, y, w, bias; } outsides;

static dnnl_status_t lay_out(outsides *l, const problem *p) {
    TRY_DNNL(fd_dnnl_layout(&l->x, p->x, fd_dnnl_type(p->x->dt), false));
    TRY_DNNL(fd_dnnl_layout(&l->y, p->y, fd_dnnl_type(p->y->dt), false));
    TRY_DNNL(fd_md_new(&l->w, 4, p->w, dnnl_f32, dnnl_oihw));
    return p->bias ? fd_md_new(&l->bias, 1, (dnnl_dims_t){p->w[0]}, dnnl_f32, dnnl_x) : dnnl_success;
}

static dnnl_status_t build(conv *s, fd_call *c, const problem *p, dnnl_primitive_desc_t pd, const outsides *l) {
    const bool fw = s->what == FD_CONV_FORWARD, bx = s->what == FD_CONV_BWD_X, bw = s->what == FD_CONV_BWD_W;
    fd_const_md px = dnnl_primitive_desc_query_md(pd, bx ? dnnl_query_diff_src_md : dnnl_query_src_md, 0);
    fd_const_md py = dnnl_primitive_desc_query_md(pd, fw ? dnnl_query_dst_md : dnnl_query_diff_dst_md, 0);
    fd_const_md pw = dnnl_primitive_desc_query_md(pd, bw ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
    fd_const_md ps = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    TRY_DNNL(dnnl_primitive_create(&s->prim, pd));
    TRY_DNNL(fd_md_key_of(pw, &s->key));
    s->packed_bytes = dnnl_memory_desc_get_size(pw);
    c->work_bytes = 0;
    TRY_DNNL(bind(&s->src, c, l->x, px, bx, false, false));
    TRY_DNNL(bind(&s->dst, c, l->y, py, fw, false, false));
    TRY_DNNL(bind(&s->wei, c, l->w, pw, bw, bw, true));
    if (s->src.outer) s->src.offset = reserve(c, dnnl_memory_desc_get_size(px));
    if (s->dst.outer) s->dst.offset = reserve(c, dnnl_memory_desc_get_size(py));
    if (bw) s->wei.offset = reserve(c, s->packed_bytes);
    if (p->bias) {
        TRY_DNNL(dnnl_memory_create(&s->bias, l->bias, fd_dnnl_engine(), DNNL_MEMORY_NONE));
        if (bw) s->bias_offset = reserve(c, (size_t)p->w[0] * sizeof(float));
    }
    if (dnnl_memory_desc_get_size(ps)) {
        TRY_DNNL(dnnl_memory_create(&s->scratch, ps, fd_dnnl_engine(), DNNL_MEMORY_NONE));
        s->scratch_offset = reserve(c, dnnl_memory_desc_get_size(ps));
    }
    s->arg[s->nargs++] = (dnnl_exec_arg_t){bx ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, s->src.mem};
    s->arg[s->nargs++] = (dnnl_exec_arg_t){fw ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST, s->dst.mem};
    s->arg[s->nargs++] = (dnnl_exec_arg_t){bw ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, s->wei.mem};
    if (s->bias) s->arg[s->nargs++] = (dnnl_exec_arg_t){bw ? DNNL_ARG_DIFF_BIAS : DNNL_ARG_BIAS, s->bias};
    if (s->scratch) s->arg[s->nargs++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, s->scratch};
    snprintf(s->algo, sizeof s->algo, "%s%s%s", fd_dnnl_name(pd), s->src.outer ? " re-laid src" : "",
             s->dst.outer ? " re-laid dst" : "");
    return dnnl_success;
}

static fd_status run(fd_ctx *ctx, const fd_call *c);

/* What oneDNN does not do is no fault: another algorithm may. */
static fd_status failed(fd_ctx *ctx, dnnl_status_t s) {
    return s == dnnl_unimplemented ? FD_E_UNSUPPORTED : fd_dnnl_fail(ctx, s, "conv2d");
}

static fd_status prepare_direct(fd_ctx *ctx, fd_call *c, fd_conv_role what) {
    if (!fd_dnnl_engine()) return FD_E_UNSUPPORTED;
    fd_dnnl_threads(c);
    problem p = describe(what, c);
    dnnl_primitive_desc_t pd;
    dnnl_status_t r = find_primitive(&pd, what, &p);
    if (r != dnnl_success) return failed(ctx, r);
    conv *s = fd_alloc(ctx, sizeof *s);
    if (!s) {
        dnnl_primitive_desc_destroy(pd);
        return FD_E_NOMEM;
    }
    s->head = (fd_conv_state){run, release};
    s->what = what;
    outsides l = {0};
    r = lay_out(&l, &p);
    if (r == dnnl_success) r = build(s, c, &p, pd, &l);
    fd_md all[] = {l.x, l.y, l.w, l.bias};
    for (size_t i = 0; i < FD_COUNT(all); i++) fd_md_free(all[i]);
    dnnl_primitive_desc_destroy(pd);
    if (r != dnnl_success) {
        release(s);
        c->work_bytes = 0;
        return failed(ctx, r);
    }
    c->state = s;
    c->algo = s->algo;
    return FD_OK;
}

static fd_status prepare_as(fd_ctx *ctx, fd_call *c, fd_conv_role what, fd_conv_algorithm a) {
    switch (a) {
    case FD_CONV_WINOGRAD: return fd_winograd_prepare(ctx, c, what);
    case FD_CONV_AMX: return fd_amx_prepare(ctx, c, what);
    default: return prepare_direct(ctx, c, what);
    }
}

static fd_status prepare(fd_ctx *ctx, fd_call *c, fd_conv_role what) {
    fd_conv_algorithm a;
    FD_TRY(fd_conv_choose(ctx, c, what, prepare_as, &a));
    return prepare_as(ctx, c, what, a);
}

static fd_status prepare_forward(fd_ctx *ctx, fd_call *c) { return prepare(ctx, c, FD_CONV_FORWARD); }
static fd_status prepare_bwd_x(fd_ctx *ctx, fd_call *c) { return prepare(ctx, c, FD_CONV_BWD_X); }
static fd_status prepare_bwd_w(fd_ctx *ctx, fd_call *c) { return prepare(ctx, c, FD_CONV_BWD_W); }

/* ---- running ----------------------------------------------------------------------------------------------------- */

/* The reorder of the weights: self is the conv. */
static fd_status pack(fd_ctx *ctx, void *self, const float *w, void *to, const fd_call *c) {
    conv *s = self;
    dnnl_status_t r = dnnl_memory_set_data_handle(s->wei.outer, (void *)w);
    if (r == dnnl_success) r = dnnl_memory_set_data_handle(s->wei.mem, to);
    if (r == dnnl_success && s->wei.relay.scratch)
        r = dnnl_memory_set_data_handle(s->wei.relay.scratch, (char *)c->work + s->wei.scratch_offset);
    if (r == dnnl_success) r = fd_dnnl_reorder_run(&s->wei.relay, s->wei.outer, s->wei.mem);
    return r == dnnl_success ? FD_OK : fd_dnnl_fail(ctx, r, "conv2d weights");
}

static dnnl_status_t place(const operand *o, const fd_call *c, void *value) {
    char *work = c->work;
    if (!o->outer) return dnnl_memory_set_data_handle(o->mem, value);
    TRY_DNNL(dnnl_memory_set_data_handle(o->outer, value));
    if (o->relay.scratch) TRY_DNNL(dnnl_memory_set_data_handle(o->relay.scratch, work + o->scratch_offset));
    return dnnl_memory_set_data_handle(o->mem, work + o->offset);
}

static dnnl_status_t relay(const operand *o, bool in) {
    if (!o->outer) return dnnl_success;
    return fd_dnnl_reorder_run(&o->relay, in ? o->outer : o->mem, in ? o->mem : o->outer);
}

static dnnl_status_t execute(conv *s, const fd_call *c, void *packed) {
    const bool fw = s->what == FD_CONV_FORWARD, bx = s->what == FD_CONV_BWD_X, bw = s->what == FD_CONV_BWD_W;
    char *work = c->work;
    TRY_DNNL(place(&s->src, c, fw ? c->in[0].p : bx ? c->out[0].p : c->in[1].p));
    TRY_DNNL(place(&s->dst, c, fw ? c->out[0].p : c->in[0].p));
    if (bw) TRY_DNNL(place(&s->wei, c, c->out[0].p));
    else TRY_DNNL(dnnl_memory_set_data_handle(s->wei.mem, packed));
    if (s->bias) TRY_DNNL(dnnl_memory_set_data_handle(s->bias, bw ? work + s->bias_offset : c->in[2].p));
    if (s->scratch) TRY_DNNL(dnnl_memory_set_data_handle(s->scratch, work + s->scratch_offset));
    if (!bx) TRY_DNNL(relay(&s->src, true));
    if (!fw) TRY_DNNL(relay(&s->dst, true));
    TRY_DNNL(dnnl_primitive_execute(s->prim, fd_dnnl_stream(), s->nargs, s->arg));
    if (bx) return relay(&s->src, false);
    if (fw) return relay(&s->dst, false);
    TRY_DNNL(relay(&s->wei, false));
    if (s->bias) {
        const float *part = (const float *)(work + s->bias_offset);
        float *db = c->out[1].p;
        for (int64_t k = 0; k < c->out[0].s.n; k++) db[k] += part[k];
    }
    return dnnl_success;
}

static fd_status run(fd_ctx *ctx, const fd_call *c) {
    conv *s = c->state;
    void *packed = NULL;
    fd_dnnl_threads(c);
    if (s->what != FD_CONV_BWD_W) {
        fd_packing how = {.bytes = s->packed_bytes, .key = &s->key, .key_bytes = sizeof s->key, .self = s, .pack = pack};
        FD_TRY(fd_packed_get(ctx, &s->packed, &how, c, 1, &packed));
    }
    dnnl_status_t r = execute(s, c, packed);
    return r == dnnl_success ? FD_OK : fd_dnnl_fail(ctx, r, "conv2d");
}

static fd_status run_any(fd_ctx *ctx, const fd_call *c) { return ((const fd_conv_state *)c->state)->run(ctx, c); }
static void release_any(void *state) {
    if (state) ((const fd_conv_state *)state)->release(state);
}

const fd_kernel fd_cpu_conv2d = {prepare_forward, run_any, release_any};
const fd_kernel fd_cpu_conv2d_bwd_x = {prepare_bwd_x, run_any, release_any};
const fd_kernel fd_cpu_conv2d_bwd_w = {prepare_bwd_w, run_any, release_any};
