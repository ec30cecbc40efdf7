/* DhariwalUNet: ADM (EDM networks.py DhariwalUNet; Dhariwal & Nichol 2021; algorithms.md 3.3).
 *
 * Parameters that must come out for ImageNet-64 with 1,000 classes: 295,899,267.
 *
 * Traps: the embedding is [cos | sin] and positional frequencies stop short of the end point; the label layer has no
 * bias and is added after map_layer1; the first convolution already has model_channels * mult[0] outputs; every block
 * at an attention resolution attends, with C/64 heads, and blocks narrower than 64 channels not at all; resampling
 * blocks have a weightless skip; eps is 1e-5.
 */
#include <math.h>
#include <stdio.h>

#include "models/unet.h"

static fd_val embed(fd_unet *u) {
    fd_nn *nn = u->nn;
    const fd_net_config *c = u->c;
    fd_graph_scope(nn->g, "map_noise");
    fd_val e = fd_noise_embed(nn->g, u->io->c_noise, 0, c->model_channels, FD_EMBED_COS_SIN, false);
    fd_nn_start zero = {FD_INIT_ZERO, 0, 0};
    if (c->augment_dim && u->io->augment)
        e = fd_add(nn->g, e, fd_nn_linear(nn, "map_augment", u->io->augment, c->model_channels, false, zero), 1, 1);
    else if (c->augment_dim)
        fd_nn_linear_declare(nn, "map_augment", c->augment_dim, c->model_channels, false, zero);
    e = fd_unet_mapping(u, e);
    if (c->label_dim) {
        fd_nn_start start = {FD_INIT_KAIMING_NORMAL, sqrt(c->label_dim), 0};
        fd_val l =
            fd_nn_linear(nn, "map_label", u->io->labels, c->model_channels * c->channel_mult_emb, false, start);
        e = fd_add(nn->g, e, l, 1, 1);
    }
    return fd_silu(nn->g, e);
}

static fd_val encode(fd_unet *u, bool *done) {
    const fd_net_config *c = u->c;
    fd_val x = u->io->x;
    char name[64];
    int mark = fd_nn_enter(u->nn, "enc"), width = c->model_channels * c->channel_mult[0];
    for (int level = 0; level < c->levels && !*done; level++) {
        int res = c->resolution >> level;
        if (level == 0) {
            snprintf(name, sizeof name, "%dx%d_conv", res, res);
            x = fd_nn_conv(u->nn, name, x, width, &(fd_nn_conv_spec){.k = 3, .start = u->start});
        } else {
            snprintf(name, sizeof name, "%dx%d_down", res, res);
            x = fd_unet_block(u, name, x, width, FD_RESAMPLE_DOWN, false);
        }
        fd_unet_push(u, x);
        width = c->model_channels * c->channel_mult[level];
        for (int i = 0; i < c->num_blocks; i++) {
            snprintf(name, sizeof name, "%dx%d_block%d", res, res, i);
            x = fd_unet_block(u, name, x, width, FD_RESAMPLE_NONE, fd_unet_attends(c, res));
            fd_unet_push(u, x);
        }
        *done = fd_unet_tap(u, level, x);
    }
    fd_nn_leave(u->nn, mark);
    return x;
}

static fd_val decode(fd_unet *u, fd_val x) {
    const fd_net_config *c = u->c;
    char name[64];
    int mark = fd_nn_enter(u->nn, "dec");
    for (int level = c->levels - 1; level >= 0; level--) {
        int res = c->resolution >> level, width = c->model_channels * c->channel_mult[level];
        if (level == c->levels - 1) {
            snprintf(name, sizeof name, "%dx%d_in0", res, res);
            x = fd_unet_block(u, name, x, width, FD_RESAMPLE_NONE, true);
            snprintf(name, sizeof name, "%dx%d_in1", res, res);
            x = fd_unet_block(u, name, x, width, FD_RESAMPLE_NONE, false);
        } else {
            snprintf(name, sizeof name, "%dx%d_up", res, res);
            x = fd_unet_block(u, name, x, c->model_channels * c->channel_mult[level + 1], FD_RESAMPLE_UP, false);
        }
        for (int i = 0; i <= c->num_blocks; i++) {
            snprintf(name, sizeof name, "%dx%d_block%d", res, res, i);
            x = fd_unet_block(u, name, fd_unet_join(u, x), width, FD_RESAMPLE_NONE, fd_unet_attends(c, res));
        }
    }
    fd_nn_leave(u->nn, mark);
    int last = c->model_channels * c->channel_mult[0];
    x = fd_nn_group_norm(u->nn, "out_norm", x, 0, FD_NORM_PLAIN, fd_group_count(last), u->eps, true);
    return fd_nn_conv(u->nn, "out_conv", x, fd_out_channels(c), &(fd_nn_conv_spec){.k = 3, .start = u->start_zero});
}

fd_status fd_dhariwal_unet(fd_unet *u) {
    u->start = (fd_nn_start){FD_INIT_KAIMING_UNIFORM, sqrt(1.0 / 3), sqrt(1.0 / 3)};
    u->start_zero = (fd_nn_start){FD_INIT_ZERO, 0, 0};
    u->start_attn = u->start;
    u->eps = 1e-5f;
    u->skip_scale = 1;
    u->adaptive = true;
    u->channels_per_head = 64;
    bool done = false;
    u->emb = embed(u);
    fd_val x = encode(u, &done);
    if (!done) u->io->F = decode(u, x);
    return fd_graph_ok(u->nn->g) ? FD_OK : u->nn->ctx->code;
}
