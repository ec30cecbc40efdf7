/* grad.c — the gradient rules, on the references in f32 data.
 *
 * Finite differences. For a random direction v of one operand, d/dh <dy, f(x + h v)> is compared with <dx, v>. The
 * five-point formula (8(f(h)-f(-h)) - (f(2h)-f(-2h)))/12h with h = 1/32 has truncation h^4/30 f^(5) = 3e-8 f^(5) and
 * a rounding error of 2^-24/h = 2e-6 per output, sums being taken in double. Both are judged against the size such
 * random sums have, sqrt(sum (dx v)^2) + sqrt(sum (dy f)^2)/100; fifth derivatives of normalisation and softmax reach some
 * thousands on a few elements, hence 2e-4. A wrong factor or a missing term is an error of order 1.
 *
 * Adjoint. For ops linear in x, <f(x) - f(0), dy> = <x, dx>: each term carries 2^-24 of its size, so the sums differ
 * by about 2^-24 of the root of the sum of squares; allowed is 16 times that.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ops.h"

typedef struct { setup *s; fd_exec *e; float *y; } evaluator;

/* <dy, f(current inputs)>; *size (may be NULL) gets the sum of the squares of the terms. */
static fd_status weigh(evaluator *v, double *sum, double *size) {
    setup *s = v->s;
    const float *dy = s->in[s->nin - 1].data;
    FD_TRY(fd_exec_run(s->ctx, v->e, 0, s->forward_nodes));
    FD_TRY(fd_exec_read(s->ctx, v->e, s->y, v->y));
    *sum = 0;
    if (size) *size = 0;
    for (int64_t i = 0; i < fd_count(s->g->val[s->y].s); i++) {
        double term = (double)dy[i] * v->y[i];
        *sum += term;
        if (size) *size += term * term;
    }
    return FD_OK;
}

/* An input or a parameter whose gradient is checked. */
typedef struct { const char *name; int input, param; int64_t count; float *value; const float *gradient; } variable;

/* base + h v; where = NULL for a parameter, which is changed in place. */
static fd_status place(evaluator *v, const variable *x, const float *base, const float *direction, double h,
                       float *moved) {
    for (int64_t i = 0; i < x->count; i++) moved[i] = (float)(base[i] + h * direction[i]);
    if (x->input >= 0) return fd_exec_write(v->s->ctx, v->e, v->s->in[x->input].v, moved);
    memcpy(x->value, moved, (size_t)x->count * sizeof(float));
    fd_params_touch(v->s->params);
    return FD_OK;
}

static fd_status check_variable(evaluator *v, const variable *x, fd_arena *arena, bool *good) {
    fd_ctx *ctx = v->s->ctx;
    float *base, *direction, *moved;
    FD_NEW(ctx, arena, base, x->count);
    FD_NEW(ctx, arena, direction, x->count);
    FD_NEW(ctx, arena, moved, x->count);
    memcpy(base, x->value, (size_t)x->count * sizeof(float));
    draw(direction, x->count, "direction", 1, 0);
    const double h = 0x1p-5;
    double f[4], at[4] = {h, -h, 2 * h, -2 * h};
    for (int i = 0; i < 4; i++) {
        FD_TRY(place(v, x, base, direction, at[i], moved));
        FD_TRY(weigh(v, &f[i], NULL));
    }
    FD_TRY(place(v, x, base, direction, 0, moved));
    double numeric = (8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * h), exact = 0, size = 0, rounding;
    for (int64_t i = 0; i < x->count; i++) {
        double term = (double)x->gradient[i] * direction[i];
        exact += term;
        size += term * term;
    }
    double now;
    FD_TRY(weigh(v, &now, &rounding));
    double scale = sqrt(size) + 1e-2 * sqrt(rounding);
    if (spoil) exact += 0.01 * scale;
    if (isfinite(exact) && fabs(numeric - exact) <= 2e-4 * scale) return FD_OK;
    COMPLAIN("FAIL gradient of %s: along a random direction %.9g, by finite differences %.9g (scale %.3g)\n",
             x->name, exact, numeric, scale);
    *good = false;
    return FD_OK;
}

static bool is_linear_in_x(fd_op op) {
    switch (op) {
    case FD_OP_conv2d: case FD_OP_linear: case FD_OP_resample: case FD_OP_add: case FD_OP_scale: case FD_OP_concat:
    case FD_OP_mix_rows: case FD_OP_dropout: case FD_OP_dot_rows: case FD_OP_sum_rows: case FD_OP_mean_hw: case FD_OP_cast:
        return true;
    default:
        return false;
    }
}

static fd_status check_adjoint(evaluator *v, const variable *x, fd_arena *arena, bool *good) {
    fd_ctx *ctx = v->s->ctx;
    float *zero;
    double full, rest, s1, s2, right = 0, s3 = 0;
    FD_NEW(ctx, arena, zero, x->count);
    FD_TRY(weigh(v, &full, &s1));
    FD_TRY(fd_exec_write(ctx, v->e, v->s->in[x->input].v, zero));
    FD_TRY(weigh(v, &rest, &s2));
    FD_TRY(fd_exec_write(ctx, v->e, v->s->in[x->input].v, x->value));
    for (int64_t i = 0; i < x->count; i++) {
        double term = (double)x->value[i] * x->gradient[i];
        right += term;
        s3 += term * term;
    }
    double left = full - rest, scale = sqrt(s1 + s2) + sqrt(s3);
    if (spoil) right += 1e-3 * scale;
    if (fabs(left - right) <= 16 * 0x1p-24 * scale) return FD_OK;
    COMPLAIN("FAIL adjoint for input %d: <Ax,y> = %.9g, <x,A'y> = %.9g (scale %.3g)\n", x->input, left, right, scale);
    *good = false;
    return FD_OK;
}

static fd_status run_checks(setup *s, fd_exec *e, fd_arena *arena, bool *good) {
    evaluator v = {s, e, NULL};
    FD_NEW(s->ctx, arena, v.y, fd_count(s->g->val[s->y].s));
    memset(s->params->g, 0, (size_t)s->params->trained * sizeof(float));
    FD_TRY(fd_exec_run(s->ctx, e, 0, -1));
    variable list[2 * MAX_INPUTS];
    int n = 0;
    for (int k = 0; k < s->nin; k++) {
        if (s->dx[k] <= 0) continue;
        float *gradient;
        int64_t count = fd_count(s->g->val[s->in[k].v].s);
        FD_NEW(s->ctx, arena, gradient, count);
        FD_TRY(fd_exec_read(s->ctx, e, s->dx[k], gradient));
        list[n++] = (variable){s->g->val[s->in[k].v].name, k, -1, count, s->in[k].data, gradient};
    }
    for (int k = 0; k < s->params->n; k++) {
        const fd_param *q = &s->params->list[k];
        float *gradient;
        FD_NEW(s->ctx, arena, gradient, q->count);
        memcpy(gradient, s->params->g + q->offset, (size_t)q->count * sizeof(float));
        list[n++] = (variable){q->name, -1, k, q->count, s->params->w + q->offset, gradient};
    }
    for (int i = 0; i < n; i++) {
        FD_TRY(check_variable(&v, &list[i], arena, good));
        if (list[i].input >= 0 && is_linear_in_x(s->p->op)) FD_TRY(check_adjoint(&v, &list[i], arena, good));
    }
    return FD_OK;
}

bool check_grad(fd_ctx *ctx, problem *p) {
    fd_params params;
    setup s;
    fd_exec *e = NULL;
    fd_arena arena = {0};
    bool good = true;
    fd_params_init(&params);
    fd_status status = setup_new(ctx, &s, p, &params, false, 0);
    if (status == FD_OK) {
        status = setup_exec(&s, fd_backend_reference(), false, &e);
        if (status == FD_OK) status = run_checks(&s, e, &arena, &good);
        fd_exec_free(e);
        setup_free(&s);
    }
    if (status != FD_OK) {
        COMPLAIN("FAIL %s\n", ctx->message);
        fd_clear(ctx);
        good = false;
    }
    fd_arena_free(&arena);
    fd_params_free(&params);
    return good;
}
