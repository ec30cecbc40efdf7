/* Shape rules: what every operation refuses, with the text a person reads; and the table made from ops.def. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "graph/build.h"
#include "graph/op.h"

/* Records one node whose inputs have these shapes ("2,3,8,8 16,3,3,3; b and i after a shape: bf16, i32; - : absent). */
static void expect(fd_op op, const char *shapes, fd_attr attr, const char *text) {
    fd_ctx ctx = {0};
    fd_graph *g;
    fd_val in[FD_MAX_IN] = {0};
    char copy[256], *rest = copy;
    int n = 0;
    assert_int_equal(fd_graph_new(&ctx, &g), FD_OK);
    fd_graph_scope(g, "here");
    snprintf(copy, sizeof copy, "%s", shapes);
    for (char *word; (word = strsep(&rest, " "));) {
        long long s[4];
        char type = 'f';
        if (*word == '-') {
            n++;
            continue;
        }
        assert_true(sscanf(word, "%lld,%lld,%lld,%lld%c", &s[0], &s[1], &s[2], &s[3], &type) >= 4);
        in[n++] = fd_graph_input(g, "v", (fd_shape){s[0], s[1], s[2], s[3]},
                                 type == 'b' ? FD_BF16 : type == 'i' ? FD_I32 : FD_F32);
    }
    fd_val v = fd_graph_node(g, op, in, &attr, NULL);
    if (!text) {
        if (!v) fail_msg("%s: %s", fd_op_get(op)->name, ctx.message);
    } else {
        assert_int_equal(v, 0);
        assert_false(fd_graph_ok(g));
        assert_int_equal(ctx.code, FD_E_SHAPE);
        if (!strstr(ctx.message, text)) fail_msg("'%s' does not hold '%s'", ctx.message, text);
        if (!strstr(ctx.message, " in 'here': ")) fail_msg("'%s' does not name the scope", ctx.message);
    }
    fd_graph_free(g);
}

static void convolutions(void **state) {
    (void)state;
    fd_attr a = {.stride = 1, .pad = 1, .pad_w = 1}, none = {0};
    expect(FD_OP_conv2d, "2,3,8,8 16,3,3,3 1,16,1,1", a, NULL);
    expect(FD_OP_conv2d, "8,4,32,32 16,3,3,3 -", a,
           "conv2d in 'here': x must have as many channels as w has inputs: x [8,4,32,32], w [16,3,3,3]");
    expect(FD_OP_conv2d, "2,3,8,8 16,3,3,3 1,8,1,1", a, "b must have one number per output of w");
    expect(FD_OP_conv2d, "2,3,2,2 16,3,5,5 -", a, "the window is larger than the padded picture");
    expect(FD_OP_conv2d, "2,3,8,8 16,3,3,3 -", none, "stride must be at least 1");
    expect(FD_OP_conv2d, "2,3,8,8i 16,3,3,3 -", a, "x must be f32 or bf16 and w f32: x [2,3,8,8] i32");
    expect(FD_OP_conv2d, "2,3,8,8 16,3,3,3b -", a, "w f32");
    fd_attr size = {.stride = 2, .pad = 1, .pad_w = 1, .h = 8, .w = 9};
    expect(FD_OP_conv2d_bwd_x, "2,16,4,4 16,3,4,4", size, NULL);
    size.h = 12;
    expect(FD_OP_conv2d_bwd_x, "2,16,4,4 16,3,4,4", size, "does not give dy");
    expect(FD_OP_conv2d_bwd_x, "2,8,4,4 16,3,4,4", size, "dy must have as many channels as w has outputs");
    expect(FD_OP_conv2d_bwd_w, "2,16,8,8 2,3,8,8", a, "dw must be the gradient of a parameter");
    expect(FD_OP_linear, "2,8,1,1 4,8,1,1 1,4,1,1", none, NULL);
    expect(FD_OP_linear, "2,8,2,1 4,8,1,1 -", none, "x must be one vector per sample");
    expect(FD_OP_linear, "2,9,1,1 4,8,1,1 -", none, "x must have as many channels as w has inputs");
    expect(FD_OP_linear, "2,8,1,1 4,8,1,1 1,8,1,1", none, "b must have one number per output of w");
    expect(FD_OP_linear_bwd_x, "2,8,1,1 4,8,1,1", none, "dy must have as many channels as w has outputs");
}

static void norm_and_attention(void **state) {
    (void)state;
    fd_attr a = {.groups = 4, .eps = 1e-5f}, add = a, scale = a;
    add.mode = FD_NORM_ADD;
    scale.mode = FD_NORM_SCALE_SHIFT;
    expect(FD_OP_group_norm, "2,16,4,4 1,16,1,1 1,16,1,1 -", a, NULL);
    expect(FD_OP_group_norm, "2,16,4,4b 1,16,1,1 1,16,1,1 2,32,1,1", scale, NULL);
    expect(FD_OP_group_norm, "2,18,4,4 1,18,1,1 1,18,1,1 -", a, "must divide into the groups");
    expect(FD_OP_group_norm, "2,16,4,4 1,8,1,1 1,16,1,1 -", a, "gamma and beta must have one number per channel");
    expect(FD_OP_group_norm, "2,16,4,4 1,16,1,1 1,16,1,1 2,16,1,1", a, "e and the mode disagree");
    expect(FD_OP_group_norm, "2,16,4,4 1,16,1,1 1,16,1,1 -", add, "e and the mode disagree");
    expect(FD_OP_group_norm, "2,16,4,4 1,16,1,1 1,16,1,1 2,32,1,1", add, "e must be [N,C] of x");
    expect(FD_OP_group_norm, "2,16,4,4 1,16,1,1 1,16,1,1 1,32,1,1", scale, "e must be [N,2C] of x");
    a.eps = 0;
    expect(FD_OP_group_norm, "2,16,4,4 1,16,1,1 1,16,1,1 -", a, "eps must be positive");
    expect(FD_OP_attention, "2,24,4,4", (fd_attr){.heads = 2}, NULL);
    expect(FD_OP_attention, "2,20,4,4", (fd_attr){.heads = 2}, "must be a multiple of 3 times the heads");
    expect(FD_OP_attention, "2,24,4,4", (fd_attr){0}, "must be a multiple of 3 times the heads");
    expect(FD_OP_attention_bwd, "2,8,4,4 2,24,4,4 2,8,4,4 2,2,15,1", (fd_attr){.heads = 2}, "lse must be");
    expect(FD_OP_attention_bwd, "2,8,4,4 2,24,4,4 2,4,4,4 2,2,16,1", (fd_attr){.heads = 2}, "dy and y must be");
}

static void moving_data(void **state) {
    (void)state;
    fd_attr down = {.ntaps = 4, .pad = 1}, none = {0};
    expect(FD_OP_resample, "2,8,4,6", down, NULL);
    expect(FD_OP_resample, "2,8,5,6", down, "height and width of x must be even to be halved");
    expect(FD_OP_resample, "2,8,1,1", down, "x is too small");
    expect(FD_OP_resample, "2,8,8,8", none, "the filter must have 2 or 4 taps");
    expect(FD_OP_concat, "2,8,4,4 2,3,4,4", none, NULL);
    expect(FD_OP_concat, "2,8,4,4 1,8,4,4", none, "x and y must agree in samples");
    expect(FD_OP_concat, "2,8,4,4 2,8,4,4b", none, "the same type");
    expect(FD_OP_concat, "2,8,4,4 2,3,4,4 2,1,4,4", none, NULL);
    expect(FD_OP_concat, "2,8,4,4 2,3,4,4 2,1,5,4", none, "x and y must agree in samples");
    expect(FD_OP_relu, "2,8,4,4i", none, "x must be f32 or bf16");
    expect(FD_OP_relu_bwd, "2,8,4,4 2,8,4,5", none, "dy and y must have the same shape");
    fd_attr pool = {.window = 3, .stride = 1, .pad = 1, .pad_w = 1};
    expect(FD_OP_max_pool, "2,8,4,4", pool, NULL);
    expect(FD_OP_avg_pool, "2,8,1,1", pool, NULL);
    expect(FD_OP_max_pool, "2,8,4,4i", pool, "x must be f32 or bf16");
    expect(FD_OP_max_pool, "2,8,4,4", none, "window and stride must be at least 1");
    pool.pad_w = 2;
    expect(FD_OP_avg_pool, "2,8,4,4", pool, "the border must be at most half a window");
    pool.pad_w = 0;
    expect(FD_OP_avg_pool, "2,8,4,2", pool, "the window is larger than the padded picture");
    expect(FD_OP_slice, "2,8,4,4", (fd_attr){.c0 = 4, .c1 = 9}, "the channels asked for are not all there");
    expect(FD_OP_slice, "2,8,4,4", (fd_attr){.c0 = 4, .c1 = 4}, "the channels asked for are not all there");
    expect(FD_OP_add, "2,8,4,4 2,8,4,5", none, "x and y must have the same shape");
    expect(FD_OP_mix_rows, "2,8,4,4 - 2,1,1,1 -", none, NULL);
    expect(FD_OP_mix_rows, "2,8,4,4 2,8,4,4 2,1,1,1 -", none, "y and b go together");
    expect(FD_OP_mix_rows, "2,8,4,4 - 1,1,1,1 -", none, "a must be one f32 number per sample");
    expect(FD_OP_mix_rows, "2,8,4,4 2,8,1,1 2,1,1,1 2,1,1,1", none, "y must have the shape of x");
    expect(FD_OP_cast, "2,8,4,4", none, "x and y must be f32 or bf16");
    expect(FD_OP_cast, "2,8,4,4i", (fd_attr){.dt_set = 1}, "x and y must be f32 or bf16");
    expect(FD_OP_broadcast_rows, "2,1,1,1", none, "the size of y (c1, h, w) must be positive");
    expect(FD_OP_broadcast_hw, "2,1,2,1", (fd_attr){.h = 2, .w = 2}, "g must be one vector per sample");
}

static void inputs_and_losses(void **state) {
    (void)state;
    fd_attr none = {0};
    expect(FD_OP_noise_embed, "2,1,1,1 -", (fd_attr){.c1 = 16}, NULL);
    expect(FD_OP_noise_embed, "2,1,1,1 -", (fd_attr){.c1 = 15}, "must be even and positive");
    expect(FD_OP_noise_embed, "2,1,1,1 -", (fd_attr){.c1 = 2, .endpoint = 1}, "cannot include the endpoint");
    expect(FD_OP_noise_embed, "2,1,1,1 1,16,1,1", (fd_attr){.c1 = 16}, "freqs must have half as many numbers");
    expect(FD_OP_noise_embed, "2,2,1,1 -", (fd_attr){.c1 = 16}, "c must be one f32 number per sample");
    expect(FD_OP_dropout, "2,8,4,4 2,2,1,1i", (fd_attr){.p = 0.5f}, NULL);
    expect(FD_OP_dropout, "2,8,4,4 2,2,1,1i", (fd_attr){.p = 1}, "p must be in [0, 1)");
    expect(FD_OP_dropout, "2,8,4,4 2,2,1,1", (fd_attr){.p = 0.5f}, "counter must be two i32 words per sample");
    expect(FD_OP_sq_err, "2,3,4,4 2,3,4,5 2,1,1,1", none, "d and y must have the same shape");
    expect(FD_OP_sq_err, "2,3,4,4 2,3,4,4 1,1,1,1", none, "w must be one f32 number per sample");
    expect(FD_OP_dot_rows, "2,8,1,1 2,8,1,1", none, NULL);
    expect(FD_OP_dot_rows, "2,8,1,1 2,9,1,1", none, "x and y must have the same shape");
    expect(FD_OP_dot_rows, "2,8,1,1 2,8,1,1i", none, "x and y must be f32 or bf16");
    expect(FD_OP_softmax_xent, "2,10,1,1 2,9,1,1", none, "logits and target must be vectors of the same size");
    expect(FD_OP_silu, "2,8,4,4i", none, "x must be f32 or bf16");
    expect(FD_OP_silu_bwd, "2,8,4,4 2,8,4,5", none, "dy and x must have the same shape");
    expect(FD_OP_softplus, "2,8,4,4i", none, "x must be f32 or bf16");
}

static void table(void **state) {
    (void)state;
    for (int op = 0; op < FD_OP_COUNT; op++) {
        const fd_op_info *info = fd_op_get((fd_op)op);
        assert_int_equal(fd_op_by_name(info->name), op);
        assert_true(info->nin >= 1 && info->nin <= FD_MAX_IN && info->nout >= 1 && info->nout <= FD_MAX_OUT);
        for (int k = 0; k < info->nin; k++) assert_non_null(info->in_name[k]);
        for (int k = 0; k < info->nout; k++) assert_non_null(info->out_name[k]);
        assert_non_null(info->infer);
        assert_non_null(info->ref);
    }
    assert_int_equal(fd_op_by_name("conv3d"), FD_OP_COUNT);
    assert_null(fd_op_get(FD_OP_COUNT));
    const fd_op_info *norm = fd_op_get(FD_OP_group_norm_bwd);
    assert_int_equal(norm->nin, 7);
    assert_int_equal(norm->nout, 4);
    assert_string_equal(norm->in_name[4], "e_");
}

/* The numbers of a plan: 2 multiply-adds per weight and output pixel, the same forwards and backwards. */
static void flops(void **state) {
    (void)state;
    fd_ctx ctx = {0};
    fd_graph *g;
    fd_params p;
    int index;
    fd_init init = {0};
    fd_params_init(&p);
    assert_int_equal(fd_graph_new(&ctx, &g), FD_OK);
    assert_int_equal(fd_params_declare(&ctx, &p, "w", 4, (int64_t[]){16, 3, 3, 3}, false, &init, &index), FD_OK);
    fd_val x = fd_graph_input(g, "x", (fd_shape){2, 3, 8, 8}, FD_F32), dx;
    fd_val y = fd_conv2d(g, x, fd_graph_param(g, &p, index), 0, 1, 1);
    fd_val dy = fd_graph_input(g, "dy", (fd_shape){2, 16, 8, 8}, FD_F32);
    assert_int_equal(fd_graph_backward(g, 1, &y, &dy, 1, (fd_params *[]){&p}, 1, &x, &dx), FD_OK);
    assert_int_equal(g->nnode, 3);
    for (int i = 0; i < 3; i++) assert_true(fd_op_flops(g, &g->node[i]) == 2.0 * 2 * 64 * 16 * 27);
    fd_graph_free(g);
    fd_params_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions), cmocka_unit_test(norm_and_attention), cmocka_unit_test(moving_data),
        cmocka_unit_test(inputs_and_losses), cmocka_unit_test(table), cmocka_unit_test(flops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
