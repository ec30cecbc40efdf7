#include "train/view.h"

#include <string.h>

static fd_status record(fd_ctx *ctx, const fd_view_spec *spec, fd_view *v) {
    const fd_net_config *c = &v->net->config;
    int n = spec->n, r = c->resolution;
    FD_TRY(fd_graph_new(ctx, &v->g));
    fd_nn_init(&v->nn, v->g, &v->net->params, spec->dtype);
    v->x = v->io.x = fd_graph_input(v->g, "x", (fd_shape){n, c->image_channels, r, r}, FD_F32);
    v->k = fd_precond_inputs(v->g, "", n);
    if (c->label_dim) v->io.labels = fd_graph_input(v->g, "labels", (fd_shape){n, c->label_dim, 1, 1}, FD_F32);
    if (c->augment_dim && spec->augment)
        v->io.augment = fd_graph_input(v->g, "augment", (fd_shape){n, c->augment_dim, 1, 1}, FD_F32);
    if (c->dropout > 0 && spec->dropout) v->io.counter = fd_graph_input(v->g, "counter", (fd_shape){n, 2, 1, 1}, FD_I32);
    v->io.dropout_seed = spec->dropout_seed;
    for (int i = 0; i < spec->ntaps; i++) v->io.taps[i] = spec->taps[i];
    v->io.ntaps = spec->ntaps;
    v->io.features_only = spec->features_only;
    FD_TRY(fd_precond_build(&v->nn, c, &v->k, &v->io, &v->D));
    fd_graph_keep(v->g, v->D);
    v->forward_end = fd_graph_position(v->g);
    FD_NEW(ctx, &v->arena, v->coef, 4 * n);
    FD_NEW(ctx, &v->arena, v->index, 2 * n);
    return FD_OK;
}

fd_status fd_view_open(fd_ctx *ctx, fd_net *net, const fd_view_spec *spec, fd_view *v) {
    memset(v, 0, sizeof *v);
    v->net = net;
    v->n = spec->n;
    fd_status s = record(ctx, spec, v);
    if (s != FD_OK) fd_view_close(v);
    return s;
}

fd_status fd_view_plan(fd_ctx *ctx, fd_view *v, const fd_backend *backend, fd_pool *pool) {
    return fd_exec_new(ctx, v->g, &(fd_exec_options){.backend = backend, .pool = pool}, &v->e);
}

void fd_view_close(fd_view *v) {
    fd_exec_free(v->e);
    fd_graph_free(v->g);
    fd_arena_free(&v->arena);
    memset(v, 0, sizeof *v);
}

/* Labels and augmentation: absent means zeros. */
static fd_status fill_vector(fd_ctx *ctx, fd_view *v, fd_val input, const float *data) {
    if (!input) return FD_OK;
    return data ? fd_exec_write(ctx, v->e, input, data) : fd_exec_fill(ctx, v->e, input, 0);
}

fd_status fd_view_fill(fd_ctx *ctx, fd_view *v, const float *x, const double *sigma, const float *labels, const float *augment) {
    float *skip = v->coef, *out = skip + v->n, *in = out + v->n, *noise = in + v->n;
    fd_precond_coefficients(&v->net->config, sigma, v->n, skip, out, in, noise);
    FD_TRY(fd_exec_write(ctx, v->e, v->x, x));
    FD_TRY(fd_exec_write(ctx, v->e, v->k.c_in, in));
    FD_TRY(fd_exec_write(ctx, v->e, v->k.c_noise, noise));
    if (v->D) {
        FD_TRY(fd_exec_write(ctx, v->e, v->k.c_skip, skip));
        FD_TRY(fd_exec_write(ctx, v->e, v->k.c_out, out));
    }
    FD_TRY(fill_vector(ctx, v, v->io.labels, labels));
    return fill_vector(ctx, v, v->io.augment, augment);
}

fd_status fd_view_count_samples(fd_ctx *ctx, fd_view *v, uint64_t first) {
    if (!v->io.counter) return FD_OK;
    for (int i = 0; i < v->n; i++) {
        v->index[2 * i] = (uint32_t)(first + (uint64_t)i);
        v->index[2 * i + 1] = (uint32_t)((first + (uint64_t)i) >> 32);
    }
    return fd_exec_write(ctx, v->e, v->io.counter, v->index);
}
