#include "eval/feature_train.h"

#include <math.h>
#include <string.h>

#include "eval/moments.h"
#include "io/json.h"
#include "models/net.h"
#include "train/feed.h"
#include "train/loop.h"
#include "train/update.h"

#define PASS 64           /* pictures per pass unless asked otherwise */

fd_feature_options fd_feature_defaults(void) {
    fd_feature_options o = {.job = fd_job_defaults(), .channels = {16, 32, 64, 64}, .nchannels = 4,
                            .lr = {.lr = 2e-3, .ramp = 12800, .shape = FD_LR_COSINE}, .beta1 = 0.9, .beta2 = 0.99,
                            .eps = 1e-8, .weight_decay = 0.01, .ema_halflife = 20e3, .ema_ramp = 0.05, .noise = 0.1};
    o.job.batch = 128;
    o.job.duration = 0.5e6;
    o.job.snap = o.job.grid = 0;
    o.job.cond = true;
    return o;
}

typedef struct {
    const fd_feature_options *o;
    fd_dataset data, test;
    fd_attributes is, test_is;
    char data_digest[65];
    fd_net *net;
    /* one pass, forward and backward */
    int n;
    fd_graph *g;
    fd_exec *e;
    fd_val x, dloss, target[FD_MAX_HEADS], logits[FD_MAX_HEADS], loss[FD_MAX_HEADS];
    float *images, *shifted, *noise, *onehot, *each;      /* each: losses of a pass */
    fd_feature_net *show;                    /* the same network without gradients */
    fd_feed feed;
    fd_range all;
    fd_updater updater;
    float *m, *v, *ema;
    double adam_steps;
    fd_job job;
    fd_arena arena;
} training;

/* ---- preparing --------------------------------------------------------------------------------------------------- */

static fd_status record(fd_ctx *ctx, training *r) {
    fd_params *set = &r->net->params;
    const fd_net_config *c = &r->net->config;
    fd_val features, gy[FD_MAX_HEADS];
    fd_nn nn;
    FD_TRY(fd_graph_new(ctx, &r->g));
    fd_nn_init(&nn, r->g, set, r->o->job.dtype);
    r->x = fd_graph_input(r->g, "x", (fd_shape){r->n, c->image_channels, c->resolution, c->resolution}, FD_F32);
    FD_TRY(fd_classifier_build(&nn, c, r->x, &features, r->logits));
    fd_graph_scope(r->g, "loss");
    r->dloss = fd_graph_input(r->g, "dloss", (fd_shape){r->n, 1, 1, 1}, FD_F32);
    for (int i = 0; i < c->nclasses; i++) {
        char name[32];
        snprintf(name, sizeof name, "target%d", i);
        r->target[i] = fd_graph_input(r->g, name, (fd_shape){r->n, c->classes[i], 1, 1}, FD_F32);
        r->loss[i] = fd_softmax_xent(r->g, r->logits[i], r->target[i]);
        fd_graph_keep(r->g, r->loss[i]);
        gy[i] = r->dloss;
    }
    FD_TRY(fd_params_need_grads(ctx, set));
    FD_TRY(fd_graph_backward(r->g, c->nclasses, r->loss, gy, 1, &set, 0, NULL, NULL));
    return fd_exec_new(ctx, r->g, &(fd_exec_options){.backend = r->o->job.backend}, &r->e);
}

static fd_status make_net(fd_ctx *ctx, training *r) {
    fd_net_config c;
    fd_net_config_preset(&c, FD_FAMILY_CLASSIFIER);
    c.resolution = r->data.w;
    c.image_channels = r->data.c;
    c.num_blocks = r->o->blocks;
    c.nchannels = r->o->nchannels;
    memcpy(c.channels, r->o->channels, sizeof c.channels);
    c.nclasses = r->is.n;
    memcpy(c.classes, r->is.classes, sizeof c.classes);
    FD_TRY(fd_net_new(ctx, &c, &r->net));
    fd_net_init_random(r->net, r->o->job.seed);
    fd_net_meta *m = &r->net->meta;
    *m = (fd_net_meta){.ema = r->o->ema_halflife};
    snprintf(m->kind, sizeof m->kind, "classifier");
    snprintf(m->title, sizeof m->title, "%.100s features", r->data.name);
    snprintf(m->data, sizeof m->data, "%.120s %s", r->data.name, r->data_digest);
    snprintf(m->ema_kind, sizeof m->ema_kind, "%s", r->o->ema_halflife > 0 ? "half-life-images" : "");
    return FD_OK;
}

static fd_status allocate(fd_ctx *ctx, training *r) {
    const fd_params *p = &r->net->params;
    int64_t pixels = (int64_t)r->data.c * r->data.h * r->data.w;
    int most = 0;
    for (int i = 0; i < r->is.n; i++) most = r->is.classes[i] > most ? r->is.classes[i] : most;
    FD_NEW(ctx, &r->arena, r->m, p->trained);
    FD_NEW(ctx, &r->arena, r->v, p->trained);
    FD_NEW(ctx, &r->arena, r->ema, p->total);
    memcpy(r->ema, p->w, sizeof(float) * (size_t)p->total);
    FD_NEW(ctx, &r->arena, r->images, r->n * pixels);
    FD_NEW(ctx, &r->arena, r->shifted, pixels);
    FD_NEW(ctx, &r->arena, r->noise, r->n * pixels);
    FD_NEW(ctx, &r->arena, r->onehot, (int64_t)r->n * most);
    FD_NEW(ctx, &r->arena, r->each, r->n);
    return FD_OK;
}

/* ---- one iteration ----------------------------------------------------------------------------------------------- */

/* The picture moved by (dx, dy) pixels; zero, which is gray, where nothing moved in. */
static void shift_picture(const fd_dataset *d, float *image, int dx, int dy, float *scratch) {
    int64_t plane = (int64_t)d->h * d->w;
    memset(scratch, 0, sizeof(float) * (size_t)(plane * d->c));
    for (int c = 0; c < d->c; c++)
        for (int y = 0; y < d->h; y++)
            for (int x = 0; x < d->w; x++) {
                int from_y = y - dy, from_x = x - dx;
                if (from_y >= 0 && from_y < d->h && from_x >= 0 && from_x < d->w)
                    scratch[c * plane + y * d->w + x] = image[c * plane + from_y * d->w + from_x];
            }
    memcpy(image, scratch, sizeof(float) * (size_t)(plane * d->c));
}

static void disturb(training *r, uint64_t first) {
    const fd_feature_options *o = r->o;
    int64_t pixels = (int64_t)r->data.c * r->data.h * r->data.w;
    if (o->noise > 0) fd_feed_normals(o->job.seed, FD_RNG_NOISE, first, r->n, pixels, r->noise);
    for (int i = 0; i < r->n; i++) {
        fd_rng draw = {o->job.seed, FD_RNG_AUGMENT, first + (uint64_t)i};
        float *x = r->images + i * pixels;
        int span = 2 * o->shift + 1;
        if (o->shift)
            shift_picture(&r->data, x, (int)(fd_rng_uniform(&draw, 0) * span) - o->shift,
                          (int)(fd_rng_uniform(&draw, 1) * span) - o->shift, r->shifted);
        float deviation = (float)(o->noise * fd_rng_uniform(&draw, 2));
        for (int64_t k = 0; o->noise > 0 && k < pixels; k++) x[k] += deviation * r->noise[i * pixels + k];
    }
}

static fd_status write_targets(fd_ctx *ctx, training *r, uint64_t first) {
    for (int a = 0; a < r->is.n; a++) {
        int classes = r->is.classes[a];
        for (int i = 0; i < r->n; i++) {
            int32_t right = r->is.value[a][fd_feed_index(&r->feed, first + (uint64_t)i)];
            for (int k = 0; k < classes; k++)
                r->onehot[i * classes + k] = (float)(r->o->smooth / classes + (k == right ? 1 - r->o->smooth : 0));
        }
        FD_TRY(fd_exec_write(ctx, r->e, r->target[a], r->onehot));
    }
    return FD_OK;
}

static fd_status run_pass(fd_ctx *ctx, training *r, uint64_t first, double *loss) {
    FD_TRY(fd_feed_images(ctx, &r->feed, first, r->n, r->images, NULL));
    disturb(r, first);
    FD_TRY(fd_exec_write(ctx, r->e, r->x, r->images));
    FD_TRY(write_targets(ctx, r, first));
    FD_TRY(fd_exec_fill(ctx, r->e, r->dloss, 1.0f / (float)r->o->job.batch));
    FD_TRY(fd_exec_run(ctx, r->e, 0, -1));
    for (int a = 0; a < r->is.n; a++) {
        FD_TRY(fd_exec_read(ctx, r->e, r->loss[a], r->each));
        for (int i = 0; i < r->n; i++) *loss += (double)r->each[i] / r->o->job.batch;
    }
    return FD_OK;
}

static fd_status step(fd_ctx *ctx, fd_job *job, bool *skipped) {
    training *r = job->self;
    const fd_feature_options *o = r->o;
    fd_params *p = &r->net->params;
    double loss = 0, images = job->count.images;
    FD_TRY(fd_updater_clear(ctx, &r->updater, p));
    for (int at = 0; at < o->job.batch; at += r->n) FD_TRY(run_pass(ctx, r, (uint64_t)images + (uint64_t)at, &loss));
    fd_grad_stats g;
    FD_TRY(fd_updater_measure(ctx, &r->updater, &r->all, 1, p, &g));
    *skipped = !isfinite(loss) || !isfinite(g.norm);
    if (*skipped) return FD_OK;
    fd_adam adam = {fd_lr_at(&o->lr, images, o->job.duration), o->beta1, o->beta2, o->eps, o->weight_decay};
    fd_ema ema = {r->ema, fd_ema_beta(o->job.batch, o->ema_halflife, o->ema_ramp, images)};
    r->adam_steps++;
    FD_TRY(fd_updater_adamw(ctx, &r->updater, &adam, (int64_t)r->adam_steps, &r->all, 1, p, r->m, r->v, 1, &ema, 1));
    fd_stats_add(&job->stats, "Loss/loss", loss);
    fd_stats_add(&job->stats, "Progress/lr", adam.lr);
    return FD_OK;
}

static void note(fd_job *job, char *out, size_t size) {
    snprintf(out, size, "loss %.4f", fd_stats_mean(&job->stats, "Loss/loss"));
}

/* ---- judging and saving ------------------------------------------------------------------------------------------ */

typedef struct { int64_t n, right[FD_MAX_HEADS]; } accuracy;

static int largest(const float *x, int n) {
    int best = 0;
    for (int k = 1; k < n; k++)
        if (x[k] > x[best]) best = k;
    return best;
}

/* Every picture of a set once, undisturbed: hits per attribute, moments of the features (either may be NULL). */
static fd_status look(fd_ctx *ctx, training *r, const fd_dataset *d, const fd_attributes *is, accuracy *hits,
                      fd_moments *moments) {
    int64_t pixels = (int64_t)d->c * d->h * d->w;
    float *features, *logits[FD_MAX_HEADS];
    uint8_t *raw;
    fd_arena a = {0};
    fd_status s = FD_OK;
    features = fd_arena_alloc(ctx, &a, sizeof(float) * (size_t)r->n * (size_t)fd_feature_net_dim(&r->net->config));
    raw = fd_arena_alloc(ctx, &a, (size_t)pixels);
    if (!features || !raw) s = FD_E_NOMEM;
    for (int k = 0; k < is->n && s == FD_OK; k++)
        if (!(logits[k] = fd_arena_alloc(ctx, &a, sizeof(float) * (size_t)r->n * (size_t)is->classes[k]))) s = FD_E_NOMEM;
    for (int64_t at = 0; at < d->n && s == FD_OK; at += r->n) {
        int n = (int)(d->n - at < r->n ? d->n - at : r->n);
        for (int i = 0; i < n && s == FD_OK; i++) {
            s = fd_dataset_get(ctx, d, at + i, raw, NULL);
            for (int64_t k = 0; k < pixels; k++) r->images[i * pixels + k] = (float)raw[k] / 127.5f - 1;
        }
        if (s == FD_OK) s = fd_feature_net_run(ctx, r->show, r->images, features, logits);
        if (s == FD_OK && moments) s = fd_moments_add(ctx, moments, features, n);
        if (!hits) continue;
        hits->n += n;
        for (int k = 0; k < is->n && s == FD_OK; k++)
            for (int i = 0; i < n; i++)
                hits->right[k] += largest(logits[k] + (int64_t)i * is->classes[k], is->classes[k]) == is->value[k][at + i];
    }
    fd_arena_free(&a);
    return s;
}

/* Features of a dead unit have no deviation: it is left at 1, and the unit counts for nothing. */
static void set_standard(training *r, const double *mu, const double *sigma) {
    fd_params *p = &r->net->params;
    int d = fd_feature_net_dim(&r->net->config);
    float *mean = p->own + p->list[fd_params_find(p, "features.mean")].offset;
    float *std = p->own + p->list[fd_params_find(p, "features.std")].offset;
    for (int k = 0; k < d; k++) {
        double variance = sigma ? sigma[(size_t)k * (size_t)d + (size_t)k] : 1;
        mean[k] = mu ? (float)mu[k] : 0;
        std[k] = variance > 1e-12 ? (float)sqrt(variance) : 1;
    }
}

static fd_status judge(fd_ctx *ctx, training *r, fd_arena *a, fd_moments *m) {
    const fd_dataset *d = r->o->test ? &r->test : &r->data;
    accuracy hits = {0};
    double *mu, *sigma;
    int dim = fd_feature_net_dim(&r->net->config);
    FD_NEW(ctx, a, mu, dim);
    FD_NEW(ctx, a, sigma, fd_mul_size((size_t)dim, (size_t)dim));
    FD_TRY(look(ctx, r, d, r->o->test ? &r->test_is : &r->is, &hits, NULL));
    for (int k = 0; k < r->is.n; k++) {
        double share = (double)hits.right[k] / (double)hits.n;
        char key[40];
        snprintf(key, sizeof key, "Accuracy/%s", r->is.name[k]);
        fd_stats_add(&r->job.stats, key, share);
        FD_TRY(fd_run_log(ctx, &r->job.run, "%s right on %.2f %% of the %lld images of %s", r->is.name[k], 100 * share,
                          (long long)hits.n, d->name));
    }
    FD_TRY(look(ctx, r, &r->data, &r->is, NULL, m));
    FD_TRY(fd_moments_get(ctx, m, mu, sigma));
    set_standard(r, mu, sigma);
    return FD_OK;
}

static fd_status snapshot(fd_ctx *ctx, fd_job *job, int64_t kimg) {
    training *r = job->self;
    char path[4096];
    fd_arena a = {0};
    fd_moments m = {0};
    if (kimg == 0 && job->count.images == 0) return FD_OK;
    FD_TRY(fd_run_file(ctx, &job->run, path, "network-snapshot-%06lld.safetensors", (long long)kimg));
    float *own = fd_params_use(&r->net->params, r->ema);
    fd_status s = fd_moments_init(ctx, &m, fd_feature_net_dim(&r->net->config));
    if (s == FD_OK) s = judge(ctx, r, &a, &m);
    fd_params_use(&r->net->params, own);
    r->net->meta.images = (int64_t)job->count.images;
    if (s == FD_OK) s = fd_net_save(ctx, r->net, r->ema, path);
    set_standard(r, NULL, NULL);
    fd_moments_free(&m);
    fd_arena_free(&a);
    return s;
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

static fd_status fill_state(fd_ctx *ctx, training *r) {
    fd_state *s = &r->job.state;
    const fd_params *p = &r->net->params;
    FD_TRY(fd_state_add(ctx, s, "net.weights", FD_ST_F32, p->w, p->total));
    FD_TRY(fd_state_add(ctx, s, "net.adam_m", FD_ST_F32, r->m, p->trained));
    FD_TRY(fd_state_add(ctx, s, "net.adam_v", FD_ST_F32, r->v, p->trained));
    FD_TRY(fd_state_add(ctx, s, "net.adam_steps", FD_ST_F64, &r->adam_steps, 1));
    return fd_state_add(ctx, s, "ema", FD_ST_F32, r->ema, p->total);
}

static fd_status options_json(fd_ctx *ctx, training *r) {
    const fd_feature_options *o = r->o;
    const char *network;
    json_t *root = fd_job_json(&o->job, &r->data, r->data_digest, r->n), *net;
    r->job.options = root;
    FD_TRY(fd_net_config_format(ctx, &r->arena, &r->net->config, &network));
    FD_TRY(fd_json_parse(ctx, (fd_bytes){(const uint8_t *)network, strlen(network)}, "network", &net));
    json_object_set_new(root, "network", net);
    json_object_set_new(root, "attributes", json_string(o->attributes == FD_ATTRIBUTES_SPRITES ? "sprites" : "labels"));
    json_object_set_new(root, "lr", fd_lr_json(&o->lr));
    const struct { const char *key; double value; } number[] = {
        {"beta1", o->beta1}, {"beta2", o->beta2}, {"eps", o->eps}, {"weight_decay", o->weight_decay},
        {"ema_halflife", o->ema_halflife}, {"ema_ramp", o->ema_ramp}, {"smooth", o->smooth}, {"noise", o->noise},
        {"shift", o->shift}};
    for (size_t i = 0; i < FD_COUNT(number); i++)
        json_object_set_new(root, number[i].key, fd_json_real(number[i].value));
    return FD_OK;
}

static fd_status open_sets(fd_ctx *ctx, training *r) {
    const fd_feature_options *o = r->o;
    fd_job_options job = o->job;
    job.cond = o->attributes == FD_ATTRIBUTES_LABELS;
    FD_TRY(fd_job_dataset(ctx, &job, &r->data));
    FD_TRY(fd_dataset_digest(ctx, &r->data, r->data_digest));
    FD_TRY(fd_attributes_read(ctx, &r->arena, &r->data, o->attributes, &r->is));
    if (!o->test) return FD_OK;
    job.data = o->test;
    job.xflip = false;
    job.max_size = 0;
    FD_TRY(fd_job_dataset(ctx, &job, &r->test));
    if (r->test.c != r->data.c || r->test.w != r->data.w)
        return FD_FAIL(ctx, FD_E_ARG, "--test %s: pictures of %dx%d with %d channels, those of --data have %dx%d with %d",
                       o->test, r->test.w, r->test.h, r->test.c, r->data.w, r->data.h, r->data.c);
    FD_TRY(fd_attributes_read(ctx, &r->arena, &r->test, o->attributes, &r->test_is));
    if (r->test_is.classes[0] > r->is.classes[0])
        return FD_FAIL(ctx, FD_E_ARG, "--test %s: has %d classes, --data only %d", o->test, r->test_is.classes[0],
                       r->is.classes[0]);
    return FD_OK;
}

static fd_status run(fd_ctx *ctx, training *r) {
    const fd_job_options *o = &r->o->job;
    FD_TRY(open_sets(ctx, r));
    r->n = o->batch_gpu ? o->batch_gpu : fd_pass_size(o->batch, PASS);
    if (r->n > o->batch || o->batch % r->n)
        return FD_FAIL(ctx, FD_E_ARG, "--batch-gpu %d does not divide --batch %d", r->n, o->batch);
    FD_TRY(make_net(ctx, r));
    FD_TRY(record(ctx, r));
    FD_TRY(fd_feature_net_new(ctx, r->net, r->n, &(fd_run_options){.dtype = o->dtype, .backend = o->backend}, &r->show));
    r->updater.device = o->backend ? o->backend->device : NULL;
    r->all = (fd_range){0, r->net->params.trained};
    r->feed = (fd_feed){&r->data, o->seed};
    FD_TRY(allocate(ctx, r));
    const char *description = fd_arena_printf(ctx, &r->arena, "%s-features-batch%d%s%s", r->data.name, o->batch,
                                              o->desc ? "-" : "", o->desc ? o->desc : "");
    if (!description) return FD_E_NOMEM;
    if (o->dry_run) {
        printf("would run %s\n  network     %lld parameters, %d features, %d attributes\n  data        %lld images\n"
               "  iterations  %.0f of %d images in passes of %d\n", description,
               (long long)r->net->params.count_trained, fd_feature_net_dim(&r->net->config), r->is.n,
               (long long)r->data.n, ceil(o->duration / o->batch), o->batch, r->n);
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

fd_status fd_feature_train(fd_ctx *ctx, const fd_feature_options *o) {
    training *r = fd_alloc(ctx, sizeof *r);
    if (!r) return FD_E_NOMEM;
    r->o = o;
    fd_status s = run(ctx, r);
    json_decref(r->job.options);
    fd_updater_close(&r->updater);
    fd_feature_net_free(r->show);
    fd_exec_free(r->e);
    fd_graph_free(r->g);
    fd_net_free(r->net);
    fd_dataset_close(&r->data);
    fd_dataset_close(&r->test);
    fd_arena_free(&r->arena);
    fd_free(r);
    return s;
}
