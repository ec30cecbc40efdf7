/* Inception-v3, the TensorFlow graph of 2015-12-05 that FID is defined on, for 299 x 299 pictures in [-1, 1].
 *
 * It differs from the Inception-v3 of torchvision: no bias and batch norm with eps 1e-3 after every convolution, average
 * pools that do not count the border, a max pool in the last block, 1008 logits. Tensor names are those of pytorch-fid's
 * and torch-fidelity's ports. Running statistics are constants here, so a convolution and its batch norm are folded into
 * one convolution with a bias before use:
 *   w' = w a,  b' = beta - mean a,  a = gamma / sqrt(var + 1e-3)
 * Source: Szegedy et al. 2015 (arXiv 1512.00567); Heusel et al. 2017 for its use.
 */
#include <math.h>
#include <string.h>

#include "models/inception.h"

#define BN_EPS 1e-3

typedef struct { fd_nn *nn; bool folded; fd_inception_taps *taps; } net;

/* "<module>.<leaf>" of a convolution: as in the file, or folded. */
static fd_val weights(net *n, const char *name, int64_t cin, int64_t cout, int kh, int kw, fd_val *bias) {
    static const char *const vectors[] = {"bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"};
    fd_init start = {.kind = FD_INIT_KAIMING_NORMAL, .scale = 1, .fan_in = cin * kh * kw, .fan_out = cout * kh * kw};
    fd_init zero = {.kind = FD_INIT_ZERO}, one = {.kind = FD_INIT_ONE, .scale = 1};
    fd_val w = fd_nn_param(n->nn, name, "conv.weight", 4, (int64_t[]){cout, cin, kh, kw}, false, &start);
    *bias = n->folded ? fd_nn_param(n->nn, name, "conv.bias", 1, &cout, false, &zero) : 0;
    for (size_t i = 0; !n->folded && i < FD_COUNT(vectors); i++)
        fd_nn_param(n->nn, name, vectors[i], 1, &cout, false, i % 3 == 0 ? &one : &zero);
    return w;
}

/* Convolution, batch norm, ReLU. */
static fd_val conv(net *n, const char *name, fd_val x, int cout, int kh, int kw, int stride, int ph, int pw) {
    fd_graph *g = n->nn->g;
    fd_val b;
    if (!x || !fd_graph_ok(g)) return 0;
    fd_graph_scope(g, "%s%s", n->nn->prefix, name);
    fd_val w = weights(n, name, g->val[x].s.c, cout, kh, kw, &b);
    return w ? fd_conv2d_act(g, x, w, b, stride, ph, pw, true) : 0;
}
/* One that keeps the size, and one without border. */
static fd_val same(net *n, const char *name, fd_val x, int cout, int kh, int kw) {
    return conv(n, name, x, cout, kh, kw, 1, kh / 2, kw / 2);
}
static fd_val valid(net *n, const char *name, fd_val x, int cout, int k, int stride) {
    return conv(n, name, x, cout, k, k, stride, 0, 0);
}

static fd_val average(net *n, fd_val x) { return fd_avg_pool(n->nn->g, x, 3, 1, 1); }

/* Ends a block: its branches side by side, remembered as a tap. */
static fd_val join(net *n, int mark, const fd_val *branch, int count, fd_inception_tap tap) {
    fd_val y = fd_concat_all(n->nn->g, branch, count);
    fd_nn_leave(n->nn, mark);
    if (n->taps) n->taps->v[tap] = y;
    return y;
}

static fd_val block35(net *n, const char *name, fd_val x, int pool, fd_inception_tap tap) {
    int mark = fd_nn_enter(n->nn, "%s", name);
    fd_val b[4] = {same(n, "branch1x1", x, 64, 1, 1)};
    b[1] = same(n, "branch5x5_2", same(n, "branch5x5_1", x, 48, 1, 1), 64, 5, 5);
    b[2] = same(n, "branch3x3dbl_2", same(n, "branch3x3dbl_1", x, 64, 1, 1), 96, 3, 3);
    b[2] = same(n, "branch3x3dbl_3", b[2], 96, 3, 3);
    b[3] = same(n, "branch_pool", average(n, x), pool, 1, 1);
    return join(n, mark, b, 4, tap);
}

static fd_val to17(net *n, fd_val x) {
    int mark = fd_nn_enter(n->nn, "Mixed_6a");
    fd_val b[3] = {valid(n, "branch3x3", x, 384, 3, 2)};
    b[1] = same(n, "branch3x3dbl_2", same(n, "branch3x3dbl_1", x, 64, 1, 1), 96, 3, 3);
    b[1] = valid(n, "branch3x3dbl_3", b[1], 96, 3, 2);
    b[2] = fd_max_pool(n->nn->g, x, 3, 2, 0);
    return join(n, mark, b, 3, FD_INCEPTION_6A);
}

static fd_val block17(net *n, const char *name, fd_val x, int width, fd_inception_tap tap) {
    int mark = fd_nn_enter(n->nn, "%s", name);
    fd_val b[4] = {same(n, "branch1x1", x, 192, 1, 1)};
    b[1] = same(n, "branch7x7_2", same(n, "branch7x7_1", x, width, 1, 1), width, 1, 7);
    b[1] = same(n, "branch7x7_3", b[1], 192, 7, 1);
    b[2] = same(n, "branch7x7dbl_2", same(n, "branch7x7dbl_1", x, width, 1, 1), width, 7, 1);
    b[2] = same(n, "branch7x7dbl_4", same(n, "branch7x7dbl_3", b[2], width, 1, 7), width, 7, 1);
    b[2] = same(n, "branch7x7dbl_5", b[2], 192, 1, 7);
    b[3] = same(n, "branch_pool", average(n, x), 192, 1, 1);
    return join(n, mark, b, 4, tap);
}

static fd_val to8(net *n, fd_val x) {
    int mark = fd_nn_enter(n->nn, "Mixed_7a");
    fd_val b[3] = {valid(n, "branch3x3_2", same(n, "branch3x3_1", x, 192, 1, 1), 320, 3, 2)};
    b[1] = same(n, "branch7x7x3_2", same(n, "branch7x7x3_1", x, 192, 1, 1), 192, 1, 7);
    b[1] = valid(n, "branch7x7x3_4", same(n, "branch7x7x3_3", b[1], 192, 7, 1), 192, 3, 2);
    b[2] = fd_max_pool(n->nn->g, x, 3, 2, 0);
    return join(n, mark, b, 3, FD_INCEPTION_7A);
}

static fd_val block8(net *n, const char *name, fd_val x, bool last, fd_inception_tap tap) {
    int mark = fd_nn_enter(n->nn, "%s", name);
    fd_val b[6] = {same(n, "branch1x1", x, 320, 1, 1)};
    fd_val a = same(n, "branch3x3_1", x, 384, 1, 1);
    b[1] = same(n, "branch3x3_2a", a, 384, 1, 3);
    b[2] = same(n, "branch3x3_2b", a, 384, 3, 1);
    a = same(n, "branch3x3dbl_2", same(n, "branch3x3dbl_1", x, 448, 1, 1), 384, 3, 3);
    b[3] = same(n, "branch3x3dbl_3a", a, 384, 1, 3);
    b[4] = same(n, "branch3x3dbl_3b", a, 384, 3, 1);
    /* The original graph pools by maximum here, unlike all other blocks. */
    b[5] = same(n, "branch_pool", last ? fd_max_pool(n->nn->g, x, 3, 1, 1) : average(n, x), 192, 1, 1);
    return join(n, mark, b, 6, tap);
}

static fd_val tapped(net *n, fd_inception_tap tap, fd_val v) {
    if (n->taps) n->taps->v[tap] = v;
    return v;
}

fd_status fd_inception_build(fd_nn *nn, bool folded, fd_val x, fd_val *features, fd_val *logits,
                             fd_inception_taps *taps) {
    net n = {nn, folded, taps};
    fd_graph *g = nn->g;
    x = fd_cast(g, x, nn->dt);
    x = valid(&n, "Conv2d_2a_3x3", valid(&n, "Conv2d_1a_3x3", x, 32, 3, 2), 32, 3, 1);
    x = tapped(&n, FD_INCEPTION_POOL1, fd_max_pool(g, same(&n, "Conv2d_2b_3x3", x, 64, 3, 3), 3, 2, 0));
    x = valid(&n, "Conv2d_4a_3x3", same(&n, "Conv2d_3b_1x1", x, 80, 1, 1), 192, 3, 1);
    x = tapped(&n, FD_INCEPTION_POOL2, fd_max_pool(g, x, 3, 2, 0));
    x = block35(&n, "Mixed_5b", x, 32, FD_INCEPTION_5B);
    x = block35(&n, "Mixed_5c", x, 64, FD_INCEPTION_5C);
    x = block35(&n, "Mixed_5d", x, 64, FD_INCEPTION_5D);
    x = to17(&n, x);
    x = block17(&n, "Mixed_6b", x, 128, FD_INCEPTION_6B);
    x = block17(&n, "Mixed_6c", x, 160, FD_INCEPTION_6C);
    x = block17(&n, "Mixed_6d", x, 160, FD_INCEPTION_6D);
    x = block17(&n, "Mixed_6e", x, 192, FD_INCEPTION_6E);
    x = to8(&n, x);
    x = block8(&n, "Mixed_7b", x, false, FD_INCEPTION_7B);
    x = block8(&n, "Mixed_7c", x, true, FD_INCEPTION_7C);
    *features = fd_mean_hw(g, x);
    fd_nn_start fc = {FD_INIT_KAIMING_NORMAL, 1, 0};
    if (folded) *logits = fd_nn_linear(nn, "fc", *features, FD_INCEPTION_CLASSES, false, fc);
    else fd_nn_linear_declare(nn, "fc", FD_INCEPTION_FEATURES, FD_INCEPTION_CLASSES, true, fc);
    return fd_graph_ok(g) ? FD_OK : nn->ctx->code;
}

static const float *tensor(const fd_params *p, const char *name, size_t length, const char *leaf) {
    char text[256];
    if (length + strlen(leaf) >= sizeof text) return NULL;
    memcpy(text, name, length);
    strcpy(text + length, leaf);
    int i = fd_params_find(p, text);
    return i < 0 ? NULL : p->w + p->list[i].offset;
}

static fd_status fold_one(fd_ctx *ctx, const fd_params *from, const fd_param *w, fd_params *to) {
    static const char tail[] = "conv.weight";
    const size_t length = strlen(w->name) - strlen(tail);
    const float *gamma = tensor(from, w->name, length, "bn.weight"), *beta = tensor(from, w->name, length, "bn.bias");
    const float *mean = tensor(from, w->name, length, "bn.running_mean");
    const float *var = tensor(from, w->name, length, "bn.running_var");
    float *wf = (float *)tensor(to, w->name, length, tail), *bf = (float *)tensor(to, w->name, length, "conv.bias");
    const int64_t each = w->count / w->dim[0];
    if (!gamma || !beta || !mean || !var || !wf || !bf)
        return FD_FAIL(ctx, FD_E_ARG, "Inception: '%s' has no batch norm to fold", w->name);
    for (int64_t k = 0; k < w->dim[0]; k++) {
        if (!(var[k] >= 0))
            return FD_FAIL(ctx, FD_E_NUMERIC, "Inception: %.*sbn.running_var holds a variance of %g", (int)length, w->name,
                           var[k]);
        const double a = gamma[k] / sqrt(var[k] + BN_EPS);
        for (int64_t i = 0; i < each; i++) wf[k * each + i] = (float)(from->w[w->offset + k * each + i] * a);
        bf[k] = (float)(beta[k] - mean[k] * a);
    }
    return FD_OK;
}

fd_status fd_inception_fold(fd_ctx *ctx, const fd_params *from, fd_params *to) {
    for (int i = 0; i < from->n; i++)
        if (from->list[i].rank == 4) FD_TRY(fold_one(ctx, from, &from->list[i], to));
    const int a = fd_params_find(from, "fc.weight"), b = fd_params_find(to, "fc.weight");
    if (a < 0 || b < 0) return FD_FAIL(ctx, FD_E_ARG, "Inception: 'fc.weight' is missing");
    memcpy(to->w + to->list[b].offset, from->w + from->list[a].offset, sizeof(float) * (size_t)from->list[a].count);
    fd_params_touch(to);
    return FD_OK;
}
