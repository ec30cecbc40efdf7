/* The run around f-distill: nets from the teacher, batches from counters, logs, snapshots, grids, state. */
#include "train/distill.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/progress.h"
#include "comm/comm.h"
#include "io/json.h"
#include "train/budget.h"
#include "train/distill_update.h"
#include "train/feed.h"
#include "train/grid.h"
#include "train/loop.h"
#include "train/pairs.h"
#include "train/transfer.h"

#define PASS 32              /* images per pass unless asked otherwise: beyond this, batches are no faster */
#define TEACHER_STEPS 18     /* of the teacher's grid: 35 evaluations */
#define PAIR_PASS 64

fd_distill_method fd_distill_method_defaults(void) {
    return (fd_distill_method){.ratio = fd_ratio_defaults(), .freq = 5, .gan_weight = 1e-3, .r1_alpha = 0.1, .guidance = 1,
                               .sigma_max = 80, .clip = 10, .pair_iterations = 500, .pair_steps = 16};
}

fd_distill_options fd_distill_defaults(void) {
    fd_distill_options o = {.job = fd_job_defaults(), .method = fd_distill_method_defaults(), .lr = {.lr = 1e-4},
                            .fake_lr = {.lr = 1e-4}, .heads_lr = {.lr = 1e-4}, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8,
                            .weight_decay = 0.01, .ema = {0.9999, 0.99995, 0.9996}, .n_ema = 3};
    o.job.batch = 2048;
    return o;
}

typedef struct {
    const fd_distill_options *o;
    fd_distill_method method;
    fd_dataset data;
    char data_digest[65], teacher_digest[65], start_digest[65];
    fd_distill_nets nets;
    fd_distiller *distiller;
    fd_distill_progress progress;
    fd_polynomial levels;
    fd_feed feed;
    fd_job job;
    fd_arena arena;
    fd_pool pool;                                         /* of the denoisers that make grids */
    fd_denoiser *show_student, *show_teacher, *show_fake;
    float *z, *eps, *real, *eps_real, *r1_noise, *labels;
    double *t, *t_real;
    int64_t pixels;
    fd_share share;
    fd_pairs pairs;
    fd_distill_pairs drawn;                               /* of the pairs: one step's */
    float *pair_z, *pair_labels, *pair_images;
    bool approaching;                                     /* in the pairs' iterations */
    double last_fake, last_disc, last_h[2], last_pairs;               /* for the progress line */
} distillation;

/* ---- preparing --------------------------------------------------------------------------------------------------- */

static fd_status check_teacher(fd_ctx *ctx, const distillation *r) {
    const fd_net_config *c = &r->nets.teacher->config;
    const char *file = r->o->teacher;
    if (!fd_is_unet(c->family))
        return FD_FAIL(ctx, FD_E_ARG, "%s: holds a %s, not a diffusion U-Net", file, fd_family_name(c->family));
    if (r->data.w != c->resolution || r->data.c != c->image_channels)
        return FD_FAIL(ctx, FD_E_SHAPE, "%s makes images of %d channels, %dx%d, but %s holds %d channels, %dx%d; use the set the "
                       "teacher was trained on", file, c->image_channels, c->resolution, c->resolution, r->o->job.data, r->data.c,
                       r->data.w, r->data.h);
    if (c->label_dim && !r->o->job.cond)
        return FD_FAIL(ctx, FD_E_ARG, "%s has %d classes; give --cond, so that the labels of %s are used", file, c->label_dim,
                       r->o->job.data);
    if (!c->label_dim && r->o->job.cond) return FD_FAIL(ctx, FD_E_ARG, "%s knows no classes; leave out --cond", file);
    if (c->label_dim != r->data.label_dim)
        return FD_FAIL(ctx, FD_E_SHAPE, "%s has %d classes, %s has %d", file, c->label_dim, r->o->job.data, r->data.label_dim);
    return FD_OK;
}

static void describe_child(const distillation *r, fd_net *net, const char *kind, double sigma_init) {
    fd_net_meta *m = &net->meta;
    snprintf(m->kind, sizeof m->kind, "%s", kind);
    snprintf(m->title, sizeof m->title, "%s by f-distill, %s", kind, r->method.divergence->title);
    snprintf(m->parent, sizeof m->parent, "%s", r->teacher_digest);
    snprintf(m->data, sizeof m->data, "%.120s %s", r->data.name, r->data_digest);
    snprintf(m->crop, sizeof m->crop, "%s", r->data.crop);
    m->sigma_init = sigma_init;
    m->ema = 0;
    m->ema_kind[0] = 0;
    m->images = 0;
}

static fd_status make_nets(fd_ctx *ctx, distillation *r) {
    fd_distill_nets *n = &r->nets;
    FD_TRY(fd_net_load(ctx, r->o->teacher, &n->teacher));
    FD_TRY(check_teacher(ctx, r));
    FD_TRY(fd_net_digest(ctx, n->teacher, r->teacher_digest));
    FD_TRY(fd_net_clone(ctx, n->teacher, &n->student));
    if (r->o->transfer) FD_TRY(fd_transfer(ctx, r->o->transfer, n->student, r->start_digest));
    FD_TRY(fd_net_clone(ctx, n->teacher, &n->fake));
    n->student->config.dropout = r->o->dropout;
    n->fake->config.dropout = 0;
    describe_child(r, n->student, "student", r->method.sigma_max);
    describe_child(r, n->fake, "fake", 0);
    return fd_distill_heads(ctx, n->teacher, r->o->job.seed, &r->method, &n->heads);
}

static fd_status allocate(fd_ctx *ctx, distillation *r) {
    int64_t batch = r->share.mine, all = batch * r->pixels;
    float **images[] = {&r->z, &r->eps, &r->real, &r->eps_real};
    for (size_t i = 0; i < FD_COUNT(images); i++) FD_NEW(ctx, &r->arena, *images[i], all);
    if (r->method.r1_weight > 0) FD_NEW(ctx, &r->arena, r->r1_noise, all);
    if (r->data.label_dim) FD_NEW(ctx, &r->arena, r->labels, batch * r->data.label_dim);
    if (r->method.pairs) {
        FD_NEW(ctx, &r->arena, r->pair_z, batch * r->pixels);
        FD_NEW(ctx, &r->arena, r->pair_images, batch * r->pixels);
        if (r->data.label_dim) FD_NEW(ctx, &r->arena, r->pair_labels, batch * r->data.label_dim);
    }
    FD_NEW(ctx, &r->arena, r->t, batch);
    FD_NEW(ctx, &r->arena, r->t_real, batch);
    return FD_OK;
}

static fd_status make_denoisers(fd_ctx *ctx, distillation *r) {
    int side = r->o->job.grid;
    if (!side || !fd_comm_first(ctx)) return FD_OK;
    fd_run_options o = {.dtype = r->o->job.dtype, .backend = r->o->job.backend, .pool = &r->pool};
    int n = fd_pass_size(side * side, PASS);
    FD_TRY(fd_denoiser_new(ctx, r->nets.student, n, &o, &r->show_student));
    FD_TRY(fd_denoiser_new(ctx, r->nets.fake, n, &o, &r->show_fake));
    return fd_denoiser_new(ctx, r->nets.teacher, n, &o, &r->show_teacher);
}

/* ---- state and options ------------------------------------------------------------------------------------------- */

static fd_status add_floats(fd_ctx *ctx, fd_state *s, const char *net, const char *what, float *data, int64_t n) {
    char name[48];
    snprintf(name, sizeof name, "%s.%s", net, what);
    return fd_state_add(ctx, s, name, FD_ST_F32, data, n);
}

static fd_status fill_state(fd_ctx *ctx, distillation *r) {
    static const char *const names[] = {"student", "fake", "heads"};
    fd_net *const nets[] = {r->nets.student, r->nets.fake, r->nets.heads};
    fd_state *s = &r->job.state;
    fd_distill_progress *p = &r->progress;
    for (int k = 0; k < FD_TRAINED_NETS; k++) {
        if (!nets[k]) continue;
        char steps[48];
        fd_params *set = &nets[k]->params;
        FD_TRY(add_floats(ctx, s, names[k], "weights", set->w, set->total));
        FD_TRY(add_floats(ctx, s, names[k], "adam_m", p->adam[k].m, set->trained));
        FD_TRY(add_floats(ctx, s, names[k], "adam_v", p->adam[k].v, set->trained));
        snprintf(steps, sizeof steps, "%s.adam_steps", names[k]);
        FD_TRY(fd_state_add(ctx, s, steps, FD_ST_F64, &p->adam[k].steps, 1));
    }
    for (int i = 0; i < p->n_ema; i++) {
        char name[48];
        snprintf(name, sizeof name, "ema%d", i);
        FD_TRY(fd_state_add(ctx, s, name, FD_ST_F32, p->ema[i], r->nets.student->params.total));
    }
    FD_TRY(fd_state_add(ctx, s, "ratio.bins", FD_ST_F32, p->ratio.bins, FD_RATIO_BINS_MAX));
    return fd_state_add(ctx, s, "ratio.seen", FD_ST_I64, p->ratio.seen, FD_RATIO_BINS_MAX);
}

static void set_number(json_t *o, const char *key, double v) { json_object_set_new(o, key, fd_json_real(v)); }

static json_t *method_json(const distillation *r) {
    const fd_distill_method *m = &r->method;
    json_t *o = json_object(), *ratio = json_object(), *taps = json_array();
    json_object_set_new(o, "divergence", json_string(m->divergence->name));
    json_object_set_new(o, "update_freq", json_integer(m->freq));
    set_number(o, "gan_weight", m->gan_weight);
    if (m->gan_limit > 0) set_number(o, "gan_limit", m->gan_limit);           /* as for head_norm below */
    set_number(o, "r1_weight", m->r1_weight);
    set_number(o, "r1_alpha", m->r1_alpha);
    set_number(o, "guidance", m->guidance);
    json_object_set_new(o, "fake_weight", json_string(m->fake_edm_weight ? "edm" : "flat"));
    set_number(o, "sigma_max", m->sigma_max);
    set_number(o, "sigma_min", m->ratio.t_min);
    set_number(o, "t_max", m->ratio.t_max);
    set_number(o, "rho", m->ratio.rho);
    set_number(o, "clip", m->clip);
    if (m->pairs) {                                 /* as for head_norm below */
        json_object_set_new(o, "pairs", json_integer(m->pairs));
        json_object_set_new(o, "pair_iterations", json_integer(m->pair_iterations));
        set_number(o, "pair_lr", m->pair_lr);
        set_number(o, "pair_weight", m->pair_weight);
        json_object_set_new(o, "pair_steps", json_integer(m->pair_steps));
        json_object_set_new(o, "pair_solver", json_string("dpmpp_2m"));       /* earlier versions took Heun's */
    }
    for (int i = 0; i < m->ntaps; i++) json_array_append_new(taps, json_integer(m->taps[i]));
    json_object_set_new(o, "taps", taps);
    json_object_set_new(o, "head_width", json_integer(m->head_width));
    if (m->head_norm != FD_HEAD_NORM_GROUP)         /* states from before there was a choice go on */
        json_object_set_new(o, "head_norm", json_string(fd_head_norm_names[m->head_norm]));
    if (m->head_cond) json_object_set_new(o, "head_cond", json_true());
    json_object_set_new(ratio, "bins", json_integer(m->ratio.bins));
    json_object_set_new(ratio, "spacing", json_string(fd_spacing_name(m->ratio.spacing)));
    set_number(ratio, "ema", m->ratio.ema);
    set_number(ratio, "logit_clamp", m->ratio.logit_clamp);
    set_number(ratio, "r_min", m->ratio.r_min);
    set_number(ratio, "r_max", m->ratio.r_max);
    json_object_set_new(ratio, "normalise_bins", json_boolean(m->ratio.normalise_bins));
    json_object_set_new(ratio, "normalise_h", json_boolean(m->ratio.normalise_h));
    json_object_set_new(o, "ratio", ratio);
    return o;
}

static json_t *options_json(const distillation *r) {
    const fd_distill_options *o = r->o;
    json_t *root = fd_job_json(&o->job, &r->data, r->data_digest, r->share.pass_alone);
    json_t *ema = json_array(), *teacher = json_object();
    json_object_set_new(teacher, "path", json_string(o->teacher));
    json_object_set_new(teacher, "digest", json_string(r->teacher_digest));
    json_object_set_new(root, "teacher", teacher);
    if (o->transfer) json_object_set_new(root, "transfer", json_string(r->start_digest));
    json_object_set_new(root, "method", method_json(r));
    json_object_set_new(root, "lr", fd_lr_json(&o->lr));
    json_object_set_new(root, "fake_lr", fd_lr_json(&o->fake_lr));
    json_object_set_new(root, "disc_lr", fd_lr_json(&o->heads_lr));
    set_number(root, "beta1", o->beta1);
    set_number(root, "beta2", o->beta2);
    set_number(root, "eps", o->eps);
    set_number(root, "weight_decay", o->weight_decay);
    set_number(root, "dropout", o->dropout);
    for (int i = 0; i < o->n_ema; i++) json_array_append_new(ema, fd_json_real(o->ema[i]));
    json_object_set_new(root, "ema", ema);
    return root;
}

/* ---- one iteration ----------------------------------------------------------------------------------------------- */

/* What belongs to this rank of the iteration, samples first … first + share.mine - 1. */
static fd_status draw_batch(fd_ctx *ctx, distillation *r, uint64_t first, fd_distill_batch *b) {
    int n = r->share.mine;
    uint64_t seed = r->o->job.seed;
    for (int i = 0; i < n; i++) {
        fd_rng t = {seed, FD_RNG_DISTILL_T, first + (uint64_t)i}, t_real = {seed, FD_RNG_DISTILL_T_REAL, first + (uint64_t)i};
        r->t[i] = fd_polynomial_draw(&r->levels, &t, 0);
        r->t_real[i] = fd_polynomial_draw(&r->levels, &t_real, 0);
    }
    FD_TRY(fd_feed_images(ctx, &r->feed, first, n, r->real, r->labels));
    fd_feed_normals(seed, FD_RNG_DISTILL_Z, first, n, r->pixels, r->z);
    fd_feed_normals(seed, FD_RNG_DISTILL_EPS, first, n, r->pixels, r->eps);
    fd_feed_normals(seed, FD_RNG_DISTILL_EPS_REAL, first, n, r->pixels, r->eps_real);
    if (r->r1_noise) fd_feed_normals(seed, FD_RNG_DISTILL_R1, first, n, r->pixels, r->r1_noise);
    *b = (fd_distill_batch){.z = r->z, .eps = r->eps, .labels = r->labels, .t = r->t, .real = r->real,
                            .eps_real = r->eps_real, .r1_noise = r->r1_noise, .t_real = r->t_real, .first = first};
    return FD_OK;
}

/* Made when they are needed: a run that is resumed after them does without. */
static fd_status make_pairs(fd_ctx *ctx, distillation *r) {
    /* As the teacher is sampled: the student's level, --sigma_min and --rho are about other things. With half Heun's evaluations. */
    fd_sampler s = fd_sampler_for(r->nets.teacher, r->method.pair_steps);
    s.solver = FD_DPMPP_2M;
    fd_run_options o = {.dtype = r->o->job.dtype, .backend = r->o->job.backend};
    fd_denoiser *teacher;
    const double start = fd_now();
    FD_TRY(fd_denoiser_new(ctx, r->nets.teacher, PAIR_PASS, &o, &teacher));
    fd_status status = fd_pairs_make(ctx, teacher, &s, r->method.pairs, r->o->job.batch, &r->share, r->o->job.seed, &r->pairs);
    fd_denoiser_free(teacher);
    if (status != FD_OK) return status;
    r->job.apart += fd_now() - start;
    return fd_run_log(ctx, &r->job.run, "%lld pairs of noise and the teacher's image, %d evaluations each",
                      (long long)(r->pairs.rounds * r->pairs.batch), fd_sampler_evaluations(&s));
}

static fd_status draw_pairs(fd_ctx *ctx, distillation *r, int64_t step) {
    if (!r->pairs.images) FD_TRY(make_pairs(ctx, r));
    fd_pairs_batch(&r->pairs, step, r->pair_z, r->pair_labels, r->pair_images);
    const uint64_t first = (uint64_t)r->job.count.images + (uint64_t)r->share.first;
    r->drawn = (fd_distill_pairs){{.z = r->pair_z, .labels = r->pair_labels, .first = first}, r->pair_images};
    return FD_OK;
}

/* One of the iterations before the method's own. */
static fd_status approach(fd_ctx *ctx, distillation *r, fd_adam *adam, const double *beta, fd_iteration *it) {
    const fd_job *job = &r->job;
    const fd_distill_method *m = &r->method;
    const fd_lr lr = {.lr = m->pair_lr > 0 ? m->pair_lr : r->o->lr.lr, .ramp = r->o->lr.ramp, .shape = FD_LR_COSINE};
    adam[FD_STUDENT].lr = fd_lr_at(&lr, job->count.images, (double)m->pair_iterations * r->o->job.batch);
    FD_TRY(draw_pairs(ctx, r, (int64_t)job->count.iteration));
    FD_TRY(fd_distill_approach(ctx, r->distiller, &r->method, &r->nets, &r->progress, &r->drawn, adam, beta, it));
    if (it->skipped) return FD_OK;
    fd_stats_add(&r->job.stats, "Loss/pairs", it->pairs);
    fd_stats_add(&r->job.stats, "Grad/student", it->grad[FD_STUDENT].norm);
    fd_stats_add(&r->job.stats, "Grad/clip", it->clip);
    r->last_pairs = it->pairs;
    return FD_OK;
}

static void log_student(distillation *r, const fd_iteration *it) {
    fd_stats *s = &r->job.stats;
    const fd_student_step *o = &it->student;
    const fd_ratio_stats *q = &o->ratio;
    fd_stats_add(s, "Loss/student", o->loss);
    fd_stats_add(s, "Loss/vsd", o->loss_vsd);
    if (r->pairs.images) fd_stats_add(s, "Loss/pairs", it->pairs);
    fd_stats_add(s, "Grad/image_vsd", o->norm_vsd);
    fd_stats_add(s, "Grad/image_gan", o->norm_gan);
    fd_stats_add(s, "Grad/student", it->grad[FD_STUDENT].norm);
    fd_stats_add(s, "Grad/clip", it->clip);
    fd_stats_add(s, "F/h_min", q->h_min);
    fd_stats_add(s, "F/h_mean", q->h_mean);
    fd_stats_add(s, "F/h_max", q->h_max);
    fd_stats_add(s, "F/h_std", q->h_std);
    r->last_h[0] = q->h_min;
    r->last_h[1] = q->h_max;
    if (!r->nets.heads) return;
    fd_stats_add(s, "Loss/gan", o->loss_gan);
    fd_stats_add(s, "F/r_mean", q->r_mean);
    fd_stats_add(s, "F/clip_low", q->clip_low);
    fd_stats_add(s, "F/clip_high", q->clip_high);
    fd_stats_add(s, "F/logit_mean", q->logit_mean);
    fd_stats_add(s, "F/logit_std", q->logit_std);
    for (int i = 0; i < r->progress.ratio.config.bins; i++) {
        char key[40];
        snprintf(key, sizeof key, "F/bin%02d", i);
        fd_stats_add(s, key, (double)r->progress.ratio.bins[i]);
        snprintf(key, sizeof key, "F/bin%02d_share", i);
        fd_stats_add(s, key, (double)q->count[i] / r->o->job.batch);
    }
}

static void log_critic(distillation *r, const fd_iteration *it) {
    fd_stats *s = &r->job.stats;
    const fd_critic_step *o = &it->critic;
    fd_stats_add(s, "Loss/fake_score", o->loss_fake_score);
    fd_stats_add(s, "Grad/fake", it->grad[FD_FAKE].norm);
    r->last_fake = o->loss_fake_score;
    if (!r->nets.heads) return;
    fd_stats_add(s, "Loss/disc", o->loss_disc);
    fd_stats_add(s, "Grad/heads", it->grad[FD_HEADS].norm);
    fd_stats_add(s, "D/accuracy_fake", o->accuracy_fake);
    fd_stats_add(s, "D/accuracy_real", o->accuracy_real);
    if (r->r1_noise) fd_stats_add(s, "Loss/r1", o->loss_r1);
    r->last_disc = o->loss_disc;
}

/* The published rule for the heads' norms suits 256 channels and 16, but not all between. */
static fd_status log_weak_heads(fd_ctx *ctx, distillation *r) {
    const fd_net_config *c = &r->nets.heads->config;
    for (int i = 0; i < c->ntap && c->head_norm == FD_HEAD_NORM_GROUP; i++) {
        int width = c->head_width ? c->head_width : c->tap_channels[i], together = fd_heads_group_channels(width);
        if (together > 2) continue;
        FD_TRY(fd_run_log(ctx, &r->job.run, "heads of %d channels learn badly: their norms take %d channels together, and "
                          "the last has one pixel of each; --head-width 32, 128 or 256 does better, or --head-norm none", width, together));
        break;
    }
    return FD_OK;
}

static fd_status step(fd_ctx *ctx, fd_job *job, bool *skipped) {
    distillation *r = job->self;
    const fd_distill_options *o = r->o;
    const fd_lr *lr[] = {&o->lr, &o->fake_lr, &o->heads_lr};
    fd_adam adam[FD_TRAINED_NETS];
    double beta[FD_EMAS_MAX], images = job->count.images;
    const bool before = r->approaching = r->method.pairs && job->count.iteration < r->method.pair_iterations;
    /* The method's rates rise and fall within its own part of the run; approach() has the student's. */
    const double first = r->method.pairs ? (double)r->method.pair_iterations * o->job.batch : 0;
    fd_distill_batch b;
    fd_iteration it;
    if (images <= 0 && r->nets.heads) FD_TRY(log_weak_heads(ctx, r));
    for (int k = 0; k < FD_TRAINED_NETS; k++)
        adam[k] = (fd_adam){before ? 0 : fd_lr_at(lr[k], images - first, o->job.duration - first), o->beta1, o->beta2, o->eps,
                            o->weight_decay};
    for (int i = 0; i < o->n_ema; i++) beta[i] = o->ema[i] < 1 ? o->ema[i] : fd_ema_beta(o->job.batch, o->ema[i], 0, images);
    if (before) FD_TRY(approach(ctx, r, adam, beta, &it));
    else {
        const int64_t iteration = (int64_t)job->count.iteration + 1;
        const bool with_pairs = r->method.pairs && r->method.pair_weight > 0;
        if (!with_pairs) fd_pairs_free(&r->pairs);
        else if (iteration % r->method.freq == 0) FD_TRY(draw_pairs(ctx, r, iteration / r->method.freq));
        FD_TRY(draw_batch(ctx, r, (uint64_t)images + (uint64_t)r->share.first, &b));
        FD_TRY(fd_distill_iterate(ctx, r->distiller, &r->method, &r->nets, &r->progress, iteration, &b,
                                  with_pairs ? &r->drawn : NULL, adam, beta, &it));
    }
    *skipped = it.skipped;
    if (it.skipped)
        return fd_job_log_skipped(ctx, job, it.was_student ? " (student)" : " (critic)", it.culprit_scope, it.culprit_op);
    if (before) return FD_OK;
    if (it.was_student) log_student(r, &it);
    else log_critic(r, &it);
    return FD_OK;
}

static void note(fd_job *job, char *out, size_t size) {
    const distillation *r = job->self;
    if (r->approaching) snprintf(out, size, "pairs %.4f", r->last_pairs);
    else if (r->nets.heads)
        snprintf(out, size, "h %.2f…%.2f  fake %.4f  disc %.3f", r->last_h[0], r->last_h[1], r->last_fake, r->last_disc);
    else snprintf(out, size, "fake %.4f", r->last_fake);
}

/* ---- snapshots --------------------------------------------------------------------------------------------------- */

/* What the fake score makes of the student's own grid, noised to the middle of the levels t is drawn from. */
static fd_status fake_grid(fd_ctx *ctx, distillation *r, const char *path, int side) {
    fd_arena a = {0};
    fd_denoiser *d = r->show_fake;
    int m = (int)fd_denoiser_shape(d).n, n = side * side, classes = r->data.label_dim;
    int64_t pass = m * r->pixels;
    fd_status s = FD_OK;
    double level = fd_polynomial_quantile(&r->levels, 0.5), *sigma = fd_arena_alloc(ctx, &a, (size_t)m * sizeof *sigma);
    double *out = fd_arena_alloc(ctx, &a, (size_t)n * (size_t)r->pixels * sizeof *out);
    float *x = fd_arena_alloc(ctx, &a, (size_t)pass * sizeof *x), *eps = fd_arena_alloc(ctx, &a, (size_t)pass * sizeof *eps);
    float *labels = fd_arena_alloc(ctx, &a, (size_t)m * (size_t)(classes + 1) * sizeof *labels);
    uint8_t *images = fd_arena_alloc(ctx, &a, (size_t)n * (size_t)r->pixels);
    if (!sigma || !out || !x || !eps || !labels || !images) s = FD_E_NOMEM;
    for (int at = 0; at < n && s == FD_OK; at += m) {
        memset(labels, 0, (size_t)m * (size_t)classes * sizeof *labels);
        for (int i = 0; i < m; i++) {
            fd_rng z = {(uint64_t)(at + i), FD_RNG_LATENT, 0};
            fd_rng_normals(&z, 0, (size_t)r->pixels, x + i * r->pixels);
            for (int64_t p = 0; p < r->pixels; p++) x[i * r->pixels + p] *= (float)r->method.sigma_max;
            if (classes) labels[i * classes + fd_grid_class(at + i, side, classes)] = 1;
            sigma[i] = r->method.sigma_max;
        }
        s = fd_denoiser_run(ctx, r->show_student, x, sigma, classes ? labels : NULL, NULL, x);
        fd_feed_normals(r->o->job.seed, FD_RNG_TEST, (uint64_t)at, m, r->pixels, eps);
        for (int64_t p = 0; p < pass; p++) x[p] += (float)level * eps[p];
        for (int i = 0; i < m; i++) sigma[i] = level;
        if (s == FD_OK) s = fd_denoiser_run(ctx, d, x, sigma, classes ? labels : NULL, NULL, x);
        for (int64_t p = 0; p < pass; p++) out[at * r->pixels + p] = (double)x[p];
    }
    if (s == FD_OK) {
        fd_to_uint8(out, n * r->pixels, images);
        s = fd_grid_save(ctx, path, images, side, r->data.c, r->data.h, r->data.w);
    }
    fd_arena_free(&a);
    return s;
}

static fd_status save_grids(fd_ctx *ctx, distillation *r, int64_t kimg) {
    const fd_distill_method *m = &r->method;
    int side = r->o->job.grid;
    char path[4096];
    fd_sampler one = fd_sampler_defaults();
    /* The student may start lower, where noise alone is no noised picture. */
    const fd_sampler many = fd_sampler_for(r->nets.teacher, TEACHER_STEPS);
    if (!side) return FD_OK;
    one.sigma_max = m->sigma_max;
    one.steps = 1;
    fd_params *student = &r->nets.student->params;
    if (kimg == 0) {
        FD_TRY(fd_run_file(ctx, &r->job.run, path, "teacher.png"));
        FD_TRY(fd_grid_generate(ctx, path, &many, r->show_teacher, &r->nets.teacher->params, NULL, side));
    }
    FD_TRY(fd_run_file(ctx, &r->job.run, path, "student%06lld.png", (long long)kimg));
    FD_TRY(fd_grid_generate(ctx, path, &one, r->show_student, student, NULL, side));
    FD_TRY(fd_run_file(ctx, &r->job.run, path, "fake%06lld.png", (long long)kimg));
    FD_TRY(fake_grid(ctx, r, path, side));
    if (!r->progress.n_ema) return FD_OK;
    FD_TRY(fd_run_file(ctx, &r->job.run, path, "ema%06lld.png", (long long)kimg));
    return fd_grid_generate(ctx, path, &one, r->show_student, student, r->progress.ema[0], side);
}

/* i: which average, -1 for the weights themselves. */
static fd_status save_student(fd_ctx *ctx, distillation *r, int i, const char *path) {
    fd_net_meta *m = &r->nets.student->meta;
    double ema = i < 0 ? 0 : r->o->ema[i];
    m->images = (int64_t)r->job.count.images;
    m->ema = ema;
    snprintf(m->ema_kind, sizeof m->ema_kind, "%s", i < 0 ? "" : ema < 1 ? "decay-per-step" : "half-life-images");
    return fd_net_save(ctx, r->nets.student, i < 0 ? NULL : r->progress.ema[i], path);
}

/* The first average (the weights themselves, if there is none) under the plain name, the others with their decay, the
 * weights as "-raw". */
static fd_status save_networks(fd_ctx *ctx, distillation *r, int64_t kimg) {
    char path[4096];
    int n = r->progress.n_ema;
    FD_TRY(fd_run_file(ctx, &r->job.run, path, "network-snapshot-%06lld.safetensors", (long long)kimg));
    FD_TRY(save_student(ctx, r, n ? 0 : -1, path));
    for (int i = 1; i < n; i++) {
        FD_TRY(fd_run_file(ctx, &r->job.run, path, "network-snapshot-%06lld-ema%g.safetensors", (long long)kimg, r->o->ema[i]));
        FD_TRY(save_student(ctx, r, i, path));
    }
    if (!n) return FD_OK;
    FD_TRY(fd_run_file(ctx, &r->job.run, path, "network-snapshot-%06lld-raw.safetensors", (long long)kimg));
    return save_student(ctx, r, -1, path);
}

static fd_status snapshot(fd_ctx *ctx, fd_job *job, int64_t kimg) {
    distillation *r = job->self;
    FD_TRY(save_grids(ctx, r, kimg));
    return job->count.images > 0 ? save_networks(ctx, r, kimg) : FD_OK;
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

static fd_status print_plan(fd_ctx *ctx, const distillation *r, const char *description) {
    const fd_distill_nets *n = &r->nets;
    printf("would run %s\n  teacher     %lld parameters, %s\n  heads       %lld parameters, %d of them\n"
           "  data        %lld images, %d classes\n  iterations  %.0f of %d images in passes of %d, every %d%s trains the student\n"
           "  memory      %s\n",
           description, (long long)n->teacher->params.count_trained, r->o->teacher,
           n->heads ? (long long)n->heads->params.count_trained : 0, n->heads ? n->heads->config.ntap : 0, (long long)r->data.n,
           r->data.label_dim, ceil(r->o->job.duration / r->o->job.batch), r->o->job.batch, r->share.pass, r->method.freq,
           r->method.freq == 1 ? "st" : r->method.freq == 2 ? "nd" : r->method.freq == 3 ? "rd" : "th",
           r->job.memory);
    if (r->method.pairs)
        printf("  pairs       %lld, %.1f MiB, %d evaluations of the teacher each; the first %d iterations are theirs\n",
               (long long)r->method.pairs, (double)r->method.pairs * (double)r->pixels / 1048576, r->method.pair_steps,
               r->method.pair_iterations);
    return FD_OK;
}

/* Memory on the device for all that the steps touch. */
static fd_status reserve(fd_ctx *ctx, distillation *r) {
    const fd_distill_nets *n = &r->nets;
    fd_net *const nets[] = {n->student, n->fake, n->heads, n->teacher};
    fd_distill_progress *p = &r->progress;
    fd_updater *u = &p->updater;
    u->device = fd_distiller_device(r->distiller);
    for (int k = 0; k < (int)FD_COUNT(nets); k++) {
        if (!nets[k]) continue;
        const fd_params *set = &nets[k]->params;
        FD_TRY(fd_updater_reserve(ctx, u, set->w, set->total));
        if (k >= FD_TRAINED_NETS) continue;
        FD_TRY(fd_updater_reserve(ctx, u, set->g, set->trained));
        FD_TRY(fd_updater_reserve(ctx, u, p->adam[k].m, set->trained));
        FD_TRY(fd_updater_reserve(ctx, u, p->adam[k].v, set->trained));
    }
    for (int i = 0; i < p->n_ema; i++) FD_TRY(fd_updater_reserve(ctx, u, p->ema[i], n->student->params.total));
    return FD_OK;
}

static const char *memory_text(fd_ctx *ctx, distillation *r) {
    const fd_distill_nets *n = &r->nets;
    fd_budget b = {.pass = fd_distiller_bytes(r->distiller)};
    fd_budget_add_frozen(&b, &n->teacher->params);
    fd_budget_add(&b, &n->student->params, r->progress.n_ema);
    fd_budget_add(&b, &n->fake->params, 0);
    if (n->heads) fd_budget_add(&b, &n->heads->params, 0);
    return fd_budget_text(ctx, &r->arena, &b, r->share.pass, r->o->job.backend);
}

static fd_status prepare(fd_ctx *ctx, distillation *r) {
    const fd_distill_options *o = r->o;
    FD_TRY(fd_job_dataset(ctx, &o->job, &r->data));
    FD_TRY(fd_dataset_digest(ctx, &r->data, r->data_digest));
    FD_TRY(make_nets(ctx, r));
    r->pixels = (int64_t)r->data.c * r->data.h * r->data.w;
    FD_TRY(fd_job_share(ctx, &o->job, PASS, &r->share));
    r->feed = (fd_feed){&r->data, o->job.seed};
    fd_polynomial_init(&r->levels, r->method.ratio.t_min, r->method.ratio.t_max, r->method.ratio.rho);
    FD_TRY(fd_distill_progress_new(ctx, &r->method, &r->nets, o->n_ema, &r->progress));      /* does not depend on the pass */
    fd_distiller_spec spec = {.method = &r->method, .batch = r->share.mine, .dtype = o->job.dtype, .backend = o->job.backend,
                              .dropout_seed = o->job.seed};
    fd_status s;
    do {
        spec.n = r->share.pass;
        s = fd_distiller_new(ctx, &spec, &r->nets, &r->distiller);
        if (s == FD_OK && (s = reserve(ctx, r)) != FD_OK) {
            fd_distiller_free(r->distiller);
            r->distiller = NULL;
        }
    } while (fd_job_smaller_pass(ctx, &o->job, s, &r->share));
    FD_TRY(s);
    FD_TRY(allocate(ctx, r));
    return make_denoisers(ctx, r);
}

static fd_status run(fd_ctx *ctx, distillation *r) {
    const fd_distill_options *o = r->o;
    FD_TRY(prepare(ctx, r));
    const char *description = fd_arena_printf(ctx, &r->arena, "%s-%s-%s-%s-batch%d%s%s", r->data.name,
                                              o->job.cond ? "cond" : "uncond", fd_family_name(r->nets.teacher->config.family),
                                              r->method.divergence->name, o->job.batch, o->job.desc ? "-" : "",
                                              o->job.desc ? o->job.desc : "");
    if (!description || !(r->job.memory = memory_text(ctx, r))) return FD_E_NOMEM;
    if (o->job.dry_run) return print_plan(ctx, r, description);
    r->job.o = &o->job;
    r->job.description = description;
    r->job.self = r;
    r->job.step = step;
    r->job.snapshot = snapshot;
    r->job.note = note;
    FD_TRY(fill_state(ctx, r));
    r->job.options = options_json(r);
    return fd_job_run(ctx, &r->job);
}

fd_status fd_distill(fd_ctx *ctx, const fd_distill_options *o) {
    if (!o->method.divergence)
        return FD_FAIL(ctx, FD_E_ARG, "no divergence chosen; --divergence rkl, sf, js, sh, kl, jf, neyman or pearson");
    if (o->method.pair_weight > 0 && !o->method.pairs)
        return FD_FAIL(ctx, FD_E_ARG, "--pair-weight %g without pairs; say with --pairs how many", o->method.pair_weight);
    if (o->method.head_cond && !o->job.cond)
        return FD_FAIL(ctx, FD_E_ARG, "--head-cond without labels; it goes with --cond");
    distillation *r = fd_alloc(ctx, sizeof *r);
    if (!r) return FD_E_NOMEM;
    r->o = o;
    r->method = o->method;
    fd_status s = run(ctx, r);
    json_decref(r->job.options);
    fd_denoiser_free(r->show_student);
    fd_denoiser_free(r->show_teacher);
    fd_denoiser_free(r->show_fake);
    fd_pool_free(&r->pool);
    fd_pairs_free(&r->pairs);
    fd_distill_progress_free(&r->progress);
    fd_distiller_free(r->distiller);
    fd_net_free(r->nets.student);
    fd_net_free(r->nets.teacher);
    fd_net_free(r->nets.fake);
    fd_net_free(r->nets.heads);
    fd_dataset_close(&r->data);
    fd_arena_free(&r->arena);
    fd_free(r);
    return s;
}
