/* kind "net": one small network; D, F, inner activations, gradients of sum(D * g).
 * kind "full": a published size with formula weights; D, RMS of every module, head logits, gradient sums. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/formula.h"
#include "golden.h"

/* A network recorded with everything a case may ask for. */
typedef struct {
    int n;
    fd_graph *g;
    fd_exec *e;
    fd_unet_io io;
    fd_precond k;
    fd_val x, D, cotangent, dx, logits;
} recorded;

static fd_status record(golden *g, fd_net *net, fd_net *heads, recorded *r, bool augment, bool backward) {
    const fd_net_config *c = &net->config;
    fd_shape image = {r->n, c->image_channels, c->resolution, c->resolution};
    fd_nn nn;
    FD_TRY(fd_graph_new(g->ctx, &r->g));
    fd_nn_init(&nn, r->g, &net->params, FD_F32);
    nn.probe = true;
    r->x = r->io.x = fd_graph_input(r->g, "x", image, FD_F32);
    if (c->label_dim) r->io.labels = fd_graph_input(r->g, "labels", (fd_shape){r->n, c->label_dim, 1, 1}, FD_F32);
    if (augment) r->io.augment = fd_graph_input(r->g, "augment", (fd_shape){r->n, c->augment_dim, 1, 1}, FD_F32);
    if (heads) {
        memcpy(r->io.taps, heads->config.taps, sizeof(int) * (size_t)heads->config.ntap);
        r->io.ntaps = heads->config.ntap;
    }
    r->k = fd_precond_inputs(r->g, "", r->n);
    FD_TRY(fd_precond_build(&nn, c, &r->k, &r->io, &r->D));
    if (heads) {
        fd_nn hn;
        fd_nn_init(&hn, r->g, &heads->params, FD_F32);
        FD_TRY(fd_heads_build(&hn, &heads->config, r->io.feats, r->io.labels, &r->logits));
        fd_graph_keep(r->g, r->logits);
    }
    fd_graph_keep(r->g, r->D);
    fd_graph_keep(r->g, r->io.F);
    if (!backward) return FD_OK;
    fd_params *trained[] = {&net->params};
    FD_TRY(fd_params_need_grads(g->ctx, &net->params));
    r->cotangent = fd_graph_input(r->g, "g", image, FD_F32);
    FD_TRY(fd_graph_backward(r->g, 1, &r->D, &r->cotangent, 1, trained, 1, &r->x, &r->dx));
    fd_graph_keep(r->g, r->dx);
    return FD_OK;
}

static fd_status run(golden *g, recorded *r, const float *x, const double *sigma, const fd_net_config *c,
                     const float *labels, const float *augment, const float *cotangent) {
    fd_exec_options o = {.backend = g->o->backend};
    fd_arena a = {0};
    float *k;
    FD_TRY(fd_exec_new(g->ctx, r->g, &o, &r->e));
    k = fd_arena_alloc(g->ctx, &a, sizeof(float) * 4 * (size_t)r->n);
    if (!k) return FD_E_NOMEM;
    fd_precond_coefficients(c, sigma, r->n, k, k + r->n, k + 2 * r->n, k + 3 * r->n);
    fd_status s = fd_exec_write(g->ctx, r->e, r->x, x);
    const fd_val coefficient[] = {r->k.c_skip, r->k.c_out, r->k.c_in, r->k.c_noise};
    for (int i = 0; i < 4 && s == FD_OK; i++) s = fd_exec_write(g->ctx, r->e, coefficient[i], k + i * r->n);
    if (s == FD_OK && r->io.labels) s = fd_exec_write(g->ctx, r->e, r->io.labels, labels);
    if (s == FD_OK && r->io.augment) s = fd_exec_write(g->ctx, r->e, r->io.augment, augment);
    if (s == FD_OK && r->cotangent) s = fd_exec_write(g->ctx, r->e, r->cotangent, cotangent);
    if (s == FD_OK) s = fd_exec_run(g->ctx, r->e, 0, -1);
    fd_arena_free(&a);
    return s;
}

static void finish(recorded *r) {
    fd_exec_free(r->e);
    fd_graph_free(r->g);
}

/* A value by the exec, into fresh memory that the caller frees. */
static fd_status value(golden *g, recorded *r, fd_val v, float **out, int64_t *n) {
    *n = fd_count(r->g->val[v].s);
    *out = fd_alloc(g->ctx, sizeof(float) * (size_t)*n);
    if (!*out) return FD_E_NOMEM;
    return fd_exec_read(g->ctx, r->e, v, *out);
}

static fd_status compare_value(golden *g, recorded *r, fd_val v, const char *name) {
    float *p = NULL;
    int64_t n;
    if (!v) return FD_FAIL(g->ctx, FD_E_FORMAT, "'%s': the network has no such value", name);
    fd_status s = value(g, r, v, &p, &n);
    if (s == FD_OK) golden_compare_f32(g, name, p, n, GOLDEN_FLOAT);
    fd_free(p);
    return s;
}

/* Everything named act/<module> must survive the run. */
static void keep_activations(golden *g, recorded *r) {
    const char *key;
    json_t *v;
    json_object_foreach(g->outputs, key, v) {
        if (strncmp(key, "act/", 4) == 0) fd_graph_keep(r->g, fd_graph_find(r->g, key + 4));
    }
}

static fd_status compare_gradient(golden *g, const fd_params *p, const char *key, const json_t *entry) {
    const char *name = strchr(key, '/') + 1;
    int i = fd_params_find(p, name);
    if (i < 0) return FD_FAIL(g->ctx, FD_E_FORMAT, "'%s': the network has no such parameter", key);
    const float *gradient = p->g + p->list[i].offset;
    const json_t *stride = json_object_get(entry, "stride");
    int64_t step = stride ? json_integer_value(stride) : 1, count = p->list[i].count, n = (count + step - 1) / step;
    float *sample = fd_alloc(g->ctx, sizeof(float) * (size_t)n);
    if (!sample) return FD_E_NOMEM;
    for (int64_t k = 0; k < n; k++) sample[k] = gradient[k * step];
    golden_compare_f32(g, key, sample, n, GOLDEN_FLOAT);
    fd_free(sample);
    return FD_OK;
}

static fd_status compare_all(golden *g, fd_net *net, recorded *r) {
    const char *key;
    json_t *v;
    json_object_foreach(g->outputs, key, v) {
        if (strcmp(key, "out/D") == 0) FD_TRY(compare_value(g, r, r->D, key));
        else if (strcmp(key, "out/F") == 0) FD_TRY(compare_value(g, r, r->io.F, key));
        else if (strcmp(key, "out/dx") == 0) FD_TRY(compare_value(g, r, r->dx, key));
        else if (strncmp(key, "act/", 4) == 0) FD_TRY(compare_value(g, r, fd_graph_find(r->g, key + 4), key));
        else if (strncmp(key, "grad/", 5) == 0 || strncmp(key, "gradsample/", 11) == 0)
            FD_TRY(compare_gradient(g, &net->params, key, v));
    }
    if (golden_has(g, "gradsum/norm"))
        FD_TRY(
            golden_gradsum(g, "gradsum/norm", "gradsum/dot", json_object_get(g->meta, "grad_names"), &net->params));
    return FD_OK;
}

/* The denoiser as users run it, without label and augmentation. */
static fd_status without_condition(golden *g, fd_net *net, int n, const float *x, const double *sigma, fd_arena *a) {
    const char *key = "out/D_no_label_no_augment";
    fd_denoiser *d;
    float *D;
    int64_t count = (int64_t)n * net->config.image_channels * net->config.resolution * net->config.resolution;
    if (!golden_has(g, key)) return FD_OK;
    FD_NEW(g->ctx, a, D, count);
    FD_TRY(fd_denoiser_new(g->ctx, net, n, &(fd_run_options){.backend = g->o->backend}, &d));
    fd_status s = fd_denoiser_run(g->ctx, d, x, sigma, NULL, NULL, D);
    fd_denoiser_free(d);
    if (s == FD_OK) golden_compare_f32(g, key, D, count, GOLDEN_FLOAT);
    return s;
}

fd_status golden_kind_net(golden *g, fd_arena *a) {
    fd_net *net = NULL;
    float *x, *labels = NULL, *augment = NULL, *cotangent;
    double *sigma;
    int64_t n;
    FD_TRY(golden_f32(g, a, "in/x", &x, NULL));
    FD_TRY(golden_f64(g, a, "in/sigma", &sigma, &n));
    FD_TRY(golden_f32(g, a, "in/g", &cotangent, NULL));
    if (golden_has_tensor(g, "in/labels")) FD_TRY(golden_f32(g, a, "in/labels", &labels, NULL));
    if (golden_has_tensor(g, "in/augment")) FD_TRY(golden_f32(g, a, "in/augment", &augment, NULL));
    const json_t *salt = json_object_get(g->config, "weight_salt");
    recorded r = {.n = (int)n};
    fd_status s = golden_net(g, "weights/", json_is_string(salt) ? json_string_value(salt) : "", &net);
    double params;
    if (s == FD_OK) s = golden_number(g, g->config, "params", &params);
    if (s == FD_OK && params != (double)net->params.count_trained)
        s = FD_FAIL(g->ctx, FD_E_FORMAT, "the network has %lld parameters, case.json says %.0f",
                    (long long)net->params.count_trained, params);
    if (s == FD_OK) s = record(g, net, NULL, &r, augment != NULL, true);
    if (s == FD_OK) {
        keep_activations(g, &r);
        s = run(g, &r, x, sigma, &net->config, labels, augment, cotangent);
    }
    if (s == FD_OK) s = compare_all(g, net, &r);
    if (s == FD_OK) s = without_condition(g, net, (int)n, x, sigma, a);
    finish(&r);
    fd_net_free(net);
    return s;
}

/* full ---------------------------------------------------------------------------------------------------------- */

static fd_status make_heads(golden *g, const fd_net_config *c, fd_net **out) {
    const json_t *h = json_object_get(g->config, "heads"), *taps = json_object_get(h, "taps");
    fd_net_config hc;
    int levels[FD_MAX_HEADS], n = (int)json_array_size(taps);
    double channels, params;
    if (!json_is_object(h)) return FD_OK;
    if (n > FD_MAX_HEADS) return FD_FAIL(g->ctx, FD_E_FORMAT, "case.json: %d heads, at most %d", n, FD_MAX_HEADS);
    for (int i = 0; i < n; i++) levels[i] = (int)json_integer_value(json_array_get(taps, (size_t)i));
    FD_TRY(fd_heads_config(g->ctx, c, levels, n, 0, &hc));
    FD_TRY(golden_number(g, h, "channels", &channels));
    FD_TRY(golden_number(g, h, "params", &params));
    if (hc.tap_channels[0] != (int)channels)
        return FD_FAIL(g->ctx, FD_E_FORMAT, "the heads have %d channels", hc.tap_channels[0]);
    FD_TRY(fd_net_new(g->ctx, &hc, out));
    if ((double)(*out)->params.count_trained != params)
        return FD_FAIL(g->ctx, FD_E_FORMAT, "the heads have %lld parameters, case.json says %.0f",
                       (long long)(*out)->params.count_trained, params);
    const json_t *salt = json_object_get(h, "weight_salt");
    return fd_net_fill_formula(g->ctx, *out, json_is_string(salt) ? json_string_value(salt) : "", 1);
}

static fd_status module_rms(golden *g, recorded *r) {
    const json_t *names = json_object_get(g->meta, "module_names");
    int n = (int)json_array_size(names);
    double rms[1024];
    if (!golden_has(g, "out/module_rms")) return FD_OK;
    if (n > 1024) return FD_FAIL(g->ctx, FD_E_FORMAT, "case.json: too many module_names");
    for (int i = 0; i < n; i++) {
        float *v;
        int64_t count;
        const char *name = json_string_value(json_array_get(names, (size_t)i));
        fd_val id = name ? fd_graph_find(r->g, name) : 0;
        if (!id)
            return FD_FAIL(g->ctx, FD_E_FORMAT, "module '%s' of case.json is not in the network", name ? name : "?");
        FD_TRY(value(g, r, id, &v, &count));
        double sum = 0;
        for (int64_t k = 0; k < count; k++) sum += (double)v[k] * v[k];
        rms[i] = sqrt(sum / (double)count);
        fd_free(v);
    }
    golden_compare(g, "out/module_rms", rms, n, GOLDEN_FLOAT);
    return FD_OK;
}

static fd_status full(golden *g, fd_arena *a, fd_net *net, fd_net *heads, recorded *r) {
    const fd_net_config *c = &net->config;
    const json_t *names = json_object_get(g->meta, "module_names");
    int64_t image[] = {1, c->image_channels, c->resolution, c->resolution};
    int64_t count = image[1] * image[2] * image[3];
    float *x, *cotangent, *labels;
    double sigma, label = 0;
    bool backward = golden_has(g, "out/dx") || golden_has(g, "gradsum/norm");
    FD_NEW(g->ctx, a, x, count);
    FD_NEW(g->ctx, a, cotangent, count);
    FD_NEW(g->ctx, a, labels, c->label_dim + 1);
    FD_TRY(golden_number(g, g->config, "sigma", &sigma));
    if (c->label_dim) FD_TRY(golden_number(g, g->config, "label_index", &label));
    if (label < 0 || label >= (c->label_dim ? c->label_dim : 1))
        return FD_FAIL(g->ctx, FD_E_FORMAT, "case.json: label_index");
    labels[(int)label] = 1;
    FD_TRY(fd_formula_fill(g->ctx, "input:x", "", 4, image, x));
    FD_TRY(fd_formula_fill(g->ctx, "input:g", "", 4, image, cotangent));
    FD_TRY(record(g, net, heads, r, false, backward));
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (name) fd_graph_keep(r->g, fd_graph_find(r->g, name));
    }
    FD_TRY(run(g, r, x, &sigma, c, labels, NULL, cotangent));
    FD_TRY(module_rms(g, r));
    if (golden_has(g, "out/head_logits")) FD_TRY(compare_value(g, r, r->logits, "out/head_logits"));
    return compare_all(g, net, r);
}

fd_status golden_kind_full(golden *g, fd_arena *a) {
    fd_net *net = NULL, *heads = NULL;
    recorded r = {.n = 1};
    double params;
    const json_t *salt = json_object_get(g->config, "weight_salt");
    FD_TRY(golden_number(g, g->config, "params", &params));
    fd_status s = golden_net(g, "weights/", json_is_string(salt) ? json_string_value(salt) : "", &net);
    if (s == FD_OK && params != (double)net->params.count_trained)
        s = FD_FAIL(g->ctx, FD_E_FORMAT, "the network has %lld parameters, case.json says %.0f",
                    (long long)net->params.count_trained, params);
    if (s == FD_OK) s = make_heads(g, &net->config, &heads);
    if (s == FD_OK) s = full(g, a, net, heads, &r);
    finish(&r);
    fd_net_free(net);
    fd_net_free(heads);
    return s;
}
