/* A convolution with its ReLU inside equals one followed by a ReLU: values, and gradients of picture, weights and bias. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "cpu/cpu.h"
#include "graph/build.h"
#include "run/exec.h"

enum { N = 2, C = 16, K = 32, SIDE = 9, MOST = N * K * SIDE * SIDE };

typedef struct { float y[MOST], dx[MOST], g[K * C * 9 + 64 + K]; int64_t ny, nx; } result;

static void compute(const fd_backend *backend, bool fused, int stride, int pad, int pad_w, int s, result *out) {
    fd_ctx ctx = {0};
    fd_graph *g;
    fd_exec *e;
    fd_params p;
    int w, b;
    fd_init one = {.kind = FD_INIT_NORMAL, .scale = 0.1};
    fd_params_init(&p);
    assert_int_equal(fd_graph_new(&ctx, &g), FD_OK);
    assert_int_equal(fd_params_declare(&ctx, &p, "w", 4, (int64_t[]){K, C, 3, s}, false, &one, &w), FD_OK);
    assert_int_equal(fd_params_declare(&ctx, &p, "b", 1, (int64_t[]){K}, false, &one, &b), FD_OK);
    fd_val x = fd_graph_input(g, "x", (fd_shape){N, C, SIDE, SIDE}, FD_F32), gx;
    fd_val y = fd_conv2d_act(g, x, fd_graph_param(g, &p, w), fd_graph_param(g, &p, b), stride, pad, pad_w, fused);
    if (!fused) y = fd_relu(g, y);
    fd_val dy = fd_graph_input(g, "dy", g->val[y].s, FD_F32);
    fd_params *trained[] = {&p};
    assert_int_equal(fd_graph_backward(g, 1, &y, &dy, 1, trained, 1, &x, &gx), FD_OK);
    fd_graph_keep(g, y);
    fd_graph_keep(g, gx);
    assert_int_equal(fd_params_freeze(&ctx, &p), FD_OK);
    assert_int_equal(fd_params_need_grads(&ctx, &p), FD_OK);
    fd_params_initialise(&p, 3);
    assert_int_equal(fd_exec_new(&ctx, g, &(fd_exec_options){.backend = backend}, &e), FD_OK);
    static float data[MOST];
    fd_rng_normals(&(fd_rng){9, FD_RNG_TEST, 0}, 0, MOST, data);
    assert_int_equal(fd_exec_write(&ctx, e, x, data), FD_OK);
    assert_int_equal(fd_exec_write(&ctx, e, dy, data), FD_OK);
    assert_int_equal(fd_exec_run(&ctx, e, 0, -1), FD_OK);
    out->ny = fd_count(g->val[y].s);
    out->nx = fd_count(g->val[x].s);
    assert_int_equal(fd_exec_read(&ctx, e, y, out->y), FD_OK);
    assert_int_equal(fd_exec_read(&ctx, e, gx, out->dx), FD_OK);
    assert_true(p.trained <= (int64_t)FD_COUNT(out->g));
    memcpy(out->g, p.g, sizeof(float) * (size_t)p.trained);
    fd_exec_free(e);
    fd_graph_free(g);
    fd_params_free(&p);
}

static void fused_equals_two_steps(void **state) {
    (void)state;
    static const int shape[][4] = {{1, 1, 1, 3}, {1, 0, 0, 3}, {2, 0, 0, 3}, {1, 1, 0, 1}};   /* stride, pads, width */
    static result one, two;
    const fd_backend *backend[] = {fd_backend_reference(), fd_backend_cpu()};
    for (size_t i = 0; i < FD_COUNT(shape); i++)
        for (size_t k = 0; k < FD_COUNT(backend); k++) {
            const int *s = shape[i];
            memset(&one, 0, sizeof one);
            memset(&two, 0, sizeof two);
            compute(backend[k], true, s[0], s[1], s[2], s[3], &one);
            compute(backend[k], false, s[0], s[1], s[2], s[3], &two);
            int64_t zeros = 0;
            for (int64_t j = 0; j < one.ny; j++) zeros += one.y[j] == 0;
            assert_true(zeros > one.ny / 4 && zeros < one.ny * 3 / 4);      /* both sides of the kink are met */
            assert_memory_equal(one.y, two.y, sizeof(float) * (size_t)one.ny);
            assert_memory_equal(one.dx, two.dx, sizeof(float) * (size_t)one.nx);
            assert_memory_equal(one.g, two.g, sizeof one.g);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(fused_equals_two_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
