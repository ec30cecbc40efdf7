/* A UNet with its preconditioning, planned for one batch size. */
#include <stdio.h>

#include "models/net.h"

struct fd_denoiser {
    fd_net *net;
    int batch;
    fd_graph *g;
    fd_exec *e;
    fd_unet_io io;
    fd_precond k;
    fd_val D;
    float *coefficients;     /* [4][batch] */
    float *zeros;            /* [batch][max(label_dim, augment_dim)] */
};

static fd_status build(fd_ctx *ctx, fd_denoiser *d, const fd_run_options *o) {
    const fd_net_config *c = &d->net->config;
    fd_nn nn;
    int n = d->batch;
    FD_TRY(fd_graph_new(ctx, &d->g));
    fd_nn_init(&nn, d->g, &d->net->params, o->dtype);
    d->io.x = fd_graph_input(d->g, "x", (fd_shape){n, c->image_channels, c->resolution, c->resolution}, FD_F32);
    if (c->label_dim) d->io.labels = fd_graph_input(d->g, "labels", (fd_shape){n, c->label_dim, 1, 1}, FD_F32);
    if (o->augment && c->augment_dim)
        d->io.augment = fd_graph_input(d->g, "augment", (fd_shape){n, c->augment_dim, 1, 1}, FD_F32);
    memcpy(d->io.taps, o->taps, sizeof o->taps);
    d->io.ntaps = o->ntaps;
    d->io.features_only = o->features_only;
    d->k = fd_precond_inputs(d->g, "", n);
    FD_TRY(fd_precond_build(&nn, c, &d->k, &d->io, &d->D));
    fd_graph_keep(d->g, d->D);
    for (int i = 0; i < o->ntaps; i++) fd_graph_keep(d->g, d->io.feats[i]);
    fd_exec_options e = {.backend = o->backend ? o->backend : fd_backend_cpu(), .pool = o->pool};
    return fd_exec_new(ctx, d->g, &e, &d->e);
}

fd_status fd_denoiser_new(fd_ctx *ctx, fd_net *net, int batch, const fd_run_options *o, fd_denoiser **out) {
    static const fd_run_options defaults = {0};
    *out = NULL;
    if (batch < 1) return FD_FAIL(ctx, FD_E_ARG, "denoiser: batch is %d, need at least 1", batch);
    fd_denoiser *d = fd_alloc(ctx, sizeof *d);
    if (!d) return FD_E_NOMEM;
    d->net = net;
    d->batch = batch;
    int wide = net->config.label_dim > net->config.augment_dim ? net->config.label_dim : net->config.augment_dim;
    fd_status s = build(ctx, d, o ? o : &defaults);
    if (s == FD_OK) {
        d->coefficients = fd_alloc(ctx, fd_mul_size((size_t)batch, 4 * sizeof(float)));
        d->zeros = fd_alloc(ctx, fd_mul_size((size_t)batch * (size_t)wide, sizeof(float)));
        if (!d->coefficients || !d->zeros) s = FD_E_NOMEM;
    }
    if (s != FD_OK) {
        fd_denoiser_free(d);
        return s;
    }
    *out = d;
    return FD_OK;
}

void fd_denoiser_free(fd_denoiser *d) {
    if (!d) return;
    fd_exec_free(d->e);
    fd_graph_free(d->g);
    fd_free(d->coefficients);
    fd_free(d->zeros);
    fd_free(d);
}

fd_status fd_denoiser_run(fd_ctx *ctx, fd_denoiser *d, const float *x, const double *sigma, const float *labels,
                          const float *augment, float *D) {
    int n = d->batch;
    float *k = d->coefficients;
    for (int i = 0; i < n; i++)
        if (!(sigma[i] > 0))
            return FD_FAIL(ctx, FD_E_ARG, "denoiser: noise level %g of sample %d is not positive", sigma[i], i);
    if (augment && !d->io.augment)
        return FD_FAIL(ctx, FD_E_ARG, "denoiser: got an augmentation vector but was made without one");
    fd_precond_coefficients(&d->net->config, sigma, n, k, k + n, k + 2 * n, k + 3 * n);
    FD_TRY(fd_exec_write(ctx, d->e, d->io.x, x));
    FD_TRY(fd_exec_write(ctx, d->e, d->k.c_in, k + 2 * n));
    FD_TRY(fd_exec_write(ctx, d->e, d->k.c_noise, k + 3 * n));
    if (d->D) {
        FD_TRY(fd_exec_write(ctx, d->e, d->k.c_skip, k));
        FD_TRY(fd_exec_write(ctx, d->e, d->k.c_out, k + n));
    }
    if (d->io.labels) FD_TRY(fd_exec_write(ctx, d->e, d->io.labels, labels ? labels : d->zeros));
    if (d->io.augment) FD_TRY(fd_exec_write(ctx, d->e, d->io.augment, augment ? augment : d->zeros));
    FD_TRY(fd_exec_run(ctx, d->e, 0, -1));
    return d->D && D ? fd_exec_read(ctx, d->e, d->D, D) : FD_OK;
}

fd_status fd_denoiser_feature(fd_ctx *ctx, fd_denoiser *d, int i, float *out) {
    if (i < 0 || i >= d->io.ntaps) return FD_FAIL(ctx, FD_E_ARG, "denoiser: feature %d was not asked for", i);
    return fd_exec_read(ctx, d->e, d->io.feats[i], out);
}

fd_shape fd_denoiser_shape(const fd_denoiser *d) { return d->g->val[d->io.x].s; }
int fd_denoiser_label_dim(const fd_denoiser *d) { return d->net->config.label_dim; }
const fd_net *fd_denoiser_net(const fd_denoiser *d) { return d->net; }
fd_exec *fd_denoiser_exec(fd_denoiser *d) { return d->e; }
