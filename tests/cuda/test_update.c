/* The optimiser where the weights are: on the (emulated) device it leaves the same bits as train/optim.c, and it is known at
 * every moment which of the two copies of a block is the newest. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "train/update.h"

enum { TRAINED = 150001, TOTAL = TRAINED + 13, EMAS = 6 };      /* more averages than one pass of the kernel takes */

typedef struct { float w[TOTAL], g[TRAINED], m[TRAINED], v[TRAINED], ema[EMAS][TOTAL]; } blocks;
static blocks host, there;
static const fd_range ranges[] = {{0, 70003}, {70100, 0}, {70200, TRAINED - 70200}};
static const fd_adam adam = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.1};
static fd_ctx ctx;
static const fd_backend *cuda;

static void start(blocks *b) {
    memset(b, 0, sizeof *b);
    for (int i = 0; i < TOTAL; i++) b->w[i] = sinf((float)i * 0.37f);
    for (int k = 0; k < EMAS; k++) memcpy(b->ema[k], b->w, sizeof b->w);
}

static fd_params params_of(blocks *b) { return (fd_params){.w = b->w, .g = b->g, .trained = TRAINED, .total = TOTAL, .version = 1}; }

static void emas_of(blocks *b, fd_ema *out) {
    for (int k = 0; k < EMAS; k++) out[k] = (fd_ema){b->ema[k], 0.5 + 0.09 * k};
}

/* As a pass of the executor leaves it: the gradient of step `step`, in both places. */
static void gradient(int step) {
    for (int i = 0; i < TRAINED; i++) host.g[i] = sinf((float)i * 0.77f + (float)step) * expf(6 * sinf((float)i * 0.011f));
    fd_twin *g;
    assert_int_equal(fd_twin_get(&ctx, cuda->device, there.g, sizeof there.g, &g), FD_OK);
    assert_true(g->newer);                                        /* cleared there */
    assert_int_equal(cuda->device->put(&ctx, g->p, host.g, sizeof host.g), FD_OK);
    fd_twin_put(g);
}

static void same(const char *what, const float *a, const float *b, int n) {
    for (int i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof a[i])) fail_msg("%s[%d]: %.9g on the host, %.9g on the device", what, i, a[i], b[i]);
}

static void step_on_both(fd_updater *u, fd_params *p, int step) {
    fd_ema emas[EMAS];
    fd_grad_stats want, got;
    assert_int_equal(fd_updater_clear(&ctx, u, p), FD_OK);
    gradient(step);
    want = fd_grad_measure(ranges, 3, host.g);
    assert_int_equal(fd_updater_measure(&ctx, u, ranges, 3, p, &got), FD_OK);
    assert_true(fabs(got.norm - want.norm) <= 1e-13 * want.norm);      /* doubles, summed in another order */
    const double factor = fd_clip_factor(want.norm, 1);
    emas_of(&host, emas);
    fd_adamw_step(&adam, step, ranges, 3, host.w, host.g, host.m, host.v, factor, emas, EMAS);
    emas_of(&there, emas);
    const uint64_t before = p->version;
    assert_int_equal(fd_updater_adamw(&ctx, u, &adam, step, ranges, 3, p, there.m, there.v, factor, emas, EMAS), FD_OK);
    assert_true(p->version > before);
}

static void compare_all(void) {
    same("w", host.w, there.w, TOTAL);
    same("m", host.m, there.m, TRAINED);
    same("v", host.v, there.v, TRAINED);
    for (int k = 0; k < EMAS; k++) same("average", host.ema[k], there.ema[k], TOTAL);
}

static void same_bits_as_the_host(void **state) {
    start(&host);
    start(&there);
    fd_params p = params_of(&there);
    fd_updater u = {.device = cuda->device};
    fd_ema emas[EMAS];
    for (int step = 1; step <= 3; step++) step_on_both(&u, &p, step);
    for (int i = 0; i < TRAINED; i++) assert_true(there.m[i] == 0);      /* the work was not done here */
    assert_int_equal(fd_twins_to_host(&ctx), FD_OK);
    compare_all();
    /* Averages alone. */
    emas_of(&host, emas);
    for (int k = 0; k < EMAS; k++) fd_ema_update(ranges, 3, host.w, emas[k].a, emas[k].beta);
    emas_of(&there, emas);
    assert_int_equal(fd_updater_average(&ctx, &u, ranges, 3, &p, emas, EMAS), FD_OK);
    assert_int_equal(fd_twins_to_host(&ctx), FD_OK);
    compare_all();
    fd_updater_close(&u);
}

/* The host changes its weights after they were brought home: the next step starts from these. */
static void changed_weights_are_taken(void **state) {
    start(&host);
    start(&there);
    fd_params p = params_of(&there);
    fd_updater u = {.device = cuda->device};
    step_on_both(&u, &p, 1);
    assert_int_equal(fd_twins_to_host(&ctx), FD_OK);
    for (int i = 0; i < TOTAL; i++) host.w[i] = there.w[i] = cosf((float)i);
    fd_params_touch(&p);
    step_on_both(&u, &p, 2);
    assert_int_equal(fd_twins_to_host(&ctx), FD_OK);
    compare_all();
    fd_updater_close(&u);
}

static void nonfinite_gradients_are_found(void **state) {
    start(&host);
    start(&there);
    fd_params p = params_of(&there);
    fd_updater u = {.device = cuda->device};
    fd_grad_stats got;
    assert_int_equal(fd_updater_clear(&ctx, &u, &p), FD_OK);
    gradient(1);
    host.g[70150] = NAN;            /* between the ranges: nobody's */
    fd_twin *g;
    assert_int_equal(fd_twin_get(&ctx, cuda->device, there.g, sizeof there.g, &g), FD_OK);
    assert_int_equal(cuda->device->put(&ctx, g->p, host.g, sizeof host.g), FD_OK);
    assert_int_equal(fd_updater_measure(&ctx, &u, ranges, 3, &p, &got), FD_OK);
    assert_true(isfinite(got.norm) && got.nonfinite == 0 && got.first_nonfinite == -1);
    host.g[90000] = INFINITY;
    host.g[140000] = NAN;
    assert_int_equal(cuda->device->put(&ctx, g->p, host.g, sizeof host.g), FD_OK);
    assert_int_equal(fd_updater_measure(&ctx, &u, ranges, 3, &p, &got), FD_OK);
    assert_true(!isfinite(got.norm));
    assert_int_equal(got.nonfinite, 2);
    assert_int_equal(got.infinite, 1);
    assert_int_equal(got.first_nonfinite, 90000);
    fd_twin_put(g);
    fd_updater_close(&u);
}

/* Without a device the functions are those of optim.h. */
static void on_the_host(void **state) {
    start(&host);
    start(&there);
    fd_params p = params_of(&there);
    fd_updater u = {0};
    fd_ema emas[EMAS];
    fd_grad_stats got;
    there.g[3] = 1;
    assert_int_equal(fd_updater_clear(&ctx, &u, &p), FD_OK);
    assert_true(there.g[3] == 0);
    for (int i = 0; i < TRAINED; i++) host.g[i] = there.g[i] = cosf((float)i * 0.3f);
    assert_int_equal(fd_updater_measure(&ctx, &u, ranges, 3, &p, &got), FD_OK);
    assert_true(got.norm == fd_grad_measure(ranges, 3, host.g).norm);
    emas_of(&host, emas);
    fd_adamw_step(&adam, 1, ranges, 3, host.w, host.g, host.m, host.v, 0.5, emas, EMAS);
    for (int k = 0; k < EMAS; k++) fd_ema_update(ranges, 3, host.w, emas[k].a, emas[k].beta);
    emas_of(&there, emas);
    assert_int_equal(fd_updater_adamw(&ctx, &u, &adam, 1, ranges, 3, &p, there.m, there.v, 0.5, emas, EMAS), FD_OK);
    assert_int_equal(p.version, 2);
    assert_int_equal(fd_updater_average(&ctx, &u, ranges, 3, &p, emas, EMAS), FD_OK);
    compare_all();
    fd_updater_close(&u);
}

static void too_many_blocks_are_refused(void **state) {
    static float many[FD_UPDATER_BLOCKS + 1][4];
    fd_params p = {.w = many[0], .trained = 4, .total = 4, .version = 1};
    fd_updater u = {.device = cuda->device};
    fd_range all = {0, 4};
    for (int k = 1; k <= FD_UPDATER_BLOCKS; k++) {
        fd_ema e = {many[k], 0.5};
        fd_status s = fd_updater_average(&ctx, &u, &all, 1, &p, &e, 1);
        assert_int_equal(s, k < FD_UPDATER_BLOCKS ? FD_OK : FD_E_ARG);
    }
    assert_non_null(strstr(ctx.message, "at most 32 blocks"));
    fd_clear(&ctx);
    fd_ema list[FD_UPDATER_BLOCKS + 1] = {{0}};
    assert_int_equal(fd_updater_average(&ctx, &u, &all, 1, &p, list, FD_UPDATER_BLOCKS + 1), FD_E_ARG);
    assert_non_null(strstr(ctx.message, "at most 32 averages"));
    fd_clear(&ctx);
    fd_updater_close(&u);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_as_the_host),         cmocka_unit_test(changed_weights_are_taken),
        cmocka_unit_test(nonfinite_gradients_are_found), cmocka_unit_test(on_the_host),
        cmocka_unit_test(too_many_blocks_are_refused),
    };
    if (fd_backend_choose(&ctx, "cuda", &cuda) != FD_OK) {
        print_message("SKIP %s\n", ctx.message);
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
