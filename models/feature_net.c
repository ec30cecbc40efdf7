/* A classifier or Inception planned for one batch size. */
#include "models/inception.h"
#include "models/net.h"

struct fd_feature_net {
    fd_net *net;
    fd_params folded;              /* Inception: convolutions with their batch norms in them */
    int batch;
    fd_graph *g;
    fd_exec *e;
    float *staged;                 /* the input on this side, where the backend has memory of its own; else NULL */
    fd_val x, features, logits[FD_MAX_HEADS];
    int nlogits;
    fd_inception_taps taps;
    float *map;                    /* Mixed_6d as read, where spatial features were asked for */
};

int fd_feature_net_dim(const fd_net_config *c) {
    return c->family == FD_FAMILY_INCEPTION ? FD_INCEPTION_FEATURES : c->channels[c->nchannels - 1];
}
int fd_feature_net_classes(const fd_net_config *c) {
    return c->family == FD_FAMILY_INCEPTION ? FD_INCEPTION_CLASSES : c->classes[0];
}
/* Inception's maps are large: a few pictures keep them in the cache. */
int fd_feature_net_batch(const fd_net_config *c) { return c->family == FD_FAMILY_INCEPTION ? 4 : 64; }

static fd_status record_inception(fd_ctx *ctx, fd_feature_net *f, fd_nn *nn) {
    nn->set = &f->folded;
    FD_TRY(fd_inception_build(nn, true, f->x, &f->features, &f->logits[0], &f->taps));
    f->nlogits = 1;
    FD_TRY(fd_params_freeze(ctx, &f->folded));
    return fd_inception_fold(ctx, &f->net->params, &f->folded);
}

static fd_status build(fd_ctx *ctx, fd_feature_net *f, const fd_run_options *o) {
    const fd_net_config *c = &f->net->config;
    fd_nn nn;
    FD_TRY(fd_graph_new(ctx, &f->g));
    fd_nn_init(&nn, f->g, &f->net->params, o->dtype);
    f->x = fd_graph_input(f->g, "x", (fd_shape){f->batch, c->image_channels, c->resolution, c->resolution}, FD_F32);
    if (c->family == FD_FAMILY_INCEPTION) FD_TRY(record_inception(ctx, f, &nn));
    else {
        FD_TRY(fd_classifier_build(&nn, c, f->x, &f->features, f->logits));
        f->nlogits = c->nclasses;
    }
    fd_graph_keep(f->g, f->features);
    for (int i = 0; i < f->nlogits; i++) fd_graph_keep(f->g, f->logits[i]);
    if (o->spatial) {
        const fd_val v = f->taps.v[FD_INCEPTION_6D];
        if (!v) return FD_FAIL(ctx, FD_E_ARG, "feature network: only Inception has the spatial features of sFID");
        fd_graph_keep(f->g, v);
        f->map = fd_alloc(ctx, fd_mul_size((size_t)fd_count(f->g->val[v].s), sizeof *f->map));
        if (!f->map) return FD_E_NOMEM;
    }
    for (int i = 0; o->keep_taps && i < FD_INCEPTION_TAPS; i++) fd_graph_keep(f->g, f->taps.v[i]);
    fd_exec_options e = {.backend = o->backend ? o->backend : fd_backend_cpu(), .pool = o->pool};
    FD_TRY(fd_exec_new(ctx, f->g, &e, &f->e));
    if (!e.backend->device) return FD_OK;
    size_t picture = (size_t)c->image_channels * (size_t)c->resolution * (size_t)c->resolution;
    f->staged = fd_alloc(ctx, fd_mul_size(fd_mul_size((size_t)f->batch, picture), sizeof *f->staged));
    return f->staged ? FD_OK : FD_E_NOMEM;
}

fd_status fd_feature_net_new(fd_ctx *ctx, fd_net *net, int batch, const fd_run_options *o, fd_feature_net **out) {
    static const fd_run_options defaults = {0};
    *out = NULL;
    if (batch < 1) return FD_FAIL(ctx, FD_E_ARG, "feature network: batch is %d, need at least 1", batch);
    if (!fd_is_feature_net(net->config.family))
        return FD_FAIL(ctx, FD_E_ARG, "feature network: family %s gives no features",
                       fd_family_name(net->config.family));
    fd_feature_net *f = fd_alloc(ctx, sizeof *f);
    if (!f) return FD_E_NOMEM;
    f->net = net;
    f->batch = batch;
    fd_params_init(&f->folded);
    fd_status s = build(ctx, f, o ? o : &defaults);
    if (s != FD_OK) fd_feature_net_free(f);
    else *out = f;
    return s;
}

void fd_feature_net_free(fd_feature_net *f) {
    if (!f) return;
    fd_exec_free(f->e);
    fd_graph_free(f->g);
    fd_params_free(&f->folded);
    fd_free(f->staged);
    fd_free(f->map);
    fd_free(f);
}

/* A classifier's features in units of the deviations its file remembers. */
static void standardise(const fd_feature_net *f, float *features) {
    const fd_params *p = &f->net->params;
    const float *mean = p->w + p->list[fd_params_find(p, "features.mean")].offset;
    const float *std = p->w + p->list[fd_params_find(p, "features.std")].offset;
    int d = fd_feature_net_dim(&f->net->config);
    for (int i = 0; i < f->batch; i++)
        for (int k = 0; k < d; k++)
            features[(size_t)i * (size_t)d + (size_t)k] =
                (features[(size_t)i * (size_t)d + (size_t)k] - mean[k]) / std[k];
}

float *fd_feature_net_input(fd_feature_net *f) { return f->staged ? f->staged : fd_exec_buf(f->e, f->x).p; }

fd_status fd_feature_net_run(fd_ctx *ctx, fd_feature_net *f, const float *x, float *features, float *const *logits) {
    if (!x) x = f->staged;
    if (x) FD_TRY(fd_exec_write(ctx, f->e, f->x, x));
    FD_TRY(fd_exec_run(ctx, f->e, 0, -1));
    FD_TRY(fd_exec_read(ctx, f->e, f->features, features));
    if (f->net->config.family == FD_FAMILY_CLASSIFIER) standardise(f, features);
    for (int i = 0; logits && i < f->nlogits; i++)
        if (logits[i]) FD_TRY(fd_exec_read(ctx, f->e, f->logits[i], logits[i]));
    return FD_OK;
}

fd_status fd_feature_net_spatial(fd_ctx *ctx, fd_feature_net *f, float *out) {
    const fd_shape s = f->g->val[f->taps.v[FD_INCEPTION_6D]].s;
    const int64_t area = s.h * s.w;
    FD_TRY(fd_exec_read(ctx, f->e, f->taps.v[FD_INCEPTION_6D], f->map));
    for (int64_t i = 0; i < s.n; i++)
        for (int64_t p = 0; p < area; p++)
            for (int64_t c = 0; c < FD_INCEPTION_SPATIAL_CHANNELS; c++) *out++ = f->map[(i * s.c + c) * area + p];
    return FD_OK;
}

fd_val fd_feature_net_tap(const fd_feature_net *f, int tap) { return f->taps.v[tap]; }
fd_exec *fd_feature_net_exec(fd_feature_net *f) { return f->e; }
