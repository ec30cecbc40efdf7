#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/formula.h"
#include "golden.h"

static const json_t *entry(const golden *g, const char *name) { return json_object_get(g->outputs, name); }

bool golden_has(const golden *g, const char *name) { return entry(g, name) != NULL; }

bool golden_has_tensor(const golden *g, const char *name) { return fd_safetensors_find(&g->st, name) != NULL; }

/* Key biases have a gradient of exactly zero, so only rounding noise there; their elements are left out. */
static bool ends_with(const char *s, const char *tail) {
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && strcmp(s + n - m, tail) == 0;
}

static double f32_error(const golden *g, const char *name, const char *key) {
    const json_t *e = entry(g, name), *without = json_object_get(e, "f32_error_without_keys");
    return json_number_value(json_object_get(without ? without : json_object_get(e, "f32_error"), key));
}

static void record(golden *g, const char *name, double error, double limit) {
    double share = error <= limit ? error / limit : limit > 0 ? error / limit : INFINITY;
    if (limit == 0 && error == 0) share = 0;
    if (!(error >= 0)) share = INFINITY;      /* NaN */
    if (share > g->worst || !g->worst_name[0]) {
        g->worst = share;
        g->worst_error = error;
        g->worst_limit = limit;
        snprintf(g->worst_name, sizeof g->worst_name, "%s", name);
    }
    g->compared++;
}

/* Marks the output as handed over and reads it; false (and a recorded failure) when it cannot be compared. */
static bool stored(golden *g, const char *name, int64_t n, double **out) {
    const fd_st_tensor *t = fd_safetensors_find(&g->st, name);
    *out = NULL;
    if (!t || t->count != n) {
        fprintf(stderr, "  %s: %s\n", name, t ? "stored shape and ours differ" : "not among the stored tensors");
        record(g, name, INFINITY, 1);
        return false;
    }
    g->seen[t - g->st.tensor] = true;
    *out = fd_alloc(g->ctx, fd_mul_size((size_t)n, sizeof(double)));
    if (!*out || fd_safetensors_read_f64(g->ctx, &g->st, name, -1, NULL, *out) != FD_OK) {
        fprintf(stderr, "  %s\n", g->ctx->message);
        record(g, name, INFINITY, 1);
        fd_free(*out);
        return false;
    }
    return true;
}

static double relative(const char *name, const double *ours, const double *want, const float *start, int64_t n) {
    bool keys = ends_with(name, "qkv.bias");
    double difference = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        if (keys && i % 3 == 1) continue;
        double d = ours[i] - want[i], s = start ? want[i] - start[i] : want[i];
        difference += d * d;
        size += s * s;
    }
    return size > 0 ? sqrt(difference / size) : sqrt(difference);
}

static double worst_element(const double *ours, const double *want, int64_t n) {
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double share = fabs(ours[i] - want[i]) / (1e-12 * fabs(want[i]) + 1e-15);
        if (!(share <= worst)) worst = share;
    }
    return worst;
}

static double floor_of(const golden *g, golden_rule rule) {
    return g->o->wide ? 1e-4 : rule == GOLDEN_TIGHT ? 2e-7 : 2e-6;
}

void golden_compare(golden *g, const char *name, const double *ours, int64_t n, golden_rule rule) {
    double *want;
    if (!stored(g, name, n, &want)) return;
    double f32 = f32_error(g, name, "rel_l2"), e;
    switch (rule) {
    case GOLDEN_BITS:
        record(g, name, memcmp(ours, want, sizeof(double) * (size_t)n) ? 1 : 0, 0);
        break;
    case GOLDEN_ELEMENTS:
        record(g, name, worst_element(ours, want, n), 1);
        break;
    case GOLDEN_DOUBLE:
    case GOLDEN_STATE:
        record(g, name, relative(name, ours, want, NULL, n), rule == GOLDEN_DOUBLE ? 1e-7 : g->o->wide ? 1e-4 : 1e-6);
        break;
    case GOLDEN_SERIES:
        record(g, name, relative(name, ours, want, NULL, 1), fmax((g->o->wide ? 200 : 10) * f32, floor_of(g, rule)));
        if (n > 1) record(g, name, relative(name, ours + 1, want + 1, NULL, n - 1), fmax(10 * f32, g->o->wide ? 1e-2 : 1e-4));
        break;
    default:
        e = relative(name, ours, want, NULL, n);
        record(g, name, e, fmax((g->o->wide ? 200 : 10) * f32, floor_of(g, rule)));
        if (strncmp(name, "grad/", 5) == 0 || strstr(name, "_grad/")) g->gradient_errors[g->ngradients++] = e;
    }
    fd_free(want);
}

static double *widen(golden *g, const float *v, int64_t n) {
    double *d = fd_alloc(g->ctx, fd_mul_size((size_t)n, sizeof(double)));
    for (int64_t i = 0; d && i < n; i++) d[i] = v[i];
    return d;
}

void golden_compare_f32(golden *g, const char *name, const float *ours, int64_t n, golden_rule rule) {
    double *d = widen(g, ours, n);
    if (d) golden_compare(g, name, d, n, rule);
    else record(g, name, INFINITY, 1);
    fd_free(d);
}

void golden_compare_update(golden *g, const char *name, const float *ours, const float *start, int64_t n) {
    double *want, *d = widen(g, ours, n);
    if (d && stored(g, name, n, &want)) {
        double limit = fmax(5 * f32_error(g, name, "update_rel_l2"), g->o->wide ? 5e-2 : 1e-2);
        record(g, name, relative(name, d, want, start, n), limit);
        fd_free(want);
    }
    fd_free(d);
}

fd_status golden_f32(golden *g, fd_arena *arena, const char *name, float **out, int64_t *count) {
    const fd_st_tensor *t = fd_safetensors_find(&g->st, name);
    if (!t) return FD_FAIL(g->ctx, FD_E_FORMAT, "input tensor '%s' is missing", name);
    FD_NEW(g->ctx, arena, *out, t->count ? t->count : 1);
    if (count) *count = t->count;
    return fd_safetensors_read_f32(g->ctx, &g->st, name, -1, NULL, *out);
}

fd_status golden_f64(golden *g, fd_arena *arena, const char *name, double **out, int64_t *count) {
    const fd_st_tensor *t = fd_safetensors_find(&g->st, name);
    if (!t) return FD_FAIL(g->ctx, FD_E_FORMAT, "input tensor '%s' is missing", name);
    FD_NEW(g->ctx, arena, *out, t->count ? t->count : 1);
    if (count) *count = t->count;
    return fd_safetensors_read_f64(g->ctx, &g->st, name, -1, NULL, *out);
}

fd_status golden_number(golden *g, const json_t *object, const char *key, double *out) {
    const json_t *v = json_object_get(object, key);
    if (!json_is_number(v)) return FD_FAIL(g->ctx, FD_E_FORMAT, "case.json: config has no number '%s'", key);
    *out = json_number_value(v);
    return FD_OK;
}

fd_status golden_network(golden *g, fd_net_config *out) {
    char text[4096];
    size_t n = json_dumpb(json_object_get(g->config, "network"), text, sizeof text, JSON_COMPACT);
    if (!n || n > sizeof text) return FD_FAIL(g->ctx, FD_E_FORMAT, "case.json: config has no usable 'network'");
    return fd_net_config_parse(g->ctx, "case.json", text, n, out);
}

void golden_spoil(golden *g, float *v, int64_t i) {
    if (!g->o->perturb || g->spoiled) return;
    v[i] *= 1.001f;
    g->spoiled = true;
}

void golden_spoil_f64(golden *g, double *v, int64_t i) {
    if (!g->o->perturb || g->spoiled) return;
    v[i] *= 1.001;
    g->spoiled = true;
}

/* The largest weight of the first convolution: everything after it depends on it. */
static void spoil_net(golden *g, fd_net *net) {
    fd_params *p = &net->params;
    for (int i = 0; i < p->n && g->o->perturb && !g->spoiled; i++) {
        const fd_param *t = &p->list[i];
        if (t->rank != 4 || t->buffer) continue;
        int64_t at = 0;
        for (int64_t k = 0; k < t->count; k++)
            if (fabsf(p->w[t->offset + k]) > fabsf(p->w[t->offset + at])) at = k;
        golden_spoil(g, p->w + t->offset, at);
    }
}

fd_status golden_weights(golden *g, const char *prefix, const char *salt, float head_scale, fd_net *net) {
    fd_params *p = &net->params;
    char name[600];
    bool any = false;
    for (int i = 0; i < g->st.n && !any; i++) any = strncmp(g->st.tensor[i].name, prefix, strlen(prefix)) == 0;
    if (!any) FD_TRY(fd_net_fill_formula(g->ctx, net, salt, head_scale));
    for (int i = 0; any && i < p->n; i++) {
        snprintf(name, sizeof name, "%s%s", prefix, p->list[i].name);
        FD_TRY(
            fd_safetensors_read_f32(g->ctx, &g->st, name, p->list[i].rank, p->list[i].dim, p->w + p->list[i].offset));
    }
    spoil_net(g, net);
    fd_params_touch(p);
    return FD_OK;
}

fd_status golden_net(golden *g, const char *prefix, const char *salt, fd_net **out) {
    fd_net_config c;
    FD_TRY(golden_network(g, &c));
    FD_TRY(fd_net_new(g->ctx, &c, out));
    return golden_weights(g, prefix, salt, 1, *out);
}

fd_status golden_gradsum(golden *g, const char *norm, const char *dot, const json_t *names, const fd_params *p) {
    size_t n = json_array_size(names);
    fd_arena a = {0};
    double *norms, *dots;
    FD_NEW(g->ctx, &a, norms, n);
    FD_NEW(g->ctx, &a, dots, n);
    fd_status s = FD_OK;
    for (size_t i = 0; i < n && s == FD_OK; i++) {
        const char *name = json_string_value(json_array_get(names, i));
        int k = name ? fd_params_find(p, name) : -1;
        if (k < 0) {
            s = FD_FAIL(g->ctx, FD_E_FORMAT, "case.json: grad_names has '%s', which the network has not",
                        name ? name : "?");
            break;
        }
        const fd_param *t = &p->list[k];
        float *probe = fd_alloc(g->ctx, sizeof(float) * (size_t)t->count);
        char text[600];
        snprintf(text, sizeof text, "input:probe/%s", name);
        s = probe ? fd_formula_fill(g->ctx, text, "", t->rank, t->dim, probe) : FD_E_NOMEM;
        for (int64_t j = 0; s == FD_OK && j < t->count; j++) {
            double v = p->g[t->offset + j];
            norms[i] += v * v;
            dots[i] += v * probe[j];
        }
        norms[i] = sqrt(norms[i]);
        fd_free(probe);
    }
    if (s == FD_OK) golden_compare(g, norm, norms, (int64_t)n, GOLDEN_FLOAT);
    if (s == FD_OK) golden_compare(g, dot, dots, (int64_t)n, GOLDEN_FLOAT);
    fd_arena_free(&a);
    return s;
}
