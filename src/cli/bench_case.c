#include "cli/bench_case.h"

#include <string.h>

#include "base/rng.h"
#include "cli/bench_distill.h"
#include "eval/inception_input.h"
#include "train/train.h"
#include "train/update.h"

struct fd_bench {
    fd_bench_spec spec;
    fd_net *net;
    fd_denoiser *denoiser;
    fd_edm_step step;
    int pass;                     /* images of one run of the plan */
    float *x, *noise, *labels;    /* of a batch */
    double *sigma;
    float *m, *v, *ema;
    fd_updater updater;
    int64_t steps;
    uint64_t *seeds;
    uint8_t *images;
    fd_sampler sampler;
    fd_bench_distill *distill;
    fd_feature_net *feature_net;
    fd_resizer *resizer;          /* Inception */
    int64_t picture;              /* bytes of one of `images` */
    float *features;              /* of a pass */
    fd_arena arena;
};

/* Pictures, noise levels and classes that cost what real ones cost. */
static fd_status make_batch(fd_ctx *ctx, fd_bench *b, int64_t pixels) {
    int n = b->spec.batch, classes = b->net->config.label_dim;
    FD_NEW(ctx, &b->arena, b->x, n * pixels);
    FD_NEW(ctx, &b->arena, b->noise, n * pixels);
    FD_NEW(ctx, &b->arena, b->sigma, n);
    if (classes) FD_NEW(ctx, &b->arena, b->labels, (int64_t)n * classes);
    fd_rng image = {1, FD_RNG_TEST, 0}, noise = {1, FD_RNG_TEST, 1};
    fd_rng_normals(&image, 0, (size_t)(n * pixels), b->x);
    fd_rng_normals(&noise, 0, (size_t)(n * pixels), b->noise);
    for (int64_t i = 0; i < n * pixels; i++) b->x[i] *= 0.5f;
    for (int i = 0; i < n; i++) b->sigma[i] = 0.1 * (1 + i % 8);
    for (int i = 0; classes && i < n; i++) b->labels[(int64_t)i * classes + i % classes] = 1;
    return FD_OK;
}

static fd_status prepare_train(fd_ctx *ctx, fd_bench *b, int64_t pixels) {
    const fd_params *p = &b->net->params;
    b->pass = b->spec.pass ? b->spec.pass : fd_pass_size(b->spec.batch, FD_TRAIN_PASS);
    FD_TRY(make_batch(ctx, b, pixels));
    FD_NEW(ctx, &b->arena, b->m, p->trained);
    FD_NEW(ctx, &b->arena, b->v, p->trained);
    FD_NEW(ctx, &b->arena, b->ema, p->total);
    memcpy(b->ema, p->w, sizeof(float) * (size_t)p->total);
    fd_edm_step_spec s = {.n = b->pass, .dtype = b->spec.dtype, .dropout_seed = 1, .backend = b->spec.backend};
    b->updater.device = b->spec.backend ? b->spec.backend->device : NULL;
    return fd_edm_step_open(ctx, b->net, &s, &b->step);
}

static fd_status prepare_generate(fd_ctx *ctx, fd_bench *b, int64_t pixels) {
    FD_NEW(ctx, &b->arena, b->seeds, b->spec.images);
    FD_NEW(ctx, &b->arena, b->images, fd_mul_size((size_t)b->spec.images, (size_t)pixels));
    for (int64_t i = 0; i < b->spec.images; i++) b->seeds[i] = (uint64_t)i;
    b->sampler = fd_sampler_for(b->net, 0);
    return FD_OK;
}

static fd_status prepare_features(fd_ctx *ctx, fd_bench *b) {
    const fd_net_config *c = &b->net->config;
    const bool inception = c->family == FD_FAMILY_INCEPTION;
    const int side = inception ? 32 : c->resolution, channels = c->image_channels;
    b->picture = (int64_t)channels * side * side;
    if (!fd_is_feature_net(c->family))
        return FD_FAIL(ctx, FD_E_ARG, "--case features: a %s gives none; take --config inception, or a feature network",
                       fd_family_name(c->family));
    b->pass = fd_pass_size(b->spec.batch, fd_feature_net_batch(c));
    FD_NEW(ctx, &b->arena, b->images, fd_mul_size((size_t)b->spec.batch, (size_t)b->picture));
    FD_NEW(ctx, &b->arena, b->features, fd_mul_size((size_t)b->pass, (size_t)fd_feature_net_dim(c)));
    for (int64_t i = 0; i < b->spec.batch * b->picture; i++) b->images[i] = (uint8_t)(i * 2654435761u >> 13);
    if (inception) FD_TRY(fd_resizer_new(ctx, FD_RESIZE_TORCH, channels, side, side, &b->resizer));
    return fd_feature_net_new(ctx, b->net, b->pass, &(fd_run_options){.dtype = b->spec.dtype, .backend = b->spec.backend},
                              &b->feature_net);
}

static fd_status run_features(fd_ctx *ctx, fd_bench *b) {
    float *x = fd_feature_net_input(b->feature_net);
    for (int at = 0; at < b->spec.batch; at += b->pass) {
        const uint8_t *from = b->images + at * b->picture;
        if (b->resizer) fd_resizer_run(b->resizer, from, b->pass, x);
        else for (int64_t i = 0; i < b->pass * b->picture; i++) x[i] = (float)from[i] / 127.5f - 1;
        FD_TRY(fd_feature_net_run(ctx, b->feature_net, NULL, b->features, NULL));
    }
    return FD_OK;
}

static fd_status prepare(fd_ctx *ctx, fd_bench *b) {
    const fd_net_config *c = &b->net->config;
    int64_t pixels = (int64_t)c->image_channels * c->resolution * c->resolution;
    b->pass = b->spec.batch;
    if (b->spec.kind == FD_BENCH_FEATURES) return prepare_features(ctx, b);
    if (fd_is_feature_net(c->family))
        return FD_FAIL(ctx, FD_E_ARG, "--case: a %s only gives features; take --case features", fd_family_name(c->family));
    if (b->spec.kind == FD_BENCH_TRAIN) return prepare_train(ctx, b, pixels);
    if (b->spec.kind == FD_BENCH_DISTILL)
        return fd_bench_distill_new(ctx, b->net, b->spec.batch, b->spec.pass, b->spec.dtype, b->spec.backend, &b->distill);
    FD_TRY(b->spec.kind == FD_BENCH_DENOISE ? make_batch(ctx, b, pixels) : prepare_generate(ctx, b, pixels));
    fd_run_options o = {.dtype = b->spec.dtype, .backend = b->spec.backend};
    return fd_denoiser_new(ctx, b->net, b->pass, &o, &b->denoiser);
}

fd_status fd_bench_new(fd_ctx *ctx, fd_net *net, const fd_bench_spec *spec, fd_bench **out) {
    fd_bench *b = fd_alloc(ctx, sizeof *b);
    if (!b) return FD_E_NOMEM;
    b->spec = *spec;
    b->net = net;
    fd_status s = prepare(ctx, b);
    if (s == FD_OK) *out = b;
    else fd_bench_free(b);
    return s;
}

void fd_bench_free(fd_bench *b) {
    if (!b) return;
    fd_denoiser_free(b->denoiser);
    fd_bench_distill_free(b->distill);
    fd_feature_net_free(b->feature_net);
    fd_resizer_free(b->resizer);
    fd_updater_close(&b->updater);
    fd_edm_step_close(&b->step);
    fd_arena_free(&b->arena);
    fd_free(b);
}

static fd_status train_step(fd_ctx *ctx, fd_bench *b) {
    const fd_net_config *c = &b->net->config;
    fd_params *p = &b->net->params;
    int64_t pixels = (int64_t)c->image_channels * c->resolution * c->resolution;
    double loss = 0;
    FD_TRY(fd_updater_clear(ctx, &b->updater, p));
    for (int at = 0; at < b->spec.batch; at += b->pass)
        FD_TRY(fd_edm_step_run(ctx, &b->step, b->x + at * pixels, b->noise + at * pixels, b->sigma + at,
                               b->labels ? b->labels + (int64_t)at * c->label_dim : NULL, NULL, (uint64_t)at,
                               1.0 / b->spec.batch, &loss));
    fd_range all = {0, p->trained};
    fd_grad_stats g;
    FD_TRY(fd_updater_measure(ctx, &b->updater, &all, 1, p, &g));
    fd_adam adam = {.lr = 1e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    fd_ema ema = {b->ema, 0.999};
    return fd_updater_adamw(ctx, &b->updater, &adam, ++b->steps, &all, 1, p, b->m, b->v, fd_clip_factor(g.norm, 0), &ema, 1);
}

fd_status fd_bench_run(fd_ctx *ctx, fd_bench *b) {
    switch (b->spec.kind) {
    case FD_BENCH_TRAIN: return train_step(ctx, b);
    case FD_BENCH_DISTILL: return fd_bench_distill_run(ctx, b->distill);
    case FD_BENCH_FEATURES: return run_features(ctx, b);
    case FD_BENCH_GENERATE:
        return fd_sample_seeds(ctx, &b->sampler, b->denoiser, b->seeds, NULL, b->spec.images, b->images, NULL, NULL, NULL);
    default: return fd_denoiser_run(ctx, b->denoiser, b->x, b->sigma, b->labels, NULL, b->noise);
    }
}

int64_t fd_bench_images(const fd_bench *b) {
    if (b->spec.kind == FD_BENCH_GENERATE) return b->spec.images;
    return b->spec.kind == FD_BENCH_DISTILL ? (int64_t)b->spec.batch * FD_BENCH_CYCLE : b->spec.batch;
}

int64_t fd_bench_passes(const fd_bench *b) {
    int64_t runs = (fd_bench_images(b) + b->pass - 1) / b->pass;
    return b->spec.kind == FD_BENCH_GENERATE ? runs * fd_sampler_evaluations(&b->sampler) : runs;
}

fd_exec *fd_bench_exec(fd_bench *b) {
    if (b->feature_net) return fd_feature_net_exec(b->feature_net);
    if (b->distill) return NULL;
    return b->spec.kind == FD_BENCH_TRAIN ? b->step.view.e : fd_denoiser_exec(b->denoiser);
}

size_t fd_bench_bytes(fd_bench *b) {
    if (b->distill) return fd_bench_distill_bytes(b->distill);
    const fd_plan_summary s = fd_exec_summary(fd_bench_exec(b));
    return s.act_bytes + s.input_bytes;
}
