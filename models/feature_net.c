/* A classifier planned for one batch size, giving standardised features. */
#include "models/net.h"

struct fd_feature_net {
    fd_net *net;
    int batch;
    fd_graph *g;
    fd_exec *e;
    fd_val x, features, logits[FD_MAX_HEADS];
};

int fd_feature_net_dim(const fd_net_config *c) { return c->channels[c->nchannels - 1]; }

static fd_status build(fd_ctx *ctx, fd_feature_net *f, const fd_run_options *o) {
    const fd_net_config *c = &f->net->config;
    fd_nn nn;
    FD_TRY(fd_graph_new(ctx, &f->g));
    fd_nn_init(&nn, f->g, &f->net->params, o->dtype);
    f->x = fd_graph_input(f->g, "x", (fd_shape){f->batch, c->image_channels, c->resolution, c->resolution}, FD_F32);
    FD_TRY(fd_classifier_build(&nn, c, f->x, &f->features, f->logits));
    fd_graph_keep(f->g, f->features);
    for (int i = 0; i < c->nclasses; i++) fd_graph_keep(f->g, f->logits[i]);
    fd_exec_options e = {.backend = o->backend ? o->backend : fd_backend_cpu(), .pool = o->pool};
    return fd_exec_new(ctx, f->g, &e, &f->e);
}

fd_status fd_feature_net_new(fd_ctx *ctx, fd_net *net, int batch, const fd_run_options *o, fd_feature_net **out) {
    static const fd_run_options defaults = {0};
    *out = NULL;
    if (batch < 1) return FD_FAIL(ctx, FD_E_ARG, "feature network: batch is %d, need at least 1", batch);
    if (net->config.family != FD_FAMILY_CLASSIFIER)
        return FD_FAIL(ctx, FD_E_ARG, "feature network: family %s is no classifier",
                       fd_family_name(net->config.family));
    fd_feature_net *f = fd_alloc(ctx, sizeof *f);
    if (!f) return FD_E_NOMEM;
    f->net = net;
    f->batch = batch;
    fd_status s = build(ctx, f, o ? o : &defaults);
    if (s != FD_OK) fd_feature_net_free(f);
    else *out = f;
    return s;
}

void fd_feature_net_free(fd_feature_net *f) {
    if (!f) return;
    fd_exec_free(f->e);
    fd_graph_free(f->g);
    fd_free(f);
}

fd_status fd_feature_net_run(fd_ctx *ctx, fd_feature_net *f, const float *x, float *features, float *const *logits) {
    const fd_params *p = &f->net->params;
    const float *mean = p->w + p->list[fd_params_find(p, "features.mean")].offset;
    const float *std = p->w + p->list[fd_params_find(p, "features.std")].offset;
    int d = fd_feature_net_dim(&f->net->config);
    FD_TRY(fd_exec_write(ctx, f->e, f->x, x));
    FD_TRY(fd_exec_run(ctx, f->e, 0, -1));
    FD_TRY(fd_exec_read(ctx, f->e, f->features, features));
    for (int i = 0; i < f->batch; i++)
        for (int k = 0; k < d; k++)
            features[(size_t)i * (size_t)d + (size_t)k] =
                (features[(size_t)i * (size_t)d + (size_t)k] - mean[k]) / std[k];
    for (int i = 0; logits && i < f->net->config.nclasses; i++)
        FD_TRY(fd_exec_read(ctx, f->e, f->logits[i], logits[i]));
    return FD_OK;
}
