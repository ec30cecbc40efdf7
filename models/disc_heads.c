/* Discriminator heads of f-distill (algorithms.md 1.7): one small convolutional net per tapped feature map.
 *
 *   while the map is 8 or larger: conv 4x4 stride 2 padding 1, GroupNorm, SiLU
 *   conv 4x4 stride 4, GroupNorm, SiLU      (a map of 4 to 7 pixels → 1)
 *   conv 1x1 → one logit
 *
 * With a label_dim, heads judge an image as one of its class (projection, arXiv 1802.05637): to the logit is added the inner product
 * of what the 1x1 convolution sees with a vector for the class, label.weight [width,label_dim].
 *
 * With head_norm none the norms are left out, and their entries in the Sequential.
 *
 * CIFAR-10 (256 channels at 32, 16, 8): 9,444,867 parameters; ImageNet-64 (768 at 8): 18,879,745.
 * Initialised as torch.nn.Conv2d does: weight and bias uniform in ±1/sqrt(fan_in).
 */
#include <math.h>

#include "models/models.h"

/* The heads' own rule: C/4 groups up to 32 channels, else the largest divisor of C up to 32 (48 channels: 24). */
static int group_count(int c) {
    if (c <= 32) return c / 4 > 1 ? c / 4 : 1;
    int g = 32;
    while (c % g) g--;
    return g;
}

int fd_heads_group_channels(int width) { return width / group_count(width); }

static fd_val conv(fd_nn *nn, int *index, fd_val x, int cout, int k, int stride, int pad) {
    char name[16];
    if (!x) return 0;
    snprintf(name, sizeof name, "%d", (*index)++);
    double bound = 1 / sqrt((double)nn->g->val[x].s.c * k * k);
    fd_nn_conv_spec s = {.k = k, .stride = stride, .pad = pad, .start = {FD_INIT_UNIFORM, bound, bound}};
    return fd_nn_conv(nn, name, x, cout, &s);
}

static fd_val stage(fd_nn *nn, int *index, fd_val x, int c, fd_head_norm norm, int stride, int pad) {
    char name[16];
    x = conv(nn, index, x, c, 4, stride, pad);
    if (norm == FD_HEAD_NORM_NONE) {
        ++*index;
        return fd_silu(nn->g, x);
    }
    snprintf(name, sizeof name, "%d", *index);
    *index += 2;     /* norm and SiLU are entries of their own in the Sequential */
    return fd_nn_group_norm(nn, name, x, 0, FD_NORM_PLAIN, group_count(c), 1e-5f, true);
}

static fd_val head(fd_nn *nn, fd_val x, fd_val labels, int c, fd_head_norm norm, int res) {
    int index = 0;
    for (; res >= 8; res /= 2) x = stage(nn, &index, x, c, norm, 2, 1);
    x = stage(nn, &index, x, c, norm, 4, 0);
    fd_val logit = fd_cast(nn->g, conv(nn, &index, x, 1, 1, 1, 0), FD_F32);
    if (!labels) return logit;
    const fd_nn_start start = {FD_INIT_UNIFORM, 1 / sqrt((double)c), 0};
    fd_val row = fd_nn_linear(nn, "label", labels, c, false, start);
    return fd_add(nn->g, logit, fd_dot_rows(nn->g, x, row), 1, 1);
}

fd_status fd_heads_build(fd_nn *nn, const fd_net_config *c, const fd_val *feats, fd_val labels, fd_val *logits) {
    *logits = 0;
    FD_TRY(fd_net_config_check(nn->ctx, c));
    if (!fd_graph_ok(nn->g)) return nn->ctx->code;
    for (int i = 0; i < c->ntap; i++) {
        fd_shape s = nn->g->val[feats[i]].s;
        if (s.c != c->tap_channels[i] || s.h != c->tap_resolutions[i] || s.w != s.h)
            return FD_FAIL(nn->ctx, FD_E_SHAPE,
                           "discriminator head %d: feature map is %lldx%lldx%lld, the head wants %dx%dx%d", i,
                           (long long)s.c, (long long)s.h, (long long)s.w, c->tap_channels[i], c->tap_resolutions[i],
                           c->tap_resolutions[i]);
        int mark = fd_nn_enter(nn, "discriminator_heads.%d", i);
        fd_val y = head(nn, feats[i], c->label_dim ? labels : 0, c->head_width ? c->head_width : c->tap_channels[i], c->head_norm,
                        c->tap_resolutions[i]);
        fd_nn_leave(nn, mark);
        *logits = i ? fd_concat(nn->g, *logits, y) : y;
    }
    return fd_graph_ok(nn->g) ? FD_OK : nn->ctx->code;
}
