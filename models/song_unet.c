/* SongUNet: DDPM++ and NCSN++ (EDM networks.py SongUNet; Song et al. 2021; algorithms.md 3.2).
 *
 * Parameters that must come out for CIFAR-10 with augment_dim 9: DDPM++ 55,735,299 conditional, 55,733,891 without
 * classes; NCSN++ 56,400,643 and 56,397,827. tests/unit/test_models.c asserts them.
 *
 * Traps: the embedding is [sin | cos] and positional frequencies reach the end point; labels are multiplied by
 * sqrt(classes), and their layer's bias acts even on an all-zero label; decoder attention sits only in the last block
 * of a level and in in0; eps is 1e-6; the skip scale sqrt(1/2) acts twice in blocks with attention.
 */
#include <math.h>
#include <stdio.h>

#include "models/unet.h"

static fd_val embed(fd_unet *u) {
    fd_nn *nn = u->nn;
    const fd_net_config *c = u->c;
    int channels = c->model_channels * c->channel_mult_noise;
    fd_val freqs = 0;
    if (c->embedding_type == FD_EMBEDDING_FOURIER) {
        fd_init f = {.kind = FD_INIT_NORMAL, .scale = 16};
        freqs = fd_nn_param(nn, "map_noise", "freqs", 1, (int64_t[]){channels / 2}, true, &f);
    }
    fd_graph_scope(nn->g, "map_noise");
    fd_val e = fd_noise_embed(nn->g, u->io->c_noise, freqs, channels, FD_EMBED_SIN_COS, true);
    if (c->label_dim) {
        fd_val l = fd_scale(nn->g, u->io->labels, (float)sqrt(c->label_dim));
        e = fd_add(nn->g, e, fd_nn_linear(nn, "map_label", l, channels, true, u->start), 1, 1);
    }
    if (c->augment_dim && u->io->augment)
        e = fd_add(nn->g, e, fd_nn_linear(nn, "map_augment", u->io->augment, channels, false, u->start), 1, 1);
    else if (c->augment_dim)
        fd_nn_linear_declare(nn, "map_augment", c->augment_dim, channels, false, u->start);
    return fd_silu(nn->g, fd_unet_mapping(u, e));
}

/* The image pyramid beside the encoder: brings aux to this level and adds it to x. */
static fd_val join_pyramid(fd_unet *u, fd_val x, fd_val *aux, int res, int width) {
    fd_nn *nn = u->nn;
    const fd_net_config *c = u->c;
    char name[64];
    if (c->encoder_type == FD_CODER_SKIP) {
        snprintf(name, sizeof name, "%dx%d_aux_down", res, res);
        *aux = fd_nn_conv(
            nn, name, *aux, c->image_channels,
            &(fd_nn_conv_spec){.resample = FD_RESAMPLE_DOWN, .taps = c->resample_filter, .ntaps = c->ntaps});
        snprintf(name, sizeof name, "%dx%d_aux_skip", res, res);
        return fd_add(nn->g, x, fd_nn_conv(nn, name, *aux, width, &(fd_nn_conv_spec){.k = 1, .start = u->start}), 1,
                      1);
    }
    snprintf(name, sizeof name, "%dx%d_aux_residual", res, res);
    fd_nn_conv_spec s = {
        .k = 3, .resample = FD_RESAMPLE_DOWN_AFTER, .taps = c->resample_filter, .ntaps = c->ntaps, .start = u->start};
    fd_val y = fd_nn_conv(nn, name, *aux, width, &s);
    float half = (float)sqrt(0.5);
    return *aux = fd_add(nn->g, x, y, half, half);
}

/* Returns the last value, or 0 with *done set when only features were wanted. */
static fd_val encode(fd_unet *u, bool *done) {
    const fd_net_config *c = u->c;
    fd_val x = u->io->x, aux = x;
    char name[64];
    int mark = fd_nn_enter(u->nn, "enc"), width = c->model_channels;
    for (int level = 0; level < c->levels && !*done; level++) {
        int res = c->resolution >> level;
        if (level == 0) {
            snprintf(name, sizeof name, "%dx%d_conv", res, res);
            x = fd_nn_conv(u->nn, name, x, width, &(fd_nn_conv_spec){.k = 3, .start = u->start});
        } else {
            snprintf(name, sizeof name, "%dx%d_down", res, res);
            x = fd_unet_block(u, name, x, width, FD_RESAMPLE_DOWN, false);
            if (c->encoder_type != FD_CODER_STANDARD) x = join_pyramid(u, x, &aux, res, width);
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
    fd_nn *nn = u->nn;
    const fd_net_config *c = u->c;
    fd_val aux = 0;
    char name[64];
    int mark = fd_nn_enter(nn, "dec");
    for (int level = c->levels - 1; level >= 0; level--) {
        int res = c->resolution >> level, width = c->model_channels * c->channel_mult[level];
        if (level == c->levels - 1) {
            snprintf(name, sizeof name, "%dx%d_in0", res, res);
            x = fd_unet_block(u, name, x, width, FD_RESAMPLE_NONE, true);
            snprintf(name, sizeof name, "%dx%d_in1", res, res);
            x = fd_unet_block(u, name, x, width, FD_RESAMPLE_NONE, false);
        } else {
            snprintf(name, sizeof name, "%dx%d_up", res, res);
            int before = c->model_channels * c->channel_mult[level + 1];
            x = fd_unet_block(u, name, x, before, FD_RESAMPLE_UP, false);
        }
        for (int i = 0; i <= c->num_blocks; i++) {
            snprintf(name, sizeof name, "%dx%d_block%d", res, res, i);
            x = fd_unet_block(u, name, fd_unet_join(u, x), width, FD_RESAMPLE_NONE,
                              i == c->num_blocks && fd_unet_attends(c, res));
        }
        if (level > 0 && c->decoder_type != FD_CODER_SKIP) continue;
        if (aux) {
            snprintf(name, sizeof name, "%dx%d_aux_up", res, res);
            aux = fd_nn_conv(
                nn, name, aux, fd_out_channels(c),
                &(fd_nn_conv_spec){.resample = FD_RESAMPLE_UP, .taps = c->resample_filter, .ntaps = c->ntaps});
        }
        snprintf(name, sizeof name, "%dx%d_aux_norm", res, res);
        fd_val y = fd_nn_group_norm(nn, name, x, 0, FD_NORM_PLAIN, fd_group_count(width), u->eps, true);
        snprintf(name, sizeof name, "%dx%d_aux_conv", res, res);
        y = fd_nn_conv(nn, name, y, fd_out_channels(c), &(fd_nn_conv_spec){.k = 3, .start = u->start_zero});
        aux = aux ? fd_add(nn->g, aux, y, 1, 1) : y;
    }
    fd_nn_leave(nn, mark);
    return aux;
}

fd_status fd_song_unet(fd_unet *u) {
    u->start = (fd_nn_start){FD_INIT_XAVIER_UNIFORM, 1, 0};
    u->start_zero = (fd_nn_start){FD_INIT_XAVIER_UNIFORM, 1e-5, 0};
    u->start_attn = (fd_nn_start){FD_INIT_XAVIER_UNIFORM, sqrt(0.2), 0};
    u->eps = 1e-6f;
    u->skip_scale = (float)sqrt(0.5);
    u->resample_proj = true;
    bool done = false;
    u->emb = embed(u);
    fd_val x = encode(u, &done);
    if (!done) u->io->F = decode(u, x);
    return fd_graph_ok(u->nn->g) ? FD_OK : u->nn->ctx->code;
}
