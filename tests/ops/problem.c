/* problem.c — reads a case line and records the graph it describes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "ops.h"

/* ---- the line -------------------------------------------------------------------------------------------------- */

fd_status problem_parse(fd_ctx *ctx, problem *p, fd_op op, const char *line) {
    *p = (problem){.op = op};
    if (strlen(line) >= sizeof p->line) return FD_FAIL(ctx, FD_E_ARG, "case line too long: %s", line);
    strcpy(p->line, line);
    char copy[sizeof p->line], *rest = copy;
    strcpy(copy, line);
    for (char *word; (word = strsep(&rest, " \t\n"));) {
        if (!*word) continue;
        if (!strcmp(word, "perf")) {
            p->perf_only = true;
            continue;
        }
        char *eq = strchr(word, '=');
        if (!eq || p->nkv == MAX_KEYS || eq - word >= (int)sizeof p->kv[0].key ||
            strlen(eq + 1) >= sizeof p->kv[0].value)
            return FD_FAIL(ctx, FD_E_ARG, "case '%s': '%s' is not key=value", line, word);
        *eq = 0;
        strcpy(p->kv[p->nkv].key, word);
        strcpy(p->kv[p->nkv++].value, eq + 1);
    }
    return FD_OK;
}

static const char *value_of(problem *p, const char *key) {
    for (int i = 0; i < p->nkv; i++)
        if (!strcmp(p->kv[i].key, key)) {
            p->kv[i].used = true;
            return p->kv[i].value;
        }
    return NULL;
}
double problem_number(problem *p, const char *key, double otherwise) {
    const char *text = value_of(p, key);
    return text ? atof(text) : otherwise;
}
bool problem_is(problem *p, const char *key, const char *value) {
    const char *text = value_of(p, key);
    return text && !strcmp(text, value);
}
bool problem_is_bf16(problem *p) {
    return problem_is(p, "dt", "bf16") || problem_is(p, "dy", "bf16") || problem_is(p, "to", "bf16") ||
           problem_is(p, "dt2", "bf16");
}
static fd_dtype type_of(problem *p, const char *key, fd_dtype otherwise) {
    const char *text = value_of(p, key);
    return !text ? otherwise : !strcmp(text, "bf16") ? FD_BF16 : FD_F32;
}

/* ---- data ------------------------------------------------------------------------------------------------------ */

void draw(float *out, int64_t count, const char *name, double scale, double add) {
    fd_rng r = {7, FD_RNG_TEST, fd_hash_text(name)};
    fd_rng_normals(&r, 0, (size_t)count, out);
    for (int64_t i = 0; i < count; i++) out[i] = (float)(add + scale * out[i]);
}

static fd_val add_input(setup *s, const char *name, fd_shape shape, fd_dtype dt, bool differentiable) {
    fd_val v = fd_graph_input(s->g, name, shape, dt);
    float *data = fd_arena_alloc(s->ctx, &s->arena, fd_mul_size((size_t)fd_count(shape), 4));
    if (!v || !data) return 0;
    if (dt == FD_I32) {
        int32_t *word = (int32_t *)data;
        for (int64_t n = 0; n < shape.n; n++) word[2 * n] = (int32_t)(40000000 * n - 5), word[2 * n + 1] = 3;
    } else {
        draw(data, fd_count(shape), name, 1, 0);
        for (int64_t i = 0; dt == FD_BF16 && i < fd_count(shape); i++)   /* what the op will see, for every run */
            data[i] = fd_bf16_to_f32(fd_f32_to_bf16(data[i]));
    }
    s->in[s->nin++] = (operand){v, data, differentiable};
    return v;
}

/* values = add + scale * normal; only drawn when the set is new. */
static fd_val add_param(setup *s, const char *name, int rank, int64_t d0, int64_t d1, int64_t d2, int64_t d3,
                        double scale, double add) {
    int64_t dim[4] = {d0, d1, d2, d3};
    fd_init init = {.kind = FD_INIT_NORMAL, .scale = scale};
    init.taps[0] = (float)add;      /* not used by this initialiser: remembered for fill_params */
    int index;
    if (fd_params_declare(s->ctx, s->params, name, rank, dim, false, &init, &index) != FD_OK) {
        s->g->failed = true;
        return 0;
    }
    return fd_graph_param(s->g, s->params, index);
}

static fd_status fill_params(setup *s) {
    if (s->params->frozen) return FD_OK;
    FD_TRY(fd_params_freeze(s->ctx, s->params));
    FD_TRY(fd_params_need_grads(s->ctx, s->params));
    for (int i = 0; i < s->params->n; i++) {
        const fd_param *q = &s->params->list[i];
        draw(s->params->w + q->offset, q->count, q->name, q->init.scale, q->init.taps[0]);
    }
    fd_params_touch(s->params);
    return FD_OK;
}

/* ---- one builder per op ---------------------------------------------------------------------------------------- */

static int64_t dim(setup *s, const char *key, double otherwise) {
    return (int64_t)problem_number(s->p, key, otherwise);
}
static fd_dtype in_type(setup *s) { return type_of(s->p, "dt", FD_F32); }
static fd_shape x_shape(setup *s, int samples) {
    return (fd_shape){samples, dim(s, "c", 1), dim(s, "h", 1), dim(s, "w", 1)};
}
static fd_val add_x(setup *s, int samples) { return add_input(s, "x", x_shape(s, samples), in_type(s), true); }
static fd_val add_rows(setup *s, const char *name, int samples) {
    return add_input(s, name, (fd_shape){samples, 1, 1, 1}, FD_F32, false);
}

static fd_val build_conv2d(setup *s, int samples) {
    fd_val x = add_x(s, samples);
    int64_t k = dim(s, "k", 1), c = dim(s, "c", 1), r = dim(s, "r", 3), q = dim(s, "s", (double)r);
    fd_val w = add_param(s, "weight", 4, k, c, r, q, 1 / sqrt((double)(c * r * q)), 0);
    fd_val b = dim(s, "bias", 1) ? add_param(s, "bias", 1, k, 0, 0, 0, 1, 0) : 0;
    fd_attr a = {.stride = (int)dim(s, "stride", 1), .pad = (int)dim(s, "pad", 0), .act = (int)dim(s, "relu", 0)};
    a.pad_w = (int)dim(s, "padw", a.pad);
    a.dt = type_of(s->p, "to", in_type(s));
    a.dt_set = a.dt != in_type(s);
    fd_val in[] = {x, w, b};
    return fd_graph_node(s->g, FD_OP_conv2d, in, &a, NULL);
}

static fd_val build_linear(setup *s, int samples) {
    fd_val x = add_x(s, samples);
    int64_t k = dim(s, "k", 1), c = dim(s, "c", 1);
    fd_val w = add_param(s, "weight", 2, k, c, 0, 0, 1 / sqrt((double)c), 0);
    return fd_linear(s->g, x, w, dim(s, "bias", 1) ? add_param(s, "bias", 1, k, 0, 0, 0, 1, 0) : 0);
}

/* offset: added to x, so that the mean is far from zero. */
static fd_val build_group_norm(setup *s, int samples) {
    fd_val x = add_x(s, samples);
    fd_shape xs = x_shape(s, samples);
    operand *xi = &s->in[0];
    float offset = (float)problem_number(s->p, "offset", 0);
    for (int64_t i = 0; i < fd_count(xs); i++) ((float *)xi->data)[i] += offset;
    fd_val gamma = add_param(s, "weight", 1, xs.c, 0, 0, 0, 0.5, 1);
    fd_val beta = add_param(s, "bias", 1, xs.c, 0, 0, 0, 0.5, 0);
    fd_norm_mode mode = problem_is(s->p, "mode", "add")     ? FD_NORM_ADD
                        : problem_is(s->p, "mode", "scale") ? FD_NORM_SCALE_SHIFT
                                                            : FD_NORM_PLAIN;
    fd_val e = 0;
    if (mode != FD_NORM_PLAIN)
        e = add_input(s, "e", (fd_shape){xs.n, mode == FD_NORM_ADD ? xs.c : 2 * xs.c, 1, 1},
                      type_of(s->p, "dt2", in_type(s)), true);
    return fd_group_norm(s->g, x, gamma, beta, e, mode, (int)dim(s, "g", 1), (float)problem_number(s->p, "eps", 1e-5),
                         dim(s, "act", 0) != 0);
}

/* Values away from zero, so that finite differences do not cross the kink. */
static fd_val build_relu(setup *s, int samples) {
    fd_val x = add_x(s, samples);
    float *v = s->in[0].data;
    for (int64_t i = 0; i < fd_count(x_shape(s, samples)); i++) v[i] += v[i] < 0 ? -4 : 4;
    for (int64_t i = 0; in_type(s) == FD_BF16 && i < fd_count(x_shape(s, samples)); i++)
        v[i] = fd_bf16_to_f32(fd_f32_to_bf16(v[i]));
    return fd_relu(s->g, x);
}
static fd_val build_pool(setup *s, int samples, fd_op op) {
    fd_val x = add_x(s, samples);
    fd_attr a = {.window = (int)dim(s, "r", 3), .stride = (int)dim(s, "stride", 1), .pad = (int)dim(s, "pad", 0)};
    a.pad_w = (int)dim(s, "padw", a.pad);
    return fd_graph_node(s->g, op, &x, &a, NULL);
}
static fd_val build_max_pool(setup *s, int samples) { return build_pool(s, samples, FD_OP_max_pool); }
static fd_val build_avg_pool(setup *s, int samples) { return build_pool(s, samples, FD_OP_avg_pool); }
static fd_val build_silu(setup *s, int samples) { return fd_silu(s->g, add_x(s, samples)); }
static fd_val build_scale(setup *s, int samples) {
    return fd_scale(s->g, add_x(s, samples), (float)problem_number(s->p, "a", 0.7));
}
static fd_val build_softplus(setup *s, int samples) {
    return fd_softplus(s->g, add_x(s, samples), (float)problem_number(s->p, "a", 1));
}
static fd_val build_sum_rows(setup *s, int samples) { return fd_sum_rows(s->g, add_x(s, samples)); }
static fd_val build_mean_hw(setup *s, int samples) { return fd_mean_hw(s->g, add_x(s, samples)); }
static fd_val build_cast(setup *s, int samples) {
    return fd_cast(s->g, add_x(s, samples), type_of(s->p, "to", FD_F32));
}
static fd_val build_slice(setup *s, int samples) {
    return fd_slice(s->g, add_x(s, samples), (int)dim(s, "c0", 0), (int)dim(s, "c1", 1));
}

static fd_val build_attention(setup *s, int samples) {
    fd_shape xs = {samples, 3 * dim(s, "c", 1), dim(s, "h", 1), dim(s, "w", 1)};
    return fd_attention(s->g, add_input(s, "x", xs, in_type(s), true), (int)dim(s, "heads", 1));
}

static fd_val build_resample(setup *s, int samples) {
    static const float box[] = {1, 1}, fir[] = {1, 3, 3, 1}, skew[] = {1, 2, 5, 3};
    int n = (int)dim(s, "taps", 2);
    const float *taps = n == 2 ? box : dim(s, "skew", 0) ? skew : fir;
    return fd_resample(s->g, add_x(s, samples), dim(s, "up", 0) != 0, taps, n, (int)dim(s, "pad", (n - 1) / 2));
}

static fd_val second(setup *s, int samples, int64_t channels) {
    fd_shape xs = x_shape(s, samples);
    xs.c = channels;
    return add_input(s, "y", xs, type_of(s->p, "dt2", in_type(s)), true);
}
static fd_val build_add(setup *s, int samples) {
    fd_val x = add_x(s, samples), y = second(s, samples, dim(s, "c", 1));
    return fd_add(s->g, x, y, (float)problem_number(s->p, "a", 1), (float)problem_number(s->p, "b", 1));
}
static fd_val build_concat(setup *s, int samples) {
    static const char *const name[FD_CONCAT_MAX] = {"x", "y", "x2", "x3", "x4", "x5"}, *const key[] = {"c", "k", "k2", "k3", "k4", "k5"};
    fd_val x[FD_CONCAT_MAX] = {add_x(s, samples)};
    fd_shape shape = x_shape(s, samples);
    int n = 1;
    for (; n < FD_CONCAT_MAX && (shape.c = dim(s, key[n], n < 2)) > 0; n++)
        x[n] = add_input(s, name[n], shape, in_type(s), true);
    return fd_concat_all(s->g, x, n);
}
static fd_val build_mix_rows(setup *s, int samples) {
    fd_val x = add_x(s, samples), a = add_rows(s, "a", samples), y = 0, b = 0;
    if (dim(s, "two", 1)) {
        y = second(s, samples, dim(s, "c", 1));
        b = add_rows(s, "b", samples);
    }
    return fd_mix_rows(s->g, x, y, a, b, type_of(s->p, "to", in_type(s)));
}
static fd_val build_noise_embed(setup *s, int samples) {
    fd_val level = add_rows(s, "level", samples), freqs = 0;
    float *c = s->in[0].data, scale = (float)problem_number(s->p, "scale", 1);
    for (int n = 0; n < samples; n++) c[n] *= scale;
    if (dim(s, "fourier", 0)) freqs = add_param(s, "freqs", 1, dim(s, "c", 2) / 2, 0, 0, 0, 16, 0);
    fd_embed_mode mode = dim(s, "sincos", 0) ? FD_EMBED_SIN_COS : FD_EMBED_COS_SIN;
    return fd_noise_embed(s->g, level, freqs, (int)dim(s, "c", 2), mode, dim(s, "endpoint", 0) != 0);
}
static fd_val build_dropout(setup *s, int samples) {
    fd_val x = add_x(s, samples), counter = add_input(s, "counter", (fd_shape){samples, 2, 1, 1}, FD_I32, false);
    return fd_dropout(s->g, x, counter, (float)problem_number(s->p, "p", 0.1), 1234567890123456789u, 17);
}
static fd_val build_sq_err(setup *s, int samples) {
    fd_val x = add_x(s, samples), y = second(s, samples, dim(s, "c", 1));
    return fd_sq_err(s->g, x, y, add_rows(s, "w", samples));
}
static fd_val build_dot_rows(setup *s, int samples) {
    fd_val x = add_x(s, samples);
    return fd_dot_rows(s->g, x, second(s, samples, dim(s, "c", 1)));
}
static fd_val build_softmax_xent(setup *s, int samples) {
    fd_val x = add_x(s, samples), t = add_input(s, "target", x_shape(s, samples), FD_F32, false);
    float *p = s->in[1].data;
    for (int64_t i = 0; i < fd_count(x_shape(s, samples)); i++) p[i] = (float)(exp(p[i]) / (double)dim(s, "c", 1));
    return fd_softmax_xent(s->g, x, t);
}
static fd_val build_broadcast(setup *s, int samples, fd_op op, int64_t channels) {
    fd_val x = add_input(s, "g", (fd_shape){samples, channels, 1, 1}, in_type(s), false);
    fd_attr a = {.c1 = (int)dim(s, "c", 1), .h = (int)dim(s, "h", 1), .w = (int)dim(s, "w", 1), .dt_set = 1,
                 .dt = type_of(s->p, "to", in_type(s))};
    return fd_graph_node(s->g, op, &x, &a, NULL);
}
static fd_val build_broadcast_rows(setup *s, int samples) {
    return build_broadcast(s, samples, FD_OP_broadcast_rows, 1);
}
static fd_val build_broadcast_hw(setup *s, int samples) {
    return build_broadcast(s, samples, FD_OP_broadcast_hw, dim(s, "c", 1));
}

static fd_val (*const builder[FD_OP_COUNT])(setup *s, int samples) = {
    [FD_OP_conv2d] = build_conv2d, [FD_OP_linear] = build_linear, [FD_OP_group_norm] = build_group_norm,
    [FD_OP_silu] = build_silu, [FD_OP_relu] = build_relu, [FD_OP_max_pool] = build_max_pool,
    [FD_OP_avg_pool] = build_avg_pool, [FD_OP_attention] = build_attention, [FD_OP_resample] = build_resample,
    [FD_OP_add] = build_add, [FD_OP_scale] = build_scale, [FD_OP_concat] = build_concat, [FD_OP_slice] = build_slice,
    [FD_OP_mix_rows] = build_mix_rows, [FD_OP_noise_embed] = build_noise_embed, [FD_OP_dropout] = build_dropout,
    [FD_OP_sq_err] = build_sq_err, [FD_OP_softplus] = build_softplus, [FD_OP_dot_rows] = build_dot_rows,
    [FD_OP_sum_rows] = build_sum_rows,
    [FD_OP_broadcast_rows] = build_broadcast_rows, [FD_OP_mean_hw] = build_mean_hw,
    [FD_OP_broadcast_hw] = build_broadcast_hw, [FD_OP_softmax_xent] = build_softmax_xent, [FD_OP_cast] = build_cast,
};

/* ---- graph and plan -------------------------------------------------------------------------------------------- */

static fd_status record(setup *s, bool keep_all, int samples) {
    problem *p = s->p;
    const char *own_keys[] = {"n", "grad", "conv"};      /* read by the modes, or by nobody when samples is given */
    for (size_t i = 0; i < FD_COUNT(own_keys); i++) value_of(p, own_keys[i]);
    const char *name = fd_op_get(p->op)->name;
    if (!builder[p->op]) return FD_FAIL(s->ctx, FD_E_ARG, "%s has no builder in tests/ops/problem.c", name);
    s->y = builder[p->op](s, samples > 0 ? samples : (int)problem_number(p, "n", 1));
    if (!fd_graph_ok(s->g)) return s->ctx->code;
    s->forward_nodes = s->g->nnode;
    bool differentiable = fd_op_get(p->op)->vjp != NULL;
    if (differentiable) {
        fd_val wrt[MAX_INPUTS], gwrt[MAX_INPUTS];
        int which[MAX_INPUTS], n = 0;
        s->dy = fd_graph_input(s->g, "dy", s->g->val[s->y].s, s->g->val[s->y].dt);
        float *data = fd_arena_alloc(s->ctx, &s->arena, (size_t)fd_count(s->g->val[s->y].s) * 4);
        if (!s->dy || !data) return s->ctx->code;
        draw(data, fd_count(s->g->val[s->y].s), "dy", 1, 0);
        for (int k = 0; k < s->nin; k++)
            if (s->in[k].differentiable) which[n] = k, wrt[n++] = s->in[k].v;
        FD_TRY(fd_graph_backward(s->g, 1, &s->y, &s->dy, 1, (fd_params *[]){s->params}, n, wrt, gwrt));
        for (int i = 0; i < n; i++) s->dx[which[i]] = gwrt[i];
        s->in[s->nin++] = (operand){s->dy, data, false};
    }
    for (int i = 0; i < p->nkv; i++)
        if (!p->kv[i].used) return FD_FAIL(s->ctx, FD_E_ARG, "%s does not know the key '%s'", name, p->kv[i].key);
    fd_graph_keep(s->g, s->y);
    for (int k = 0; k < s->nin; k++)
        if (s->dx[k] > 0) fd_graph_keep(s->g, s->dx[k]);
    for (int v = 1; keep_all && v < s->g->nval; v++)
        if (s->g->val[v].kind == FD_VAL_NODE) fd_graph_keep(s->g, v);
    return fill_params(s);
}

fd_status setup_new(fd_ctx *ctx, setup *s, problem *p, fd_params *params, bool keep_all, int samples) {
    *s = (setup){.ctx = ctx, .p = p, .params = params};
    FD_TRY(fd_graph_new(ctx, &s->g));
    fd_graph_scope(s->g, "%s", p->line);
    fd_status status = record(s, keep_all, samples);
    if (status != FD_OK) setup_free(s);
    return status;
}

void setup_free(setup *s) {
    fd_graph_free(s->g);
    fd_arena_free(&s->arena);
    s->g = NULL;
}

void setup_reset_grads(setup *s) {
    if (s->params->g) draw(s->params->g, s->params->trained, "accumulated before", 0.5, 0);
}

fd_status setup_exec(setup *s, const fd_backend *backend, bool unplanned, fd_exec **out) {
    fd_exec_options o = {.backend = backend, .unplanned = unplanned};
    FD_TRY(fd_exec_new(s->ctx, s->g, &o, out));
    fd_status status = FD_OK;
    for (int k = 0; k < s->nin && status == FD_OK; k++)
        status = fd_exec_write(s->ctx, *out, s->in[k].v, s->in[k].data);
    if (status != FD_OK) {
        fd_exec_free(*out);
        *out = NULL;
    }
    setup_reset_grads(s);
    return status;
}
