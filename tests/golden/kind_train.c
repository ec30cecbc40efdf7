/* kind "edm-train": some Adam iterations of EDM training, every random number given.
 * kind "heun": the samplers, deterministic and with churn, every intermediate state. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fdiv/sigma.h"
#include "golden.h"
#include "train/edm_step.h"
#include "train/optim.h"
#include "train/sampler.h"

static const char *salt_of(const golden *g) {
    const json_t *salt = json_object_get(g->config, "weight_salt");
    return json_is_string(salt) ? json_string_value(salt) : "";
}

fd_status golden_adam(golden *g, fd_adam *p) {
    const json_t *o = json_object_get(g->config, "optimiser"), *betas = json_object_get(o, "betas");
    FD_TRY(golden_number(g, o, "lr", &p->lr));
    FD_TRY(golden_number(g, o, "eps", &p->eps));
    FD_TRY(golden_number(g, o, "weight_decay", &p->weight_decay));
    if (json_array_size(betas) != 2) return FD_FAIL(g->ctx, FD_E_FORMAT, "case.json: optimiser needs two betas");
    p->beta1 = json_number_value(json_array_get(betas, 0));
    p->beta2 = json_number_value(json_array_get(betas, 1));
    return FD_OK;
}

void golden_compare_trained(golden *g, const char *prefix, const fd_params *p, const float *w, const float *start) {
    for (int i = 0; i < p->n; i++) {
        char name[600];
        snprintf(name, sizeof name, "%s%s", prefix, p->list[i].name);
        if (p->list[i].buffer || !golden_has(g, name)) continue;
        golden_compare_update(g, name, w + p->list[i].offset, start + p->list[i].offset, p->list[i].count);
    }
}

typedef struct {
    float *images, *noise, *normal, *labels, *augment;
    float *m, *v, *start;
    double *losses, *norms;
    int iterations, batch;
    double p_mean, p_std;
} training;

static fd_status train(golden *g, training *t, fd_net *net) {
    fd_params *p = &net->params;
    const fd_net_config *c = &net->config;
    int64_t pixels = (int64_t)c->image_channels * c->resolution * c->resolution;
    fd_range all = {0, p->trained};
    fd_adam adam;
    fd_edm_step step;
    double sigma[1024];
    FD_TRY(golden_adam(g, &adam));
    fd_edm_step_spec spec = {.n = t->batch, .augment = t->augment != NULL, .backend = g->o->backend};
    FD_TRY(fd_edm_step_open(g->ctx, net, &spec, &step));
    fd_status s = FD_OK;
    for (int i = 0; i < t->iterations && s == FD_OK; i++) {
        int64_t at = (int64_t)i * t->batch;
        for (int k = 0; k < t->batch; k++) sigma[k] = exp(t->p_mean + t->p_std * (double)t->normal[at + k]);
        memset(p->g, 0, sizeof(float) * (size_t)p->trained);
        s = fd_edm_step_run(g->ctx, &step, t->images + at * pixels, t->noise + at * pixels, sigma,
                            t->labels ? t->labels + at * c->label_dim : NULL,
                            t->augment ? t->augment + at * c->augment_dim : NULL, (uint64_t)at, 1.0 / t->batch,
                            &t->losses[i]);
        t->norms[i] = fd_grad_measure(&all, 1, p->g).norm;
        fd_adamw_step(&adam, i + 1, &all, 1, p->w, p->g, t->m, t->v, 1, NULL, 0);
        fd_params_touch(p);
    }
    fd_edm_step_close(&step);
    return s;
}

fd_status golden_kind_edm_train(golden *g, fd_arena *a) {
    training t = {0};
    fd_net *net = NULL;
    double iterations;
    int64_t n;
    const char *words = json_string_value(json_object_get(g->config, "loss"));
    const char *law = words ? strstr(words, "ln sigma = ") : NULL;
    if (!law || sscanf(law, "ln sigma = %lf + %lf*", &t.p_mean, &t.p_std) != 2)
        return FD_FAIL(g->ctx, FD_E_FORMAT, "case.json: config's loss does not say how sigma follows from normal_sigma");
    FD_TRY(golden_number(g, g->config, "iterations", &iterations));
    FD_TRY(golden_f32(g, a, "in/images", &t.images, NULL));
    FD_TRY(golden_f32(g, a, "in/noise", &t.noise, NULL));
    FD_TRY(golden_f32(g, a, "in/normal_sigma", &t.normal, &n));
    if (golden_has_tensor(g, "in/labels")) FD_TRY(golden_f32(g, a, "in/labels", &t.labels, NULL));
    if (golden_has_tensor(g, "in/augment")) FD_TRY(golden_f32(g, a, "in/augment", &t.augment, NULL));
    t.iterations = (int)iterations;
    if (t.iterations < 1 || n % t.iterations || n / t.iterations > 1024)
        return FD_FAIL(g->ctx, FD_E_FORMAT, "in/normal_sigma has %lld entries for %d iterations", (long long)n, t.iterations);
    t.batch = (int)(n / t.iterations);
    FD_NEW(g->ctx, a, t.losses, t.iterations);
    FD_NEW(g->ctx, a, t.norms, t.iterations);
    fd_status s = golden_net(g, "weights/", salt_of(g), &net);
    if (s == FD_OK) {
        size_t bytes = sizeof(float) * (size_t)net->params.total;
        t.m = fd_arena_alloc(g->ctx, a, bytes);
        t.v = fd_arena_alloc(g->ctx, a, bytes);
        t.start = fd_arena_alloc(g->ctx, a, bytes);
        if (!t.m || !t.v || !t.start) s = FD_E_NOMEM;
        else memcpy(t.start, net->params.w, bytes);
    }
    if (s == FD_OK) s = train(g, &t, net);
    if (s == FD_OK) {
        golden_compare(g, "out/losses", t.losses, t.iterations, GOLDEN_SERIES);
        golden_compare(g, "out/grad_norms", t.norms, t.iterations, GOLDEN_SERIES);
        golden_compare_trained(g, "final/", &net->params, net->params.w, t.start);
    }
    fd_net_free(net);
    return s;
}

/* heun ---------------------------------------------------------------------------------------------------------- */

static fd_status solver_of(golden *g, const char *run, const json_t *o, fd_solver *out) {
    static const char *const names[FD_SOLVERS] = {"heun", "euler", "dpmpp_2m"};
    const json_t *name = json_object_get(o, "solver");
    if (!name) return FD_OK;
    for (int i = 0; i < FD_SOLVERS; i++) {
        *out = (fd_solver)i;
        if (json_is_string(name) && !strcmp(json_string_value(name), names[i])) return FD_OK;
    }
    return FD_FAIL(g->ctx, FD_E_FORMAT, "case.json: run '%s' has a solver that this program does not know", run);
}

static fd_status sample(golden *g, fd_arena *a, const char *run, const json_t *o, fd_denoiser *d, const float *latents,
                        const float *labels) {
    fd_sampler s = fd_sampler_defaults();
    fd_shape shape = fd_denoiser_shape(d);
    double steps, *x, *trajectory, *grid;
    float *noises = NULL;
    char name[256];
    FD_TRY(solver_of(g, run, o, &s.solver));
    FD_TRY(golden_number(g, o, "steps", &steps));
    FD_TRY(golden_number(g, o, "churn", &s.s_churn));
    FD_TRY(golden_number(g, o, "s_min", &s.s_min));
    FD_TRY(golden_number(g, o, "s_noise", &s.s_noise));
    if (!json_is_null(json_object_get(o, "s_max"))) FD_TRY(golden_number(g, o, "s_max", &s.s_max));
    else s.s_max = INFINITY;
    if (!(steps >= 1 && steps <= 10000)) return FD_FAIL(g->ctx, FD_E_FORMAT, "case.json: run '%s' has %g steps", run, steps);
    s.steps = (int)steps;
    FD_NEW(g->ctx, a, x, fd_count(shape));
    FD_NEW(g->ctx, a, trajectory, fd_count(shape) * (s.steps + 1));
    FD_NEW(g->ctx, a, grid, s.steps);
    snprintf(name, sizeof name, "in/%s_noises", run);
    if (golden_has_tensor(g, name)) FD_TRY(golden_f32(g, a, name, &noises, NULL));
    FD_TRY(fd_sample(g->ctx, &s, d, latents, labels, noises, x, trajectory));
    fd_karras_grid(s.steps, s.sigma_min, s.sigma_max, s.rho, grid);
    snprintf(name, sizeof name, "out/%s_grid", run);
    golden_compare(g, name, grid, s.steps, GOLDEN_ELEMENTS);
    snprintf(name, sizeof name, "out/%s_trajectory", run);
    golden_compare(g, name, trajectory, fd_count(shape) * (s.steps + 1), GOLDEN_STATE);
    return FD_OK;
}

fd_status golden_kind_heun(golden *g, fd_arena *a) {
    fd_net *net = NULL;
    fd_denoiser *d = NULL;
    float *latents, *labels = NULL;
    int64_t n;
    const char *run;
    json_t *o;
    FD_TRY(golden_f32(g, a, "in/latents", &latents, &n));
    if (golden_has_tensor(g, "in/labels")) FD_TRY(golden_f32(g, a, "in/labels", &labels, NULL));
    fd_status s = golden_net(g, "weights/", salt_of(g), &net);
    if (s == FD_OK) {
        const fd_net_config *c = &net->config;
        int64_t batch = n / ((int64_t)c->image_channels * c->resolution * c->resolution);
        s = fd_denoiser_new(g->ctx, net, (int)batch, &(fd_run_options){.backend = g->o->backend}, &d);
    }
    json_object_foreach(json_object_get(g->config, "runs"), run, o) {
        if (s == FD_OK) s = sample(g, a, run, o, d, latents, labels);
    }
    fd_denoiser_free(d);
    fd_net_free(net);
    return s;
}
