/* Feature network for Fréchet distances on small sets: a classifier whose global mean is the feature vector.
 *
 * num_blocks = 0: one 3x3 convolution and SiLU per entry of channels; every one after the first halves the map while
 * that is larger than 4. num_blocks > 0: a 3x3 convolution to channels[0], then per entry num_blocks residual blocks
 * (norm, SiLU, conv, norm, SiLU, conv), halving in the same places, then norm and SiLU.
 * One linear layer per attribute on the global mean. Neither EDM's nor anybody's weights fit it: it is trained here.
 */
#include <math.h>

#include "models/unet.h"

static const float box[] = {1, 1};
/* He initialisation for SiLU's rough halving of the variance. */
static const fd_nn_start he = {FD_INIT_KAIMING_NORMAL, 1.4142135623730951, 0};

static fd_val norm(fd_nn *nn, const char *name, fd_val x) {
    return x ? fd_nn_group_norm(nn, name, x, 0, FD_NORM_PLAIN, fd_group_count(nn->g->val[x].s.c), 1e-5f, true) : 0;
}

static fd_val residual(fd_nn *nn, const char *name, fd_val x, int cout, bool down) {
    if (!x) return 0;
    int mark = fd_nn_enter(nn, "%s", name);
    fd_nn_resample r = down ? FD_RESAMPLE_DOWN : FD_RESAMPLE_NONE;
    fd_val y = fd_nn_conv(nn, "conv0", norm(nn, "norm0", x), cout,
                          &(fd_nn_conv_spec){.k = 3, .resample = r, .taps = box, .ntaps = 2, .start = he});
    y = fd_nn_conv(nn, "conv1", norm(nn, "norm1", y), cout,
                   &(fd_nn_conv_spec){.k = 3, .start = {FD_INIT_ZERO, 0, 0}});
    if (down || nn->g->val[x].s.c != cout)
        x = fd_nn_conv(nn, "skip", x, cout,
                       &(fd_nn_conv_spec){.k = nn->g->val[x].s.c != cout ? 1 : 0,
                                          .resample = r,
                                          .taps = box,
                                          .ntaps = 2,
                                          .start = {FD_INIT_KAIMING_NORMAL, 1, 0}});
    x = fd_nn_named(nn, fd_add(nn->g, x, y, 1, 1), NULL);
    fd_nn_leave(nn, mark);
    return x;
}

static fd_val trunk(fd_nn *nn, const fd_net_config *c, fd_val x) {
    char name[64];
    int res = c->resolution;
    if (c->num_blocks) x = fd_nn_conv(nn, "conv", x, c->channels[0], &(fd_nn_conv_spec){.k = 3, .start = he});
    for (int i = 0; i < c->nchannels; i++) {
        bool down = i > 0 && res > 4 && res % 2 == 0;
        if (down) res /= 2;
        if (!c->num_blocks) {
            snprintf(name, sizeof name, "conv%d", i);
            fd_nn_conv_spec s = {.k = 3, .stride = down ? 2 : 1, .pad = 1, .start = he};
            x = fd_silu(nn->g, fd_nn_conv(nn, name, x, c->channels[i], &s));
        }
        for (int j = 0; j < c->num_blocks; j++) {
            snprintf(name, sizeof name, "stage%d.block%d", i, j);
            x = residual(nn, name, x, c->channels[i], down && j == 0);
        }
    }
    return c->num_blocks ? norm(nn, "out_norm", x) : x;
}

fd_status fd_classifier_build(fd_nn *nn, const fd_net_config *c, fd_val x, fd_val *features, fd_val *logits) {
    FD_TRY(fd_net_config_check(nn->ctx, c));
    if (!fd_graph_ok(nn->g)) return nn->ctx->code;
    fd_shape s = nn->g->val[x].s;
    if (s.c != c->image_channels || s.h != c->resolution || s.w != c->resolution)
        return FD_FAIL(nn->ctx, FD_E_SHAPE,
                       "feature network: images are %lldx%lldx%lld, it wants %dx%dx%d channels, height, width",
                       (long long)s.c, (long long)s.h, (long long)s.w, c->image_channels, c->resolution,
                       c->resolution);
    fd_val f = fd_mean_hw(nn->g, trunk(nn, c, fd_cast(nn->g, x, nn->dt)));
    *features = f;
    int64_t d = c->channels[c->nchannels - 1];
    fd_init zero = {.kind = FD_INIT_ZERO}, one = {.kind = FD_INIT_ONE, .scale = 1};
    fd_nn_param(nn, "features", "mean", 1, &d, true, &zero);
    fd_nn_param(nn, "features", "std", 1, &d, true, &one);
    for (int i = 0; i < c->nclasses; i++) {
        char name[32];
        snprintf(name, sizeof name, "heads.%d", i);
        fd_nn_start start = {FD_INIT_KAIMING_NORMAL, 1, 0};
        if (logits) logits[i] = fd_nn_linear(nn, name, f, c->classes[i], true, start);
        else fd_nn_linear_declare(nn, name, (int)d, c->classes[i], true, start);
    }
    return fd_graph_ok(nn->g) ? FD_OK : nn->ctx->code;
}
