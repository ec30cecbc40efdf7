#include "nn/nn.h"

#include <stdarg.h>
#include <stdio.h>

void fd_nn_init(fd_nn *nn, fd_graph *g, fd_params *set, fd_dtype dt) {
    *nn = (fd_nn){.ctx = g->ctx, .g = g, .set = set, .dt = dt};
}

int fd_nn_enter(fd_nn *nn, const char *fmt, ...) {
    int mark = (int)strlen(nn->prefix);
    size_t room = sizeof nn->prefix - (size_t)mark;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(nn->prefix + mark, room, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n + 2 > room) {
        nn->prefix[mark] = 0;
        nn->g->failed = true;
        FD_FAIL(nn->ctx, FD_E_ARG, "module name under '%s' is longer than %zu characters", nn->prefix, room);
        return mark;
    }
    nn->prefix[mark + n] = '.';
    nn->prefix[mark + n + 1] = 0;
    return mark;
}

void fd_nn_leave(fd_nn *nn, int mark) { nn->prefix[mark] = 0; }

/* "<prefix><name>" without a trailing dot. */
static void full_name(const fd_nn *nn, const char *name, char out[512]) {
    snprintf(out, 512, "%s%s", nn->prefix, name ? name : "");
    size_t n = strlen(out);
    if (n && out[n - 1] == '.') out[n - 1] = 0;
}

fd_val fd_nn_named(fd_nn *nn, fd_val v, const char *name) {
    char text[512];
    if (!v) return 0;
    full_name(nn, name, text);
    fd_graph_name(nn->g, v, text);
    return v;
}

/* The scope of the nodes to come: the module's name without the "model." that every EDM name begins with. */
static void set_scope(fd_nn *nn, const char *name) {
    char text[512];
    full_name(nn, name, text);
    fd_graph_scope(nn->g, "%s", strncmp(text, "model.", 6) == 0 ? text + 6 : text);
}

fd_val fd_nn_param(fd_nn *nn, const char *name, const char *leaf, int rank, const int64_t *dim, bool buffer,
                   const fd_init *init) {
    char module[512], text[600];
    int index;
    if (!fd_graph_ok(nn->g)) return 0;
    full_name(nn, name, module);
    snprintf(text, sizeof text, "%s.%s", module, leaf);
    if (fd_params_declare(nn->ctx, nn->set, text, rank, dim, buffer, init, &index) != FD_OK) {
        nn->g->failed = true;
        return 0;
    }
    return fd_graph_param(nn->g, nn->set, index);
}

/* The initialiser of a weight or bias: EDM draws the bias by the rule of the weight's fans. */
static fd_init starting(fd_nn_start s, double scale, int64_t cin, int64_t cout, int64_t area) {
    fd_init i = {
        .kind = scale == 0 ? FD_INIT_ZERO : s.kind, .scale = scale, .fan_in = cin * area, .fan_out = cout * area};
    return i;
}

static void linear_params(fd_nn *nn, const char *name, int64_t cin, int64_t cout, bool bias, fd_nn_start start,
                          fd_val *w, fd_val *b) {
    fd_init wi = starting(start, start.weight, cin, cout, 1), bi = starting(start, start.bias, cin, cout, 1);
    *w = fd_nn_param(nn, name, "weight", 2, (int64_t[]){cout, cin}, false, &wi);
    *b = bias ? fd_nn_param(nn, name, "bias", 1, (int64_t[]){cout}, false, &bi) : 0;
}

void fd_nn_linear_declare(fd_nn *nn, const char *name, int cin, int cout, bool bias, fd_nn_start start) {
    fd_val w, b;
    linear_params(nn, name, cin, cout, bias, start, &w, &b);
}

fd_val fd_nn_linear(fd_nn *nn, const char *name, fd_val x, int cout, bool bias, fd_nn_start start) {
    fd_val w, b;
    if (!x || !fd_graph_ok(nn->g)) return 0;
    linear_params(nn, name, nn->g->val[x].s.c, cout, bias, start, &w, &b);
    if (!w || (bias && !b)) return 0;
    set_scope(nn, name);
    return fd_nn_named(nn, fd_linear(nn->g, x, w, b), name);
}

/* Nearest-neighbour doubling copies pixels, so a 1x1 convolution may as well run before it, on a quarter of the
 * pixels, with the same result bit for bit. Wider filters mix the bias with the zero border: not for them. */
static bool convolve_before_up(const fd_nn_conv_spec *s) {
    return s->resample == FD_RESAMPLE_UP && s->k == 1 && s->ntaps == 2 && s->taps[0] == s->taps[1];
}

fd_val fd_nn_conv(fd_nn *nn, const char *name, fd_val x, int cout, const fd_nn_conv_spec *s) {
    fd_graph *g = nn->g;
    fd_val w = 0, b = 0;
    if (!x || !fd_graph_ok(g)) return 0;
    if (s->k) {
        int64_t cin = g->val[x].s.c, area = (int64_t)s->k * s->k;
        fd_init wi = starting(s->start, s->start.weight, cin, cout, area);
        fd_init bi = starting(s->start, s->start.bias, cin, cout, area);
        w = fd_nn_param(nn, name, "weight", 4, (int64_t[]){cout, cin, s->k, s->k}, false, &wi);
        b = fd_nn_param(nn, name, "bias", 1, (int64_t[]){cout}, false, &bi);
        if (!w || !b) return 0;
    }
    if (s->resample != FD_RESAMPLE_NONE) {
        fd_init f = {.kind = FD_INIT_FILTER, .scale = 1, .ntaps = s->ntaps};
        memcpy(f.taps, s->taps, sizeof *s->taps * (size_t)s->ntaps);
        if (!fd_nn_param(nn, name, "resample_filter", 4, (int64_t[]){1, 1, s->ntaps, s->ntaps}, true, &f)) return 0;
    }
    set_scope(nn, name);
    int stride = s->stride ? s->stride : 1, pad = s->stride ? s->pad : s->k / 2;
    int fpad = (s->ntaps - 1) / 2;
    bool up = s->resample == FD_RESAMPLE_UP;
    if (s->resample == FD_RESAMPLE_DOWN_AFTER) {
        x = fd_conv2d(g, x, w, b, 1, pad + fpad);      /* the filter sums to one, so the bias may pass through it */
        x = fd_resample(g, x, false, s->taps, s->ntaps, 0);
    } else if (convolve_before_up(s)) {
        x = fd_conv2d(g, x, w, b, stride, pad);
        x = fd_resample(g, x, true, s->taps, s->ntaps, fpad);
    } else {
        if (s->resample != FD_RESAMPLE_NONE) x = fd_resample(g, x, up, s->taps, s->ntaps, fpad);
        if (s->k) x = fd_conv2d(g, x, w, b, stride, pad);
    }
    return fd_nn_named(nn, x, name);
}

fd_val fd_nn_group_norm(fd_nn *nn, const char *name, fd_val x, fd_val e, fd_norm_mode mode, int groups, float eps,
                        bool silu) {
    fd_graph *g = nn->g;
    if (!x || !fd_graph_ok(g)) return 0;
    int64_t c = g->val[x].s.c;
    fd_init one = {.kind = FD_INIT_ONE, .scale = 1}, zero = {.kind = FD_INIT_ZERO};
    fd_val gamma = fd_nn_param(nn, name, "weight", 1, &c, false, &one);
    fd_val beta = fd_nn_param(nn, name, "bias", 1, &c, false, &zero);
    if (!gamma || !beta) return 0;
    set_scope(nn, name);
    if (nn->probe) {
        fd_val bare = mode == FD_NORM_ADD ? fd_group_norm(g, x, gamma, beta, e, mode, groups, eps, false)
                                          : fd_group_norm(g, x, gamma, beta, 0, FD_NORM_PLAIN, groups, eps, false);
        fd_nn_named(nn, bare, name);
        fd_graph_keep(g, bare);
    }
    return fd_group_norm(g, x, gamma, beta, e, mode, groups, eps, silu);
}

fd_val fd_nn_attention(fd_nn *nn, fd_val x, const fd_nn_attention_spec *s) {
    if (!x || !fd_graph_ok(nn->g)) return 0;
    int c = (int)nn->g->val[x].s.c;
    fd_val h = fd_nn_group_norm(nn, "norm2", x, 0, FD_NORM_PLAIN, s->groups, s->eps, false);
    h = fd_nn_conv(nn, "qkv", h, 3 * c, &(fd_nn_conv_spec){.k = 1, .start = s->qkv});
    set_scope(nn, "attention");
    h = fd_attention(nn->g, h, s->heads);
    h = fd_nn_conv(nn, "proj", h, c, &(fd_nn_conv_spec){.k = 1, .start = s->proj});
    set_scope(nn, NULL);
    return fd_add(nn->g, h, x, s->skip_scale, s->skip_scale);
}
