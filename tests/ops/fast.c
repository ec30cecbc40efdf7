/* fast.c — a backend (the CPU's unless --backend says otherwise) against the references.
 *
 * 1. Every node on its own, with operands in the layouts the backend would choose, inputs taken from a reference run:
 *    - the reference in these layouts must give the bits it gives in NCHW;
 *    - the kernel must agree with it: fresh output, in place where the op allows it, and with changed weights;
 *    - nothing outside the outputs may be written (guards), everything inside must be (outputs start as NaN).
 * 2. The whole graph through the executor, twice: agreement, the same bits both times, no allocation in the second
 *    run, and for sample 0 alone the bits it has in the batch.
 */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "cpu/conv_choice.h"
#include "ops.h"

double difference(const fd_buf *want, const fd_buf *got) {
    double err = 0, norm = 0;
    for (int64_t n = 0; n < want->s.n; n++)
        for (int64_t c = 0; c < want->s.c; c++) {
            int64_t a = fd_at(want, n, c, 0, 0), b = fd_at(got, n, c, 0, 0);
            for (int64_t i = 0; i < fd_pixels(want->s); i++) {
                double x = fd_get(want, a + i * want->block), y = fd_get(got, b + i * got->block);
                err += (x - y) * (x - y);
                norm += x * x;
            }
        }
    if (!isfinite(err)) return INFINITY;
    /* All data are of order 1; the floor keeps what is zero but for rounding from being judged relatively. */
    return sqrt(err) / (sqrt(norm) + 1e-3 * sqrt((double)fd_count(want->s)));
}

/* What a correct kernel may differ by.
 *   f32    A sum of r products in any order differs by about 2^-24 sqrt(r) of its size; 2^-23 (4 + sqrt r) leaves a
 *          factor of two, and 2^-21 for the formulas around it (exp and division by polynomials). Winograd 4x3 was
 *          measured at 1.1e-6 for r = 2304..4608 in f32 and grows with the transform, hence at least 5e-6 for 3x3.
 *          AMX takes each factor as two bf16 numbers, right to 2^-17, and leaves out the product of the lower ones, up to
 *          2^-16: for normal numbers 4.4e-6 in the mean (float64 sums of such products), hence 6e-6.
 *          A mean of `offset` times the deviation costs that factor: the inputs themselves carry 2^-24 of the mean.
 *   bf16   Results are rounded to 8 bits (relative L2 2^-9 = 2e-3 each, and kernels may round weights and
 *          accumulators of partial sums once more): 1e-2. */
static double tolerance(const fd_call *c, fd_op op, double offset) {
    double r = 1;
    bool half = false, winograd = false;
    for (int k = 0; k < FD_MAX_IN; k++) half = half || c->in[k].dt == FD_BF16;
    for (int k = 0; k < FD_MAX_OUT; k++) half = half || c->out[k].dt == FD_BF16;
    if (half) return 1e-2;
    const fd_shape a = c->in[0].s, b = c->in[1].s, o = c->out[0].s;
    switch (op) {
    case FD_OP_conv2d: r = (double)(b.c * b.h * b.w), winograd = b.h == 3; break;
    case FD_OP_conv2d_bwd_x: r = (double)(b.n * b.h * b.w), winograd = b.h == 3; break;
    case FD_OP_conv2d_bwd_w: r = (double)(a.n * a.h * a.w), winograd = o.h == 3; break;
    case FD_OP_linear: r = (double)b.c; break;
    case FD_OP_linear_bwd_x: r = (double)b.n; break;
    case FD_OP_linear_bwd_w: r = (double)a.n; break;
    case FD_OP_group_norm: r = (double)(a.c / c->attr.groups * a.h * a.w); break;
    case FD_OP_group_norm_bwd: r = (double)(a.n * a.c / c->attr.groups * a.h * a.w); break;
    case FD_OP_attention: r = (double)(a.c / 3 / c->attr.heads + a.h * a.w); break;
    case FD_OP_attention_bwd: r = (double)(a.c / c->attr.heads + a.h * a.w); break;
    case FD_OP_sq_err: case FD_OP_dot_rows: case FD_OP_sum_rows: case FD_OP_mean_hw: case FD_OP_softmax_xent: case FD_OP_softmax_xent_bwd:
        r = (double)(a.c * a.h * a.w);
        break;
    case FD_OP_resample: r = c->attr.ntaps * c->attr.ntaps; break;
    default: break;
    }
    double tol = (0x1p-23 * (4 + sqrt(r)) + 0x1p-21) * (1 + fabs(offset));
    const bool amx = c->algo && !strncmp(c->algo, "AMX", 3);
    return amx && tol < 6e-6 ? 6e-6 : winograd && tol < 5e-6 ? 5e-6 : tol;
}

/* ---- one node -------------------------------------------------------------------------------------------------- */

typedef struct {
    fd_ctx *ctx;
    problem *p;
    fd_arena arena;
    const fd_node *node;
    const fd_op_info *info;
    fd_call plain, fast;         /* the same call in NCHW and in the backend's layouts */
    bool accumulates[FD_MAX_OUT];
    double offset;
    bool ok;
} trial;

static void complain(trial *t, const char *what, int out, double err, double tol) {
    COMPLAIN("FAIL %s.%s, %s: relative L2 difference %.3g, allowed %.3g (%s)\n", t->info->name,
             t->info->out_name[out], what, err, tol, t->fast.algo ? t->fast.algo : "only algorithm");
    t->ok = false;
}

/* Memory for a tensor between two guards. */
static fd_buf guarded(trial *t, fd_shape s, int block, fd_dtype dt) {
    size_t bytes = fd_tensor_bytes(s, dt);
    char *mem = fd_arena_alloc(t->ctx, &t->arena, bytes + 2 * GUARD);
    if (!mem) return (fd_buf){0};
    memset(mem, 0xA5, bytes + 2 * GUARD);
    return (fd_buf){mem + GUARD, s, block, dt};
}
static bool guards_intact(const fd_buf *b) {
    const unsigned char *body = b->p, *p = body - GUARD, *q = body + fd_tensor_bytes(b->s, b->dt);
    for (int i = 0; i < GUARD; i++)
        if (p[i] != 0xA5 || q[i] != 0xA5) return false;
    return true;
}
static void relay(const fd_buf *from, const fd_buf *to) {
    if (from->block == to->block || from->dt == FD_I32) {
        memcpy(to->p, from->p, fd_tensor_bytes(from->s, from->dt));
        return;
    }
    for (int64_t n = 0; n < from->s.n; n++)
        for (int64_t c = 0; c < from->s.c; c++) {
            int64_t a = fd_at(from, n, c, 0, 0), b = fd_at(to, n, c, 0, 0);
            for (int64_t i = 0; i < fd_pixels(from->s); i++)
                fd_put(to, b + i * to->block, fd_get(from, a + i * from->block));
        }
}
/* Outputs start as NaN, accumulators as numbers. */
static void prepare_outputs(trial *t, fd_call *c) {
    for (int k = 0; k < t->info->nout; k++) {
        if (!c->out[k].p) continue;
        if (t->accumulates[k]) draw(c->out[k].p, fd_count(c->out[k].s), "accumulated before", 0.5, 0);
        else memset(c->out[k].p, 0xFF, fd_tensor_bytes(c->out[k].s, c->out[k].dt));
    }
}

static void compare_outputs(trial *t, const fd_call *got, const char *what, bool exact) {
    double tol = exact ? 0 : tolerance(&t->fast, t->node->op, t->offset);
    for (int k = 0; k < t->info->nout; k++) {
        if (!got->out[k].p) continue;
        if (spoil && !exact) {
            float off = 0.5f + 3 * (float)tol * sqrtf((float)fd_count(got->out[k].s));
            fd_put(&got->out[k], 0, fd_get(&got->out[k], 0) + off);
        }
        double err = difference(&t->plain.out[k], &got->out[k]);
        if (!(err <= tol)) complain(t, what, k, err, tol);
        if (!guards_intact(&got->out[k])) {
            COMPLAIN("FAIL %s.%s, %s: writes outside its output\n", t->info->name, t->info->out_name[k], what);
            t->ok = false;
        }
    }
    for (int k = 0; k < t->info->nin; k++)
        if (got->in[k].p && got->in[k].p == t->fast.in[k].p && !guards_intact(&got->in[k])) {
            COMPLAIN("FAIL %s, %s: writes around its input %s\n", t->info->name, what, t->info->in_name[k]);
            t->ok = false;
        }
}

static bool run_fast(trial *t, const fd_kernel *kernel, fd_call *c, const char *what) {
    fd_status s = run_call(t->ctx, under_test, kernel, c);
    if (s == FD_OK) return true;
    COMPLAIN("FAIL %s, %s: %s\n", t->info->name, what, t->ctx->message);
    fd_clear(t->ctx);
    return t->ok = false;
}

/* Kernels must read operands before they overwrite them where the table says so. */
static void try_in_place(trial *t, const fd_kernel *kernel) {
    const fd_buf *out = &t->fast.out[0];
    for (int k = 0; k < t->info->nin; k++) {
        const fd_buf *in = &t->fast.in[k];
        if (!out->p || !in->p || !fd_op_in_place(t->node->op, k) || in->dt != out->dt || in->block != out->block ||
            !fd_same_shape(in->s, out->s))
            continue;
        fd_call c = t->fast;
        prepare_outputs(t, &c);
        memcpy(c.out[0].p, in->p, fd_tensor_bytes(in->s, in->dt));
        c.in[k].p = c.out[0].p;
        char what[64];
        snprintf(what, sizeof what, "in place of %s", t->info->in_name[k]);
        if (run_fast(t, kernel, &c, what)) compare_outputs(t, &c, what, false);
    }
}

/* Re-laid copies of the weights must notice that these changed. */
static void try_new_weights(trial *t, const fd_kernel *kernel, uint64_t *version) {
    bool any = false;
    for (int k = 0; k < t->info->nin; k++) {
        if (!t->fast.version[k]) continue;
        any = true;
        for (int64_t i = 0; i < fd_count(t->fast.in[k].s); i++)
            fd_put(&t->fast.in[k], i, fd_get(&t->plain.in[k], i) * (i % 3 ? -0.5f : 1.25f));
    }
    if (!any) return;
    ++*version;
    fd_call plain = t->plain;
    for (int k = 0; k < t->info->nin; k++)
        if (t->fast.version[k]) plain.in[k] = t->fast.in[k];
    prepare_outputs(t, &plain);
    t->info->ref(&plain);
    prepare_outputs(t, &t->fast);
    if (run_fast(t, kernel, &t->fast, "changed weights")) compare_outputs(t, &t->fast, "changed weights", false);
}

static void try_kernel(trial *t, const fd_backend *backend, uint64_t *version) {
    const fd_kernel *kernel = &backend->kernel[t->node->op];
    if (kernel->prepare) {
        fd_call planned = t->fast;      /* prepare sees no pointers */
        for (int k = 0; k < FD_MAX_IN; k++) planned.in[k].p = NULL;
        for (int k = 0; k < FD_MAX_OUT; k++) planned.out[k].p = NULL;
        fd_status s = kernel->prepare(t->ctx, &planned);
        if (s == FD_E_UNSUPPORTED && t->ctx->code == FD_OK && !backend->device) {
            kernel = &fd_backend_reference()->kernel[t->node->op];
            t->fast.algo = "reference";
        } else if (s != FD_OK) {
            COMPLAIN("FAIL %s, prepare: %s\n", t->info->name, t->ctx->message);
            fd_clear(t->ctx);
            t->ok = false;
            return;
        } else {
            t->fast.state = planned.state;
            t->fast.algo = planned.algo;
            t->fast.work_bytes = planned.work_bytes;
            fd_buf work = guarded(t, (fd_shape){1, 1, 1, (int64_t)(planned.work_bytes + 3) / 4}, 1, FD_F32);
            memset(work.p, 0xFF, planned.work_bytes);
            t->fast.work = work.p;
        }
    }
    prepare_outputs(t, &t->fast);
    if (run_fast(t, kernel, &t->fast, "kernel")) compare_outputs(t, &t->fast, "kernel", false);
    if (t->ok) try_in_place(t, kernel);
    if (t->ok) try_new_weights(t, kernel, version);
    if (kernel->release && t->fast.state) kernel->release(t->fast.state);
}

static bool check_node(setup *s, fd_exec *reference, int at, const fd_backend *backend) {
    const fd_node *n = &s->g->node[at];
    trial t = {.ctx = s->ctx, .p = s->p, .node = n, .info = fd_op_get(n->op), .ok = true};
    t.offset = problem_number(s->p, "offset", 0);
    uint64_t version = 1;
    t.plain.attr = t.fast.attr = n->attr;
    t.plain.threads = t.fast.threads = omp_get_max_threads();
    for (int k = 0; k < t.info->nin; k++) {
        if (n->in[k] <= 0) continue;
        fd_buf b = t.plain.in[k] = fd_exec_buf(reference, n->in[k]);
        fd_val_kind kind = s->g->val[n->in[k]].kind;
        int block = kind == FD_VAL_PARAM || b.dt == FD_I32 ? 1 : backend->block(b.s, b.dt);
        t.fast.in[k] = guarded(&t, b.s, block, b.dt);
        relay(&b, &t.fast.in[k]);
        if (kind == FD_VAL_PARAM) t.fast.version[k] = t.plain.version[k] = &version;
    }
    for (int k = 0; k < t.info->nout; k++) {
        if (n->out[k] <= 0) continue;
        const fd_value *v = &s->g->val[n->out[k]];
        t.accumulates[k] = v->kind == FD_VAL_PGRAD;
        t.plain.out[k] = guarded(&t, v->s, 1, v->dt);
        t.fast.out[k] = guarded(&t, v->s, t.accumulates[k] ? 1 : backend->block(v->s, v->dt), v->dt);
    }
    prepare_outputs(&t, &t.plain);
    t.info->ref(&t.plain);
    prepare_outputs(&t, &t.fast);
    t.info->ref(&t.fast);
    compare_outputs(&t, &t.fast, "reference in blocked layout", true);
    if (t.ok) try_kernel(&t, backend, &version);
    covered[n->op] = true;
    fd_arena_free(&t.arena);
    return t.ok;
}

/* ---- the whole graph ------------------------------------------------------------------------------------------- */

static fd_status read_value(setup *s, fd_exec *e, fd_val v, fd_arena *arena, fd_buf *out) {
    const fd_value *x = &s->g->val[v];
    *out = (fd_buf){fd_arena_alloc(s->ctx, arena, (size_t)fd_count(x->s) * 4), x->s, 1, FD_F32};
    if (!out->p) return FD_E_NOMEM;
    return fd_exec_read(s->ctx, e, v, out->p);
}

/* Largest tolerance of the graph's nodes; errors of one node reach the next ones. */
static double graph_tolerance(const setup *s, double offset) {
    double worst = 0;
    for (int i = 0; i < s->g->nnode; i++) {
        const fd_node *n = &s->g->node[i];
        fd_call c = {.attr = n->attr};
        for (int k = 0; k < n->nin; k++)
            if (n->in[k] > 0) c.in[k] = (fd_buf){NULL, s->g->val[n->in[k]].s, 1, s->g->val[n->in[k]].dt};
        for (int k = 0; k < n->nout; k++)
            if (n->out[k] > 0) c.out[k] = (fd_buf){NULL, s->g->val[n->out[k]].s, 1, s->g->val[n->out[k]].dt};
        double tol = tolerance(&c, n->op, offset);
        if (tol > worst) worst = tol;
    }
    return 3 * worst;
}

static bool same_bits(const fd_buf *a, const fd_buf *b, int64_t count) {
    return memcmp(a->p, b->p, (size_t)count * sizeof(float)) == 0;
}

static fd_status compare_graphs(setup *want_s, fd_exec *want_e, setup *s, const fd_backend *backend, bool *good) {
    fd_exec *e = NULL;
    fd_arena scratch = {0};
    fd_ctx *ctx = s->ctx;
    fd_buf want, got, again;
    int64_t ng = s->params->trained;
    float *want_g = fd_arena_alloc(ctx, &scratch, (size_t)ng * 4);
    setup_reset_grads(want_s);
    fd_status status = fd_exec_run(ctx, want_e, 0, -1);
    if (status == FD_OK && want_g) memcpy(want_g, s->params->g, (size_t)ng * 4);
    if (status == FD_OK) status = setup_exec(s, backend, false, &e);
    if (status == FD_OK) status = fd_exec_run(ctx, e, 0, -1);
    double tol = graph_tolerance(s, problem_number(s->p, "offset", 0));
    if (status == FD_OK && ng) {
        fd_shape flat = {1, 1, 1, ng};
        double err = difference(&(fd_buf){want_g, flat, 1, FD_F32}, &(fd_buf){s->params->g, flat, 1, FD_F32});
        if (!(err <= tol)) {
            COMPLAIN("FAIL executor: parameter gradients: relative L2 difference %.3g, allowed %.3g\n", err, tol);
            *good = false;
        }
    }
    for (int k = -1; k < s->nin && status == FD_OK; k++) {
        fd_val v = k < 0 ? s->y : s->dx[k], w = k < 0 ? want_s->y : want_s->dx[k];
        if (v <= 0) continue;
        status = read_value(want_s, want_e, w, &scratch, &want);
        if (status == FD_OK) status = read_value(s, e, v, &scratch, &got);
        if (status != FD_OK) break;
        double err = difference(&want, &got);
        if (!(err <= tol)) {
            COMPLAIN("FAIL executor: %s %d: relative L2 difference %.3g, allowed %.3g\n",
                     k < 0 ? "output" : "gradient of input", k < 0 ? 0 : k, err, tol);
            *good = false;
        }
    }
    uint64_t before = fd_alloc_calls();
    if (status == FD_OK) status = read_value(s, e, s->y, &scratch, &got);
    before = fd_alloc_calls();
    if (status == FD_OK) status = fd_exec_run(ctx, e, 0, -1);
    if (status == FD_OK && fd_alloc_calls() != before) {
        COMPLAIN("FAIL executor: the second run allocates memory\n");
        *good = false;
    }
    if (status == FD_OK) status = read_value(s, e, s->y, &scratch, &again);
    if (status == FD_OK && !same_bits(&got, &again, fd_count(got.s))) {
        COMPLAIN("FAIL executor: the second run gives other bits\n");
        *good = false;
    }
    /* Sample 0 alone, forward. */
    setup one;
    fd_exec *e1 = NULL;
    if (status == FD_OK && (status = setup_new(ctx, &one, s->p, s->params, false, 1)) == FD_OK) {
        status = setup_exec(&one, backend, false, &e1);
        if (status == FD_OK) status = fd_exec_run(ctx, e1, 0, one.forward_nodes);
        if (status == FD_OK) status = read_value(&one, e1, one.y, &scratch, &want);
        if (status == FD_OK && !backend->batch_decides_bits && !same_bits(&want, &got, fd_count(want.s))) {
            COMPLAIN("FAIL executor: sample 0 alone has other bits than in the batch\n");
            *good = false;
        }
        fd_exec_free(e1);
        setup_free(&one);
    }
    fd_exec_free(e);
    fd_arena_free(&scratch);
    return status;
}

static fd_status run_checks(fd_ctx *ctx, problem *p, fd_params *params, bool *good) {
    const fd_backend *backend = under_test;
    setup all, kept_few;
    fd_exec *reference = NULL;
    FD_TRY(setup_new(ctx, &all, p, params, true, 0));
    fd_status status = setup_exec(&all, fd_backend_reference(), true, &reference);
    if (status == FD_OK) status = fd_exec_run(ctx, reference, 0, -1);
    for (int i = 0; i < all.g->nnode && status == FD_OK; i++)
        *good = check_node(&all, reference, i, backend) && *good;
    if (status == FD_OK && *good && (status = setup_new(ctx, &kept_few, p, params, false, 0)) == FD_OK) {
        status = compare_graphs(&all, reference, &kept_few, backend, good);
        setup_free(&kept_few);
    }
    fd_exec_free(reference);
    setup_free(&all);
    return status;
}

bool check_fast(fd_ctx *ctx, problem *p) {
    fd_params params;
    bool good = true;
    fd_params_init(&params);
    fd_conv_algorithm usual = fd_cpu_conv_algorithm_now();
    if (problem_is(p, "conv", "direct")) fd_cpu_conv_algorithm(FD_CONV_DIRECT);
    if (problem_is(p, "conv", "auto")) fd_cpu_conv_algorithm(FD_CONV_AUTO);
    if (problem_is(p, "conv", "winograd")) fd_cpu_conv_algorithm(FD_CONV_WINOGRAD);
    fd_status status = run_checks(ctx, p, &params, &good);
    fd_cpu_conv_algorithm(usual);
    if (status != FD_OK) {
        COMPLAIN("FAIL %s\n", ctx->message);
        fd_clear(ctx);
        good = false;
    }
    fd_params_free(&params);
    return good;
}
