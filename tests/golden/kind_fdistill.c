/* kind "fdistill-step": a student step per divergence and critic steps, every stage and gradient.
 * kind "fdistill-run": whole iterations with the optimisers, averages and ratio bins. */
#include <stdio.h>
#include <string.h>

#include "golden.h"
#include "train/distill_update.h"

#define LOSS GOLDEN_FLOAT

typedef struct {
    fd_distill_nets nets;
    fd_distill_method method;
    fd_distill_batch b;              /* of the first iteration */
    int batch, iterations;
    int64_t pixels;
    int label_dim;
    fd_distiller *d;
} setting;

static fd_status load_net(golden *g, const char *which, const fd_net_config *config, double head_scale, fd_net **out) {
    char prefix[64], salt[256];
    const char *base = json_string_value(json_object_get(g->config, "weight_salt"));
    snprintf(prefix, sizeof prefix, "weights/%s/", which);
    snprintf(salt, sizeof salt, "%s%s:", base ? base : "", which);
    if (!config) return golden_net(g, prefix, salt, out);
    FD_TRY(fd_net_new(g->ctx, config, out));
    return golden_weights(g, prefix, salt, (float)head_scale, *out);
}

static fd_status load_nets(golden *g, setting *s) {
    const json_t *taps = json_object_get(g->config, "taps");
    double scale;
    fd_net_config heads;
    FD_TRY(golden_number(g, g->config, "head_last_layer_weight_factor", &scale));
    FD_TRY(load_net(g, "teacher", NULL, 0, &s->nets.teacher));
    FD_TRY(load_net(g, "fake", NULL, 0, &s->nets.fake));
    FD_TRY(load_net(g, "student", NULL, 0, &s->nets.student));
    s->method.ntaps = (int)json_array_size(taps);
    if (s->method.ntaps < 1 || s->method.ntaps > 8) return FD_FAIL(g->ctx, FD_E_FORMAT, "case.json: no taps");
    for (int i = 0; i < s->method.ntaps; i++) s->method.taps[i] = (int)json_integer_value(json_array_get(taps, (size_t)i));
    FD_TRY(fd_heads_config(g->ctx, &s->nets.teacher->config, s->method.taps, s->method.ntaps, 0, &heads));
    if (json_is_true(json_object_get(g->config, "head_cond"))) heads.label_dim = s->nets.teacher->config.label_dim;
    return load_net(g, "heads", &heads, scale, &s->nets.heads);
}

static fd_status load_batch(golden *g, fd_arena *a, setting *s) {
    const fd_net_config *c = &s->nets.teacher->config;
    const struct { const char *name; const float **to; bool needed;
    } images[] = {{"in/z", &s->b.z, true}, {"in/eps", &s->b.eps, true}, {"in/real", &s->b.real, true},
                  {"in/eps_real", &s->b.eps_real, true}, {"in/r1_noise", &s->b.r1_noise, false},
                  {"in/labels", &s->b.labels, c->label_dim > 0}};
    int64_t levels;
    for (size_t i = 0; i < FD_COUNT(images); i++) {
        float *v;
        if (!images[i].needed && !golden_has_tensor(g, images[i].name)) continue;
        FD_TRY(golden_f32(g, a, images[i].name, &v, NULL));
        *images[i].to = v;
    }
    double *t, *t_real;
    FD_TRY(golden_f64(g, a, "in/t", &t, &levels));
    FD_TRY(golden_f64(g, a, "in/t_real", &t_real, NULL));
    s->b.t = t;
    s->b.t_real = t_real;
    s->pixels = (int64_t)c->image_channels * c->resolution * c->resolution;
    s->label_dim = c->label_dim;
    s->batch = (int)(levels / s->iterations);
    if (s->batch < 1 || levels % s->iterations)
        return FD_FAIL(g->ctx, FD_E_FORMAT, "in/t has %lld levels for %d iterations", (long long)levels, s->iterations);
    return FD_OK;
}

static fd_status open_setting(golden *g, fd_arena *a, setting *s) {
    double ema;
    s->method = fd_distill_method_defaults();
    FD_TRY(golden_number(g, g->config, "lambda_gan", &s->method.gan_weight));
    FD_TRY(golden_number(g, g->config, "ratio_ema", &ema));
    s->method.ratio.ema = ema;
    FD_TRY(load_nets(g, s));
    return load_batch(g, a, s);
}

static void close_setting(setting *s) {
    fd_distiller_free(s->d);
    fd_net_free(s->nets.student);
    fd_net_free(s->nets.teacher);
    fd_net_free(s->nets.fake);
    fd_net_free(s->nets.heads);
}

static fd_status open_distiller(golden *g, setting *s, int n) {
    fd_distiller_free(s->d);
    fd_distiller_spec spec = {.method = &s->method, .batch = s->batch, .n = n, .backend = g->o->backend};
    return fd_distiller_new(g->ctx, &spec, &s->nets, &s->d);
}

/* ---- one step ---------------------------------------------------------------------------------------------------- */

static void compare_scalar(golden *g, const char *group, const char *name, double v, golden_rule rule) {
    char full[300];
    snprintf(full, sizeof full, "%s/%s", group, name);
    if (golden_has(g, full)) golden_compare(g, full, &v, 1, rule);
}

static void compare_array(golden *g, const char *group, const char *name, const float *v, int64_t n) {
    char full[300];
    snprintf(full, sizeof full, "%s/%s", group, name);
    if (v && golden_has(g, full)) golden_compare_f32(g, full, v, n, GOLDEN_FLOAT);
}

static void compare_gradients(golden *g, const char *prefix, const fd_params *p) {
    for (int i = 0; i < p->n; i++) {
        char name[600];
        snprintf(name, sizeof name, "%s%s", prefix, p->list[i].name);
        if (!p->list[i].buffer && golden_has(g, name))
            golden_compare_f32(g, name, p->g + p->list[i].offset, p->list[i].count, GOLDEN_FLOAT);
    }
}

static void clear(fd_net *net) { memset(net->params.g, 0, sizeof(float) * (size_t)net->params.trained); }

static fd_status student_step(golden *g, fd_arena *a, setting *s, const char *divergence, bool shared) {
    fd_ratio ratio;
    fd_student_step o;
    fd_ratio_stages st;
    int64_t batch = s->batch, all = batch * s->pixels, heads = s->nets.heads->config.ntap;
    char group[64], norm[96], dot[96], grads[96];
    FD_TRY(fd_divergence_find(g->ctx, divergence, &s->method.divergence));
    FD_TRY(fd_ratio_init(g->ctx, &s->method.ratio, &ratio));
    FD_NEW(g->ctx, a, st.l_mean, batch);
    FD_NEW(g->ctx, a, st.l_clamped, batch);
    FD_NEW(g->ctx, a, st.r_exp, batch);
    FD_NEW(g->ctx, a, st.r_clamped, batch);
    FD_NEW(g->ctx, a, st.r_normalised, batch);
    FD_NEW(g->ctx, a, st.h_raw, batch);
    FD_NEW(g->ctx, a, st.bin_index, batch);
    clear(s->nets.student);
    FD_TRY(fd_distiller_student(g->ctx, s->d, &s->b, &ratio, &st, &o));
    if (shared) {
        double index[1024];
        for (int i = 0; i < s->batch && i < 1024; i++) index[i] = (double)st.bin_index[i];
        compare_array(g, "student", "g", o.g, all);
        compare_array(g, "student", "x_t", o.x_t, all);
        compare_array(g, "student", "d_fake", o.d_fake, all);
        compare_array(g, "student", "d_teacher", o.d_teacher, all);
        compare_array(g, "student", "logits_fake", o.logits, batch * heads);
        compare_array(g, "student", "l_mean", st.l_mean, batch);
        compare_array(g, "student", "l_clamped", st.l_clamped, batch);
        compare_array(g, "student", "r_exp", st.r_exp, batch);
        compare_array(g, "student", "r_clamped", st.r_clamped, batch);
        compare_array(g, "student", "r_normalised", st.r_normalised, batch);
        compare_array(g, "student", "new_bins", ratio.bins, ratio.config.bins);
        compare_array(g, "student", "dg_gan", o.dg_gan, all);
        if (golden_has(g, "student/bin_index")) golden_compare(g, "student/bin_index", index, batch, GOLDEN_BITS);
        compare_scalar(g, "student", "loss_gan", o.loss_gan, LOSS);
    }
    snprintf(group, sizeof group, "student/%s", divergence);
    compare_array(g, group, "h_raw", st.h_raw, batch);
    compare_array(g, group, "h", o.h, batch);
    compare_array(g, group, "w", o.w, batch);
    compare_array(g, group, "dg", o.dg, all);
    compare_scalar(g, group, "loss_vsd", o.loss_vsd, LOSS);
    compare_scalar(g, group, "loss", o.loss, LOSS);
    snprintf(norm, sizeof norm, "student/%s/grad_norm", divergence);
    snprintf(dot, sizeof dot, "student/%s/grad_dot", divergence);
    if (golden_has(g, norm))
        FD_TRY(golden_gradsum(g, norm, dot, json_object_get(g->meta, "grad_names"), &s->nets.student->params));
    snprintf(grads, sizeof grads, "student_grad/%s/", divergence);
    compare_gradients(g, grads, &s->nets.student->params);
    return FD_OK;
}

static fd_status critic_step(golden *g, setting *s, const char *group) {
    fd_critic_step o;
    char name[128];
    int64_t batch = s->batch, logits = batch * s->nets.heads->config.ntap;
    clear(s->nets.fake);
    clear(s->nets.heads);
    FD_TRY(fd_distiller_critic(g->ctx, s->d, &s->b, &o));
    compare_array(g, group, "g", o.g, batch * s->pixels);
    compare_array(g, group, "d_fake", o.d_fake, batch * s->pixels);
    compare_array(g, group, "logits_fake", o.logits_fake, logits);
    compare_array(g, group, "logits_real", o.logits_real, logits);
    compare_array(g, group, "logits_r1", o.logits_r1, logits);
    compare_scalar(g, group, "loss_fake_score", o.loss_fake_score, LOSS);
    compare_scalar(g, group, "loss_disc", o.loss_disc, LOSS);
    compare_scalar(g, group, "loss_r1", o.loss_r1, LOSS);
    compare_scalar(g, group, "loss", o.loss, LOSS);
    snprintf(name, sizeof name, "%s_grad/fake/", group);
    compare_gradients(g, name, &s->nets.fake->params);
    snprintf(name, sizeof name, "%s_grad/heads/", group);
    compare_gradients(g, name, &s->nets.heads->params);
    return FD_OK;
}

static fd_status all_steps(golden *g, fd_arena *a, setting *s) {
    const json_t *names = json_object_get(g->config, "divergences"), *r1 = json_object_get(g->config, "r1");
    FD_TRY(open_distiller(g, s, s->batch));
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (name) FD_TRY(student_step(g, a, s, name, i == 0));
    }
    FD_TRY(critic_step(g, s, "critic"));
    if (!r1) return FD_OK;
    FD_TRY(golden_number(g, r1, "weight", &s->method.r1_weight));
    FD_TRY(golden_number(g, r1, "alpha", &s->method.r1_alpha));
    FD_TRY(open_distiller(g, s, s->batch));
    return critic_step(g, s, "critic_r1");
}

fd_status golden_kind_fdistill_step(golden *g, fd_arena *a) {
    setting s = {.iterations = 1};
    fd_status status = open_setting(g, a, &s);
    if (status == FD_OK) status = all_steps(g, a, &s);
    close_setting(&s);
    return status;
}

/* ---- whole iterations -------------------------------------------------------------------------------------------- */

typedef struct {
    char name[FD_EMAS_MAX][32];
    double beta[FD_EMAS_MAX];
    int n;
} averages;

/* One series of numbers, one per iteration that has it. */
typedef struct { const char *name; double v[256]; int n; } series;

static fd_status read_method(golden *g, setting *s, averages *ema) {
    const json_t *betas = json_object_get(g->config, "ema_betas"), *beta;
    const char *key, *name = json_string_value(json_object_get(g->config, "divergence"));
    double freq;
    FD_TRY(golden_number(g, g->config, "freq", &freq));
    FD_TRY(golden_number(g, g->config, "clip", &s->method.clip));
    FD_TRY(golden_number(g, g->config, "r1_weight", &s->method.r1_weight));
    FD_TRY(golden_number(g, g->config, "r1_alpha", &s->method.r1_alpha));
    FD_TRY(fd_divergence_find(g->ctx, name ? name : "", &s->method.divergence));
    s->method.freq = (int)freq;
    if (json_object_get(g->config, "pair_weight")) FD_TRY(golden_number(g, g->config, "pair_weight", &s->method.pair_weight));
    if (s->method.freq < 1) return FD_FAIL(g->ctx, FD_E_FORMAT, "case.json: freq is %g", freq);
    json_object_foreach((json_t *)betas, key, beta) {
        if (ema->n == FD_EMAS_MAX) return FD_FAIL(g->ctx, FD_E_FORMAT, "case.json: more than %d averages", FD_EMAS_MAX);
        snprintf(ema->name[ema->n], sizeof ema->name[0], "%s", key);
        ema->beta[ema->n++] = json_number_value(beta);
    }
    return FD_OK;
}

static fd_distill_batch batch_of(const setting *s, int iteration) {
    fd_distill_batch b = s->b;
    int64_t at = (int64_t)iteration * s->batch, p = at * s->pixels;
    b.z += p, b.eps += p, b.real += p, b.eps_real += p, b.t += at, b.t_real += at;
    if (b.r1_noise) b.r1_noise += p;
    if (b.labels) b.labels += at * s->label_dim;
    b.first = (uint64_t)at;
    return b;
}

static fd_status iterate(golden *g, fd_arena *a, setting *s, const averages *ema, fd_distill_progress *p) {
    series loss = {.name = "out/loss"}, vsd = {.name = "out/loss_vsd"}, gan = {.name = "out/loss_gan"},
           pair = {.name = "out/loss_pairs"}, norm = {.name = "out/grad_norm"},
           fake = {.name = "out/loss_fake_score"}, disc = {.name = "out/loss_disc"};
    series *all[] = {&loss, &vsd, &gan, &pair, &norm, &fake, &disc};
    fd_adam adam[FD_TRAINED_NETS];
    float *bins;
    int nbins = p->ratio.config.bins;
    FD_TRY(golden_adam(g, &adam[0]));
    adam[1] = adam[2] = adam[0];
    FD_NEW(g->ctx, a, bins, (int64_t)s->iterations * nbins);
    for (int i = 0; i < s->iterations; i++) {
        fd_distill_batch b = batch_of(s, i);
        /* As pairs such a case takes real images, and as their latents the noise of the same. */
        const fd_distill_pairs pairs = {{.z = b.eps_real, .labels = b.labels, .first = b.first}, b.real};
        fd_iteration o;
        FD_TRY(fd_distill_iterate(g->ctx, s->d, &s->method, &s->nets, p, i + 1, &b, s->method.pair_weight > 0 ? &pairs : NULL,
                                  adam, ema->beta, &o));
        if (o.skipped) return FD_FAIL(g->ctx, FD_E_NUMERIC, "iteration %d was skipped", i + 1);
        if (o.was_student) {
            loss.v[loss.n++] = o.student.loss;
            vsd.v[vsd.n++] = o.student.loss_vsd;
            gan.v[gan.n++] = o.student.loss_gan;
            pair.v[pair.n++] = o.pairs;
            norm.v[norm.n++] = o.grad[FD_STUDENT].norm;
        } else {
            loss.v[loss.n++] = o.critic.loss;
            fake.v[fake.n++] = o.critic.loss_fake_score;
            disc.v[disc.n++] = o.critic.loss_disc;
        }
        memcpy(bins + (int64_t)i * nbins, p->ratio.bins, sizeof(float) * (size_t)nbins);
    }
    for (size_t k = 0; k < FD_COUNT(all); k++)
        if (golden_has(g, all[k]->name)) golden_compare(g, all[k]->name, all[k]->v, all[k]->n, GOLDEN_SERIES);
    if (golden_has(g, "out/bins")) golden_compare_f32(g, "out/bins", bins, (int64_t)s->iterations * nbins, GOLDEN_SERIES);
    return FD_OK;
}

static fd_status copy_weights(golden *g, fd_arena *a, const fd_net *net, float **out) {
    FD_NEW(g->ctx, a, *out, net->params.total);
    memcpy(*out, net->params.w, sizeof(float) * (size_t)net->params.total);
    return FD_OK;
}

static fd_status run_iterations(golden *g, fd_arena *a, setting *s, fd_distill_progress *p) {
    averages ema = {.n = 0};
    float *student, *fake, *heads;
    FD_TRY(read_method(g, s, &ema));
    FD_TRY(open_distiller(g, s, s->batch));
    FD_TRY(fd_distill_progress_new(g->ctx, &s->method, &s->nets, ema.n, p));
    FD_TRY(copy_weights(g, a, s->nets.student, &student));
    FD_TRY(copy_weights(g, a, s->nets.fake, &fake));
    FD_TRY(copy_weights(g, a, s->nets.heads, &heads));
    FD_TRY(iterate(g, a, s, &ema, p));
    FD_TRY(fd_twins_to_host(g->ctx));
    golden_compare_trained(g, "final_student/", &s->nets.student->params, s->nets.student->params.w, student);
    golden_compare_trained(g, "final_fake/", &s->nets.fake->params, s->nets.fake->params.w, fake);
    golden_compare_trained(g, "final_heads/", &s->nets.heads->params, s->nets.heads->params.w, heads);
    for (int i = 0; i < ema.n; i++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "final_%s/", ema.name[i]);
        golden_compare_trained(g, prefix, &s->nets.student->params, p->ema[i], student);
    }
    return FD_OK;
}

fd_status golden_kind_fdistill_run(golden *g, fd_arena *a) {
    setting s = {.iterations = 0};
    fd_distill_progress p = {.n_ema = 0};
    double iterations;
    FD_TRY(golden_number(g, g->config, "iterations", &iterations));
    if (!(iterations >= 1 && iterations <= 256)) return FD_FAIL(g->ctx, FD_E_FORMAT, "case.json: %g iterations", iterations);
    s.iterations = (int)iterations;
    fd_status status = open_setting(g, a, &s);
    if (status == FD_OK) status = run_iterations(g, a, &s, &p);
    fd_distill_progress_free(&p);
    close_setting(&s);
    return status;
}
