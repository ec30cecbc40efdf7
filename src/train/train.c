/* The run around EDM training: batches from counters, Adam, the average, logs, snapshots, grids, state. */
#include "train/train.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "comm/comm.h"
#include "fdiv/sigma.h"
#include "io/json.h"
#include "train/augment.h"
#include "train/budget.h"
#include "train/edm_step.h"
#include "train/feed.h"
#include "train/grid.h"
#include "train/loop.h"
#include "train/optim.h"
#include "train/transfer.h"
#include "train/update.h"

fd_train_options fd_train_defaults(void) {
    fd_train_options o = {.job = fd_job_defaults(), .lr = {.lr = 1e-3, .ramp = 10e6}, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8,
                          .ema_halflife = 0.5e6, .ema_ramp = 0.05, .p_mean = -1.2, .p_std = 1.2};
    fd_net_config_preset(&o.net, FD_FAMILY_DDPMPP);
    return o;
}

typedef struct {
    const fd_train_options *o;
    fd_dataset data;
    char data_digest[65], start_digest[65];
    fd_net *net;
    fd_edm_step pass;
    fd_share share;
    fd_range all;                            /* every trained weight */
    fd_updater updater;
    float *m, *v, *ema;
    double adam_steps;
    fd_feed feed;
    fd_job job;
    fd_denoiser *show;
    float *images, *noise, *labels, *augment;    /* of one pass */
    float *augment_work;
    int threads;
    double *sigma;
    double last_loss;
    fd_arena arena;
} training;

/* ---- preparing --------------------------------------------------------------------------------------------------- */

static fd_status make_net(fd_ctx *ctx, training *r) {
    fd_net_config c = r->o->net;
    c.resolution = r->data.w;
    c.image_channels = r->data.c;
    c.label_dim = r->data.label_dim;
    c.augment_dim = r->o->augment > 0 ? FD_AUGMENT_DIM : 0;
    if (c.label_dropout > 0 && !c.label_dim)
        return FD_FAIL(ctx, FD_E_ARG, "--label-dropout needs labels; give --cond");
    FD_TRY(fd_net_new(ctx, &c, &r->net));
    if (!r->o->transfer) {
        fd_net_init_random(r->net, r->o->job.seed);
        return FD_OK;
    }
    return fd_transfer(ctx, r->o->transfer, r->net, r->start_digest);
}

static fd_status allocate_state(fd_ctx *ctx, training *r) {
    const fd_params *p = &r->net->params;
    FD_NEW(ctx, &r->arena, r->m, p->trained);
    FD_NEW(ctx, &r->arena, r->v, p->trained);
    FD_NEW(ctx, &r->arena, r->ema, p->total);
    memcpy(r->ema, p->w, sizeof(float) * (size_t)p->total);
    return FD_OK;
}

static fd_status allocate_pass(fd_ctx *ctx, training *r) {
    int64_t pixels = (int64_t)r->data.c * r->data.h * r->data.w;
    FD_NEW(ctx, &r->arena, r->images, r->share.pass * pixels);
    FD_NEW(ctx, &r->arena, r->noise, r->share.pass * pixels);
    FD_NEW(ctx, &r->arena, r->sigma, r->share.pass);
    if (r->data.label_dim) FD_NEW(ctx, &r->arena, r->labels, (int64_t)r->share.pass * r->data.label_dim);
    if (!(r->o->augment > 0)) return FD_OK;
    r->threads = ctx->threads > 0 ? ctx->threads : omp_get_max_threads();
    FD_NEW(ctx, &r->arena, r->augment, r->share.pass * FD_AUGMENT_DIM);
    FD_NEW(ctx, &r->arena, r->augment_work, fd_mul_size((size_t)r->threads, fd_augment_work(r->data.w)));
    return FD_OK;
}

static void describe_net(training *r) {
    fd_net_meta *m = &r->net->meta;
    const fd_train_options *o = r->o;
    *m = (fd_net_meta){.sigma_min = 0.002, .sigma_max = 80, .rho = 7, .ema = o->ema_halflife};
    snprintf(m->kind, sizeof m->kind, "teacher");
    snprintf(m->title, sizeof m->title, "EDM teacher on %.100s", r->data.name);
    snprintf(m->data, sizeof m->data, "%.120s %s", r->data.name, r->data_digest);
    snprintf(m->crop, sizeof m->crop, "%s", r->data.crop);
    snprintf(m->parent, sizeof m->parent, "%s", r->start_digest);
    snprintf(m->ema_kind, sizeof m->ema_kind, "%s", o->ema_halflife > 0 ? "half-life-images" : "");
}

/* ---- state and options ------------------------------------------------------------------------------------------- */

static fd_status fill_state(fd_ctx *ctx, training *r) {
    fd_state *s = &r->job.state;
    const fd_params *p = &r->net->params;
    FD_TRY(fd_state_add(ctx, s, "net.weights", FD_ST_F32, p->w, p->total));
    FD_TRY(fd_state_add(ctx, s, "net.adam_m", FD_ST_F32, r->m, p->trained));
    FD_TRY(fd_state_add(ctx, s, "net.adam_v", FD_ST_F32, r->v, p->trained));
    FD_TRY(fd_state_add(ctx, s, "net.adam_steps", FD_ST_F64, &r->adam_steps, 1));
    return fd_state_add(ctx, s, "ema", FD_ST_F32, r->ema, p->total);
}

static void set_number(json_t *o, const char *key, double v) { json_object_set_new(o, key, fd_json_real(v)); }

static fd_status options_json(fd_ctx *ctx, training *r) {
    const fd_train_options *o = r->o;
    const char *network;
    json_t *root = fd_job_json(&o->job, &r->data, r->data_digest, r->share.pass_alone), *net;
    r->job.options = root;
    FD_TRY(fd_net_config_format(ctx, &r->arena, &r->net->config, &network));
    FD_TRY(fd_json_parse(ctx, (fd_bytes){(const uint8_t *)network, strlen(network)}, "network", &net));
    json_object_set_new(root, "network", net);
    json_object_set_new(root, "transfer", r->start_digest[0] ? json_string(r->start_digest) : json_null());
    json_object_set_new(root, "lr", fd_lr_json(&o->lr));
    set_number(root, "beta1", o->beta1);
    set_number(root, "beta2", o->beta2);
    set_number(root, "eps", o->eps);
    set_number(root, "ema_halflife", o->ema_halflife);
    set_number(root, "ema_ramp", o->ema_ramp);
    set_number(root, "p_mean", o->p_mean);
    set_number(root, "p_std", o->p_std);
    set_number(root, "augment", o->augment);
    set_number(root, "label_dropout", o->label_dropout);
    set_number(root, "clip", o->clip);
    return FD_OK;
}

/* ---- one iteration ----------------------------------------------------------------------------------------------- */

static fd_status run_pass(fd_ctx *ctx, training *r, uint64_t first, double *loss) {
    const fd_train_options *o = r->o;
    uint64_t seed = o->job.seed;
    int64_t pixels = (int64_t)r->data.c * r->data.h * r->data.w;
    int classes = r->data.label_dim, n = r->share.pass;
    FD_TRY(fd_feed_images(ctx, &r->feed, first, n, r->images, r->labels));
    if (r->augment)
        fd_augment_images(o->augment, seed, first, n, r->data.c, r->data.w, r->images, r->augment, r->augment_work,
                          r->threads);
    fd_feed_normals(seed, FD_RNG_NOISE, first, n, pixels, r->noise);
    for (int i = 0; i < n; i++) {
        fd_rng level = {seed, FD_RNG_SIGMA, first + (uint64_t)i}, drop = {seed, FD_RNG_LABEL_DROP, first + (uint64_t)i};
        r->sigma[i] = fd_sigma_lognormal(&level, 0, o->p_mean, o->p_std);
        if (classes && o->label_dropout > 0 && fd_rng_uniform(&drop, 0) < o->label_dropout)
            memset(r->labels + (int64_t)i * classes, 0, (size_t)classes * sizeof(float));
    }
    return fd_edm_step_run(ctx, &r->pass, r->images, r->noise, r->sigma, r->labels, r->augment, first, 1.0 / o->job.batch, loss);
}

static fd_status log_skipped(fd_ctx *ctx, training *r) {
    const char *scope, *op;
    FD_TRY(fd_exec_find_nonfinite(ctx, r->pass.view.e, &scope, &op));
    return fd_job_log_skipped(ctx, &r->job, "", scope, op);
}

static fd_status step(fd_ctx *ctx, fd_job *job, bool *skipped) {
    training *r = job->self;
    const fd_train_options *o = r->o;
    fd_params *p = &r->net->params;
    double loss = 0, images = job->count.images;
    FD_TRY(fd_updater_clear(ctx, &r->updater, p));
    const uint64_t first = (uint64_t)images + (uint64_t)r->share.first;
    for (int at = 0; at < r->share.mine; at += r->share.pass) FD_TRY(run_pass(ctx, r, first + (uint64_t)at, &loss));
    fd_grad_stats g;
    FD_TRY(fd_comm_sum_f64(ctx, &loss, 1));
    FD_TRY(fd_updater_sum(ctx, &r->updater, p));
    FD_TRY(fd_updater_measure(ctx, &r->updater, &r->all, 1, p, &g));
    *skipped = !isfinite(loss) || !isfinite(g.norm);
    if (*skipped) return log_skipped(ctx, r);
    fd_adam adam = {fd_lr_at(&o->lr, images, o->job.duration), o->beta1, o->beta2, o->eps, 0};
    fd_ema ema = {r->ema, fd_ema_beta(o->job.batch, o->ema_halflife, o->ema_ramp, images)};
    r->adam_steps++;
    FD_TRY(fd_updater_adamw(ctx, &r->updater, &adam, (int64_t)r->adam_steps, &r->all, 1, p, r->m, r->v,
                            fd_clip_factor(g.norm, o->clip), &ema, 1));
    r->last_loss = loss / (double)((int64_t)r->data.c * r->data.h * r->data.w);    /* per value, as EDM logs it */
    fd_stats_add(&job->stats, "Loss/loss", r->last_loss);
    fd_stats_add(&job->stats, "Grad/norm", g.norm);
    fd_stats_add(&job->stats, "Progress/lr", adam.lr);
    return FD_OK;
}

static void note(fd_job *job, char *out, size_t size) {
    const training *r = job->self;
    double mean = fd_stats_mean(&job->stats, "Loss/loss");
    snprintf(out, size, "loss %.4f", mean > 0 ? mean : r->last_loss);
}

static fd_status snapshot(fd_ctx *ctx, fd_job *job, int64_t kimg) {
    training *r = job->self;
    char path[4096];
    if (r->show) {
        fd_sampler s = fd_sampler_defaults();
        FD_TRY(fd_run_file(ctx, &job->run, path, "fakes%06lld.png", (long long)kimg));
        FD_TRY(fd_grid_generate(ctx, path, &s, r->show, &r->net->params, r->ema, r->o->job.grid));
    }
    if (job->count.images == 0) return FD_OK;
    r->net->meta.images = (int64_t)job->count.images;
    FD_TRY(fd_run_file(ctx, &job->run, path, "network-snapshot-%06lld.safetensors", (long long)kimg));
    return fd_net_save(ctx, r->net, r->ema, path);
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

/* A pass of so many images, with memory on the device for all that its steps touch. */
static fd_status open_pass(fd_ctx *ctx, training *r, const fd_edm_step_spec *spec) {
    const fd_params *p = &r->net->params;
    fd_updater *u = &r->updater;
    FD_TRY(fd_edm_step_open(ctx, r->net, spec, &r->pass));
    fd_status s = fd_updater_reserve(ctx, u, p->w, p->total);
    if (s == FD_OK) s = fd_updater_reserve(ctx, u, p->g, p->trained);
    if (s == FD_OK) s = fd_updater_reserve(ctx, u, r->m, p->trained);
    if (s == FD_OK) s = fd_updater_reserve(ctx, u, r->v, p->trained);
    if (s == FD_OK) s = fd_updater_reserve(ctx, u, r->ema, p->total);
    if (s != FD_OK) fd_edm_step_close(&r->pass);
    return s;
}

static const char *memory_text(fd_ctx *ctx, training *r) {
    const fd_plan_summary s = fd_exec_summary(r->pass.view.e);
    fd_budget b = {.pass = s.act_bytes + s.input_bytes + s.work_bytes};
    fd_budget_add(&b, &r->net->params, 1);
    return fd_budget_text(ctx, &r->arena, &b, r->share.pass, r->o->job.backend);
}

static fd_status prepare(fd_ctx *ctx, training *r) {
    const fd_job_options *o = &r->o->job;
    FD_TRY(fd_job_dataset(ctx, o, &r->data));
    FD_TRY(fd_dataset_digest(ctx, &r->data, r->data_digest));
    FD_TRY(fd_job_share(ctx, o, FD_TRAIN_PASS, &r->share));
    FD_TRY(make_net(ctx, r));
    describe_net(r);
    FD_TRY(allocate_state(ctx, r));        /* first what does not depend on the pass */
    fd_edm_step_spec spec = {.dtype = o->dtype, .augment = r->o->augment > 0, .dropout_seed = o->seed,
                             .backend = o->backend};
    fd_status s;
    r->updater.device = o->backend ? o->backend->device : NULL;
    do {
        spec.n = r->share.pass;
        s = open_pass(ctx, r, &spec);
    } while (fd_job_smaller_pass(ctx, o, s, &r->share));
    FD_TRY(s);
    r->all = (fd_range){0, r->net->params.trained};
    r->feed = (fd_feed){&r->data, o->seed};
    FD_TRY(allocate_pass(ctx, r));
    if (!o->grid || !fd_comm_first(ctx)) return FD_OK;
    fd_run_options d = {.dtype = o->dtype, .backend = o->backend};
    return fd_denoiser_new(ctx, r->net, fd_pass_size(o->grid * o->grid, FD_TRAIN_PASS), &d, &r->show);
}

static fd_status run(fd_ctx *ctx, training *r) {
    const fd_job_options *o = &r->o->job;
    FD_TRY(prepare(ctx, r));
    const char *description = fd_arena_printf(ctx, &r->arena, "%s-%s-%s-batch%d%s%s", r->data.name, o->cond ? "cond" : "uncond",
                                              fd_family_name(r->net->config.family), o->batch, o->desc ? "-" : "",
                                              o->desc ? o->desc : "");
    if (!description || !(r->job.memory = memory_text(ctx, r))) return FD_E_NOMEM;
    if (o->dry_run) {
        fd_plan_summary s = fd_exec_summary(r->pass.view.e);
        printf("would run %s\n  network     %lld parameters\n  data        %lld images, %d classes\n"
               "  iterations  %.0f of %d images in passes of %d, %.1f GFLOP per image\n  memory      %s\n",
               description, (long long)r->net->params.count_trained, (long long)r->data.n, r->data.label_dim,
               ceil(o->duration / o->batch), o->batch, r->share.pass, s.flops / r->share.pass / 1e9, r->job.memory);
        return FD_OK;
    }
    r->job.o = o;
    r->job.description = description;
    r->job.self = r;
    r->job.step = step;
    r->job.snapshot = snapshot;
    r->job.note = note;
    FD_TRY(fill_state(ctx, r));
    FD_TRY(options_json(ctx, r));
    return fd_job_run(ctx, &r->job);
}

fd_status fd_train(fd_ctx *ctx, const fd_train_options *o) {
    training *r = fd_alloc(ctx, sizeof *r);
    if (!r) return FD_E_NOMEM;
    r->o = o;
    fd_status s = run(ctx, r);
    json_decref(r->job.options);
    fd_updater_close(&r->updater);
    fd_denoiser_free(r->show);
    fd_edm_step_close(&r->pass);
    fd_net_free(r->net);
    fd_dataset_close(&r->data);
    fd_arena_free(&r->arena);
    fd_free(r);
    return s;
}
