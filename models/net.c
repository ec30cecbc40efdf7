#include "models/net.h"

#include <stdio.h>
#include <string.h>

#include "base/formula.h"
#include "models/inception.h"
#include "models/net_file.h"

/* One graph with every input present touches every tensor; only the shapes matter, so the batch is one. */
static fd_status declare(fd_nn *nn, const fd_net_config *c) {
    fd_graph *g = nn->g;
    fd_shape image = {1, c->image_channels, c->resolution, c->resolution};
    if (c->family == FD_FAMILY_HEADS) {
        fd_val feats[FD_MAX_HEADS], logits;
        for (int i = 0; i < c->ntap; i++)
            feats[i] = fd_graph_input(g, "feature",
                                      (fd_shape){1, c->tap_channels[i], c->tap_resolutions[i], c->tap_resolutions[i]},
                                      FD_F32);
        fd_val labels = c->label_dim ? fd_graph_input(g, "labels", (fd_shape){1, c->label_dim, 1, 1}, FD_F32) : 0;
        return fd_heads_build(nn, c, feats, labels, &logits);
    }
    fd_val x = fd_graph_input(g, "x", image, FD_F32);
    if (c->family == FD_FAMILY_CLASSIFIER) {
        fd_val features, logits[FD_MAX_HEADS];
        return fd_classifier_build(nn, c, x, &features, logits);
    }
    if (c->family == FD_FAMILY_INCEPTION) {
        fd_val features, logits;
        return fd_inception_build(nn, false, x, &features, &logits, NULL);
    }
    fd_unet_io io = {.x = x, .c_noise = fd_graph_input(g, "c_noise", (fd_shape){1, 1, 1, 1}, FD_F32)};
    if (c->label_dim) io.labels = fd_graph_input(g, "labels", (fd_shape){1, c->label_dim, 1, 1}, FD_F32);
    if (c->augment_dim) io.augment = fd_graph_input(g, "augment", (fd_shape){1, c->augment_dim, 1, 1}, FD_F32);
    return fd_unet_build(nn, c, &io);
}

fd_status fd_net_declare(fd_ctx *ctx, const fd_net_config *config, fd_params *set) {
    fd_graph *g;
    fd_nn nn;
    FD_TRY(fd_net_config_check(ctx, config));
    FD_TRY(fd_graph_new(ctx, &g));
    fd_nn_init(&nn, g, set, FD_F32);
    fd_status s = declare(&nn, config);
    fd_graph_free(g);
    return s;
}

void fd_net_filter(const fd_init *f, float *w) {
    float sum = 0;
    for (int a = 0; a < f->ntaps; a++) sum += f->taps[a];
    for (int a = 0; a < f->ntaps; a++)
        for (int b = 0; b < f->ntaps; b++) w[a * f->ntaps + b] = f->taps[a] * f->taps[b] / (sum * sum);
}

static void set_filters(fd_params *p) {
    for (int i = 0; i < p->n; i++)
        if (p->list[i].init.kind == FD_INIT_FILTER) fd_net_filter(&p->list[i].init, p->w + p->list[i].offset);
}

/* A net with declared tensors but no memory for them. */
static fd_status blank(fd_ctx *ctx, const fd_net_config *config, fd_net **out) {
    fd_net *net = fd_alloc(ctx, sizeof *net);
    *out = net;
    if (!net) return FD_E_NOMEM;
    net->config = *config;
    fd_params_init(&net->params);
    return fd_net_declare(ctx, config, &net->params);
}

static fd_status allocate(fd_ctx *ctx, fd_net *net) {
    FD_TRY(fd_params_freeze(ctx, &net->params));
    set_filters(&net->params);
    return FD_OK;
}

fd_status fd_net_new(fd_ctx *ctx, const fd_net_config *config, fd_net **out) {
    fd_status s = blank(ctx, config, out);
    if (s == FD_OK) s = allocate(ctx, *out);
    if (s == FD_OK) return FD_OK;
    fd_net_free(*out);
    *out = NULL;
    return s;
}

void fd_net_free(fd_net *net) {
    if (!net) return;
    fd_params_free(&net->params);
    fd_free(net);
}

fd_status fd_net_clone(fd_ctx *ctx, const fd_net *net, fd_net **out) {
    FD_TRY(fd_net_new(ctx, &net->config, out));
    (*out)->meta = net->meta;
    memcpy((*out)->params.w, net->params.w, sizeof(float) * (size_t)net->params.total);
    return FD_OK;
}

void fd_net_init_random(fd_net *net, uint64_t seed) {
    fd_params_initialise(&net->params, seed);
    fd_params_touch(&net->params);
}

fd_status fd_net_fill_formula(fd_ctx *ctx, fd_net *net, const char *salt, float head_scale) {
    fd_params *p = &net->params;
    for (int i = 0; i < p->n; i++) {
        const fd_param *t = &p->list[i];
        if (t->init.kind == FD_INIT_FILTER) continue;
        FD_TRY(fd_formula_fill(ctx, t->name, salt, t->rank, t->dim, p->w + t->offset));
        bool last = net->config.family == FD_FAMILY_HEADS && t->rank == 4 && t->dim[2] == 1;
        for (int64_t k = 0; last && k < t->count; k++) p->w[t->offset + k] *= head_scale;
    }
    fd_params_touch(p);
    return FD_OK;
}
