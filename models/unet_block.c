/* The residual block of EDM's UNets (networks.py: UNetBlock), and the small parts both networks share.
 *
 *   y  = conv0[resample](silu(norm0(x)));   e = affine(emb)
 *   y  = silu(norm1(y + e))                                   Song
 *   y  = silu(norm1(y) * (1 + e[:C]) + e[C:])                 ADM
 *   x' = (conv1(dropout(y)) + skip(x)) * skip_scale
 *   x" = (attention(x') + x') * skip_scale                    blocks with attention: the scale acts twice
 */
#include "models/unet.h"

fd_val fd_unet_block(fd_unet *u, const char *name, fd_val x, int cout, fd_nn_resample resample, bool attention) {
    fd_nn *nn = u->nn;
    fd_graph *g = nn->g;
    uint32_t id = u->dropout_id++;
    if (!x || !fd_graph_ok(g)) return 0;
    int cin = (int)g->val[x].s.c;
    int mark = fd_nn_enter(nn, "%s", name);
    fd_nn_conv_spec up_or_down = {.k = 3, .resample = resample, .taps = u->c->resample_filter, .ntaps = u->c->ntaps,
                                  .start = u->start};
    fd_val y = fd_nn_group_norm(nn, "norm0", x, 0, FD_NORM_PLAIN, fd_group_count(cin), u->eps, true);
    y = fd_nn_conv(nn, "conv0", y, cout, &up_or_down);
    fd_val e = fd_nn_linear(nn, "affine", u->emb, u->adaptive ? 2 * cout : cout, true, u->start);
    y = fd_nn_group_norm(nn, "norm1", y, e, u->adaptive ? FD_NORM_SCALE_SHIFT : FD_NORM_ADD, fd_group_count(cout),
                         u->eps, true);
    if (u->c->dropout > 0 && u->io->counter)
        y = fd_dropout(g, y, u->io->counter, (float)u->c->dropout, u->io->dropout_seed, id);
    y = fd_nn_conv(nn, "conv1", y, cout, &(fd_nn_conv_spec){.k = 3, .start = u->start_zero});
    fd_val skip = x;
    if (cin != cout || resample != FD_RESAMPLE_NONE) {
        fd_nn_conv_spec s = up_or_down;
        s.k = cin != cout || u->resample_proj ? 1 : 0;
        skip = fd_nn_conv(nn, "skip", x, cout, &s);
    }
    fd_graph_scope(g, "%s", nn->prefix + (strncmp(nn->prefix, "model.", 6) == 0 ? 6 : 0));
    y = fd_add(g, y, skip, u->skip_scale, u->skip_scale);
    int heads = !attention ? 0 : u->channels_per_head ? cout / u->channels_per_head : 1;
    if (heads) {
        fd_nn_attention_spec a = {.heads = heads,
                                  .groups = fd_group_count(cout),
                                  .eps = u->eps,
                                  .skip_scale = u->skip_scale,
                                  .qkv = u->start_attn,
                                  .proj = u->start_zero};
        y = fd_nn_attention(nn, y, &a);
    }
    fd_nn_named(nn, y, NULL);
    fd_nn_leave(nn, mark);
    return y;
}

fd_val fd_unet_mapping(fd_unet *u, fd_val e) {
    fd_nn *nn = u->nn;
    int emb = u->c->model_channels * u->c->channel_mult_emb;
    e = fd_nn_linear(nn, "map_layer0", e, emb, true, u->start);
    e = fd_silu(nn->g, e);
    return fd_nn_linear(nn, "map_layer1", e, emb, true, u->start);
}

bool fd_unet_attends(const fd_net_config *c, int resolution) {
    for (int i = 0; i < c->nattn; i++)
        if (c->attn_resolutions[i] == resolution) return true;
    return false;
}

void fd_unet_push(fd_unet *u, fd_val x) { u->skips[u->nskips++] = x; }

fd_val fd_unet_join(fd_unet *u, fd_val x) { return fd_concat(u->nn->g, x, u->skips[--u->nskips]); }

bool fd_unet_tap(fd_unet *u, int level, fd_val x) {
    fd_unet_io *io = u->io;
    if (u->ntapped < io->ntaps && io->taps[u->ntapped] == level) io->feats[u->ntapped++] = x;
    return io->features_only && u->ntapped == io->ntaps;
}

static fd_status check_inputs(fd_nn *nn, const fd_net_config *c, const fd_unet_io *io) {
    fd_shape s = nn->g->val[io->x].s;
    if (!io->x || !io->c_noise) return FD_FAIL(nn->ctx, FD_E_ARG, "network: image or noise level input is missing");
    if (s.c != c->image_channels || s.h != c->resolution || s.w != c->resolution)
        return FD_FAIL(nn->ctx, FD_E_SHAPE,
                       "network: image input is %lldx%lldx%lld, the network wants %dx%dx%d channels, "
                       "height, width",
                       (long long)s.c, (long long)s.h, (long long)s.w, c->image_channels, c->resolution,
                       c->resolution);
    if (c->label_dim && !io->labels)
        return FD_FAIL(nn->ctx, FD_E_ARG, "network: has %d classes but got no label input (all zero means no class)",
                       c->label_dim);
    if (!c->label_dim && io->labels) return FD_FAIL(nn->ctx, FD_E_ARG, "network: is unconditional but got labels");
    if (io->labels && nn->g->val[io->labels].s.c != c->label_dim)
        return FD_FAIL(nn->ctx, FD_E_SHAPE, "network: labels have %lld entries, the network has %d classes",
                       (long long)nn->g->val[io->labels].s.c, c->label_dim);
    if (io->augment && nn->g->val[io->augment].s.c != c->augment_dim)
        return FD_FAIL(nn->ctx, FD_E_SHAPE, "network: augmentation vector has %lld entries, the network takes %d",
                       (long long)nn->g->val[io->augment].s.c, c->augment_dim);
    if (io->features_only && io->ntaps < 1)
        return FD_FAIL(nn->ctx, FD_E_ARG, "network: features wanted but no level tapped");
    for (int i = 0; i < io->ntaps; i++)
        if (io->taps[i] < 0 || io->taps[i] >= c->levels || (i && io->taps[i] <= io->taps[i - 1]))
            return FD_FAIL(nn->ctx, FD_E_ARG, "network: tapped levels must ascend within 0 … %d", c->levels - 1);
    return FD_OK;
}

fd_status fd_unet_build(fd_nn *nn, const fd_net_config *c, fd_unet_io *io) {
    FD_TRY(fd_net_config_check(nn->ctx, c));
    if (!fd_is_unet(c->family))
        return FD_FAIL(nn->ctx, FD_E_ARG, "network: family %s is no UNet", fd_family_name(c->family));
    if (!fd_graph_ok(nn->g)) return nn->ctx->code;
    FD_TRY(check_inputs(nn, c, io));
    fd_unet u = {.nn = nn, .c = c, .io = io};
    io->F = 0;
    int mark = fd_nn_enter(nn, "model");
    fd_status s = c->family == FD_FAMILY_ADM ? fd_dhariwal_unet(&u) : fd_song_unet(&u);
    fd_nn_leave(nn, mark);
    FD_TRY(s);
    return fd_graph_ok(nn->g) ? FD_OK : nn->ctx->code;
}
