/* build.c — the constructors of graph/build.h: attributes into place, one node each. */
#include "graph/build.h"

#include "graph/op.h"

fd_val fd_conv2d(fd_graph *g, fd_val x, fd_val w, fd_val b, int stride, int pad) {
    fd_val in[] = {x, w, b};
    fd_attr a = {.stride = stride, .pad = pad, .pad_w = pad};
    return fd_graph_node(g, FD_OP_conv2d, in, &a, NULL);
}

fd_val fd_conv2d_act(fd_graph *g, fd_val x, fd_val w, fd_val b, int stride, int pad_h, int pad_w, bool relu) {
    fd_val in[] = {x, w, b};
    fd_attr a = {.stride = stride, .pad = pad_h, .pad_w = pad_w, .act = relu};
    return fd_graph_node(g, FD_OP_conv2d, in, &a, NULL);
}

fd_val fd_linear(fd_graph *g, fd_val x, fd_val w, fd_val b) {
    fd_val in[] = {x, w, b};
    fd_attr a = {0};
    return fd_graph_node(g, FD_OP_linear, in, &a, NULL);
}

fd_val fd_group_norm(fd_graph *g, fd_val x, fd_val gamma, fd_val beta, fd_val e, fd_norm_mode mode, int groups,
                     float eps, bool silu) {
    fd_val in[] = {x, gamma, beta, e};
    fd_attr a = {.groups = groups, .eps = eps, .act = silu, .mode = mode};
    return fd_graph_node(g, FD_OP_group_norm, in, &a, NULL);
}

static fd_val unary(fd_graph *g, fd_op op, fd_val x, fd_attr a) { return fd_graph_node(g, op, &x, &a, NULL); }

fd_val fd_silu(fd_graph *g, fd_val x) { return unary(g, FD_OP_silu, x, (fd_attr){0}); }
fd_val fd_relu(fd_graph *g, fd_val x) { return unary(g, FD_OP_relu, x, (fd_attr){0}); }
fd_val fd_max_pool(fd_graph *g, fd_val x, int window, int stride, int pad) {
    return unary(g, FD_OP_max_pool, x, (fd_attr){.window = window, .stride = stride, .pad = pad, .pad_w = pad});
}
fd_val fd_avg_pool(fd_graph *g, fd_val x, int window, int stride, int pad) {
    return unary(g, FD_OP_avg_pool, x, (fd_attr){.window = window, .stride = stride, .pad = pad, .pad_w = pad});
}
fd_val fd_attention(fd_graph *g, fd_val qkv, int heads) {
    return unary(g, FD_OP_attention, qkv, (fd_attr){.heads = heads});
}

fd_val fd_resample(fd_graph *g, fd_val x, bool up, const float *taps, int ntaps, int pad) {
    fd_attr a = {.up = up, .ntaps = ntaps, .pad = pad, .gain = up ? 4.0f : 1.0f};
    double sum = 0;
    int n = ntaps < (int)FD_COUNT(a.taps) ? ntaps : (int)FD_COUNT(a.taps);   /* other counts fail in the shape rule */
    for (int k = 0; k < n; k++) sum += taps[k];
    for (int k = 0; k < n; k++) a.taps[k] = (float)(taps[k] / sum);
    return unary(g, FD_OP_resample, x, a);
}

fd_val fd_add(fd_graph *g, fd_val x, fd_val y, float a, float b) {
    fd_val in[] = {x, y};
    fd_attr attr = {.a = a, .b = b};
    return fd_graph_node(g, FD_OP_add, in, &attr, NULL);
}

fd_val fd_scale(fd_graph *g, fd_val x, float a) { return unary(g, FD_OP_scale, x, (fd_attr){.a = a}); }

fd_val fd_concat(fd_graph *g, fd_val x, fd_val y) { return fd_concat_all(g, (fd_val[]){x, y}, 2); }

fd_val fd_concat_all(fd_graph *g, const fd_val *x, int n) {
    fd_val in[FD_CONCAT_MAX] = {0};
    for (int k = 0; k < n && k < FD_CONCAT_MAX; k++) {
        if (!x[k]) return 0;                     /* a failure before this: an absent operand would hide it */
        in[k] = x[k];
    }
    fd_attr a = {0};
    return fd_graph_node(g, FD_OP_concat, in, &a, NULL);
}

fd_val fd_slice(fd_graph *g, fd_val x, int c0, int c1) {
    return unary(g, FD_OP_slice, x, (fd_attr){.c0 = c0, .c1 = c1});
}

fd_val fd_mix_rows(fd_graph *g, fd_val x, fd_val y, fd_val a, fd_val b, fd_dtype dt) {
    fd_val in[] = {x, y, a, b};
    fd_attr attr = {.dt_set = 1, .dt = dt};
    return fd_graph_node(g, FD_OP_mix_rows, in, &attr, NULL);
}

fd_val fd_noise_embed(fd_graph *g, fd_val c, fd_val freqs, int channels, fd_embed_mode mode, bool endpoint) {
    fd_val in[] = {c, freqs};
    fd_attr a = {.c1 = channels, .mode = mode, .endpoint = endpoint};
    return fd_graph_node(g, FD_OP_noise_embed, in, &a, NULL);
}

fd_val fd_dropout(fd_graph *g, fd_val x, fd_val counter, float p, uint64_t seed, uint32_t id) {
    if (p == 0) return x;
    fd_val in[] = {x, counter};
    fd_attr a = {.p = p, .seed = seed, .id = id};
    return fd_graph_node(g, FD_OP_dropout, in, &a, NULL);
}

fd_val fd_sq_err(fd_graph *g, fd_val d, fd_val y, fd_val w) {
    fd_val in[] = {d, y, w};
    fd_attr a = {0};
    return fd_graph_node(g, FD_OP_sq_err, in, &a, NULL);
}

fd_val fd_softplus(fd_graph *g, fd_val x, float sign) { return unary(g, FD_OP_softplus, x, (fd_attr){.a = sign}); }
fd_val fd_dot_rows(fd_graph *g, fd_val x, fd_val y) {
    fd_val in[] = {x, y};
    fd_attr a = {0};
    return fd_graph_node(g, FD_OP_dot_rows, in, &a, NULL);
}

fd_val fd_sum_rows(fd_graph *g, fd_val x) { return unary(g, FD_OP_sum_rows, x, (fd_attr){0}); }
fd_val fd_mean_hw(fd_graph *g, fd_val x) { return unary(g, FD_OP_mean_hw, x, (fd_attr){0}); }

fd_val fd_softmax_xent(fd_graph *g, fd_val logits, fd_val target) {
    fd_val in[] = {logits, target};
    fd_attr a = {0};
    return fd_graph_node(g, FD_OP_softmax_xent, in, &a, NULL);
}

fd_val fd_cast(fd_graph *g, fd_val x, fd_dtype dt) {
    if (x > 0 && g->val[x].dt == dt) return x;
    return unary(g, FD_OP_cast, x, (fd_attr){.dt_set = 1, .dt = dt});
}
