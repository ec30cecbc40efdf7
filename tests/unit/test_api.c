/* The public C API: what it says of a network, images in the caller's memory, refusals, cancelling,
 * sizes; a distillation, stopped and continued. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fdistill.h"
#include "io/dataset.h"
#include "models/net.h"
#include "train/sampler.h"

#define EACH (3 * 8 * 8)
static char student[64], teacher[64], heads[64], set[64];
static fdistill_context *ctx;

static void make_net(char path[64], const char *kind, int classes) {
    static fd_ctx c;
    fd_net_config k;
    fd_net *net;
    snprintf(path, 64, "/tmp/fd-test-api-%s-%d.safetensors", kind, (int)getpid());
    fd_net_config_preset(&k, FD_FAMILY_DDPMPP);
    k.resolution = 8;
    k.model_channels = 8;
    k.levels = 1;
    k.num_blocks = 1;
    k.nattn = 0;
    k.label_dim = classes;
    k.dropout = 0;
    if (!strcmp(kind, "heads")) {
        fd_net_config unet = k;
        assert_int_equal(fd_heads_config(&c, &unet, (int[]){0}, 1, 8, &k), FD_OK);
    }
    assert_int_equal(fd_net_new(&c, &k, &net), FD_OK);
    assert_int_equal(fd_net_fill_formula(&c, net, kind, 1), FD_OK);
    snprintf(net->meta.kind, sizeof net->meta.kind, "%s", kind);
    if (!strcmp(kind, "student")) net->meta.sigma_init = 40;
    assert_int_equal(fd_net_save(&c, net, NULL, path), FD_OK);
    fd_net_free(net);
}

static void make_set(void) {
    static fd_ctx c;
    fd_dataset_writer *w;
    uint8_t pixels[EACH];
    snprintf(set, sizeof set, "/tmp/fd-test-api-set-%d.zip", (int)getpid());
    assert_int_equal(fd_dataset_create(&c, set, 3, 8, 8, &w), FD_OK);
    for (int i = 0; i < 12; i++) {
        for (int k = 0; k < EACH; k++) pixels[k] = (uint8_t)(20 * i + k % 5);
        assert_int_equal(fd_dataset_add(&c, w, pixels, -1), FD_OK);
    }
    assert_int_equal(fd_dataset_commit(&c, w, ""), FD_OK);
}

static int setup(void **state) {
    make_set();
    ctx = fdistill_context_new();
    assert_non_null(ctx);
    make_net(student, "student", 3);
    make_net(teacher, "teacher", 0);
    make_net(heads, "heads", 0);
    return 0;
}

static int teardown(void **state) {
    unlink(student);
    unlink(teacher);
    unlink(heads);
    unlink(set);
    fdistill_context_free(ctx);
    return 0;
}

static fdistill_net *open_net(const char *path) {
    fdistill_net *net;
    fdistill_status s = fdistill_net_load(ctx, path, &net);
    if (s != FDISTILL_OK) fail_msg("%s", fdistill_message(ctx));
    return net;
}

static void test_describe(void **state) {
    fdistill_net_info i;
    fdistill_net *net = open_net(student);
    assert_int_equal(fdistill_net_describe(ctx, net, &i, sizeof i), FDISTILL_OK);
    assert_int_equal(i.resolution, 8);
    assert_int_equal(i.channels, 3);
    assert_int_equal(i.classes, 3);
    assert_int_equal(i.steps, 1);
    assert_true(i.one_step);
    assert_true(i.sigma_max == 40 && i.sigma_min == 0.002 && i.rho == 7);
    assert_true(i.parameters > 1000);
    assert_string_equal(i.family, "ddpmpp");
    assert_string_equal(i.kind, "student");
    assert_int_equal(strlen(i.digest), 64);
    assert_int_equal(i.size, sizeof i);
    /* A structure of a newer header: what this library does not know is zero. */
    struct { fdistill_net_info i; int64_t later; } newer = {.later = 7};
    assert_int_equal(fdistill_net_describe(ctx, net, &newer.i, sizeof newer), FDISTILL_OK);
    assert_int_equal(newer.later, 0);
    assert_int_equal(fdistill_net_describe(ctx, net, &i, 3), FDISTILL_E_ARG);
    fdistill_net_free(net);

    net = open_net(teacher);
    assert_int_equal(fdistill_net_describe(ctx, net, &i, sizeof i), FDISTILL_OK);
    assert_int_equal(i.classes, 0);
    assert_int_equal(i.steps, 18);
    assert_false(i.one_step);
    assert_true(i.sigma_max == 80);
    fdistill_net_free(net);
}

static void test_load_refuses(void **state) {
    fdistill_net *net = (void *)ctx;
    assert_int_equal(fdistill_net_load(ctx, "/tmp/fd-test-api-nowhere", &net), FDISTILL_E_IO);
    assert_null(net);
    assert_non_null(strstr(fdistill_message(ctx), "fd-test-api-nowhere"));
    assert_int_equal(fdistill_net_load(ctx, heads, &net), FDISTILL_E_ARG);
    assert_non_null(strstr(fdistill_message(ctx), "U-Net"));
    assert_int_equal(fdistill_net_load(ctx, NULL, &net), FDISTILL_E_ARG);
    assert_int_equal(fdistill_net_load(ctx, "tests/CMakeLists.txt", &net), FDISTILL_E_FORMAT);
    assert_string_equal(fdistill_status_name(FDISTILL_E_FORMAT), "format");
    /* The next good call leaves no message behind. */
    net = open_net(student);
    assert_string_equal(fdistill_message(ctx), "");
    fdistill_net_free(net);
    fdistill_net_free(NULL);
    fdistill_context_free(NULL);
}

/* The same bits as the library inside, whatever batch, layout and thread count. */
static void test_same_bits(void **state) {
    static fd_ctx c;
    uint64_t seeds[] = {5, 0, 123456789012345, 7, 8};
    int32_t classes[] = {2, -1, 0, -1, 1}, used[5];
    int want_used[5];
    uint8_t want[5 * EACH], got[5 * EACH];
    fd_net *inside;
    fd_denoiser *d;
    assert_int_equal(fd_net_load(&c, student, &inside), FD_OK);
    assert_int_equal(fd_denoiser_new(&c, inside, 5, NULL, &d), FD_OK);
    fd_sampler s = fd_sampler_for(inside, 0);
    assert_int_equal(fd_sample_seeds(&c, &s, d, seeds, classes, 5, want, want_used, NULL, NULL), FD_OK);
    fd_denoiser_free(d);
    fd_net_free(inside);

    fdistill_net *net = open_net(student);
    assert_int_equal(fdistill_generate(ctx, net, seeds, classes, 5, NULL, got, sizeof got, used), FDISTILL_OK);
    assert_memory_equal(got, want, sizeof want);
    assert_memory_equal(used, want_used, sizeof used);
    fdistill_generate_options o;
    fdistill_generate_options_init(&o, sizeof o);
    for (int batch = 1; batch <= 6; batch++) {
        o.batch = batch;
        o.layout = batch % 2 ? FDISTILL_NHWC : FDISTILL_NCHW;
        fdistill_context_threads(ctx, 1 + batch % 2);
        memset(got, 0, sizeof got);
        assert_int_equal(fdistill_generate(ctx, net, seeds, classes, 5, &o, got, sizeof got, NULL), FDISTILL_OK);
        for (int i = 0; i < 5; i++)
            for (int k = 0; k < 3; k++)
                for (int p = 0; p < 64; p++)
                    assert_int_equal(got[i * EACH + (batch % 2 ? p * 3 + k : k * 64 + p)],
                                     want[i * EACH + k * 64 + p]);
    }
    fdistill_context_threads(ctx, 0);
    /* Twice over, the last batch size again: the plan that was kept. */
    assert_int_equal(fdistill_generate(ctx, net, seeds + 3, NULL, 1, NULL, got, EACH, NULL), FDISTILL_OK);
    assert_int_equal(fdistill_generate(ctx, net, seeds + 3, NULL, 1, NULL, got, EACH, NULL), FDISTILL_OK);
    assert_memory_equal(got, want + 3 * EACH, EACH);
    assert_int_equal(fdistill_generate(ctx, net, NULL, NULL, 0, NULL, NULL, 0, NULL), FDISTILL_OK);
    fdistill_net_free(net);
}

static void test_sampler_options(void **state) {
    uint64_t seed = 3;
    uint8_t a[EACH], b[EACH], c[EACH];
    int32_t used = 9;
    fdistill_generate_options o;
    fdistill_generate_options_init(&o, sizeof o);
    assert_true(isinf(o.s_max) && o.s_noise == 1 && o.steps == 0);
    fdistill_net *net = open_net(teacher);
    o.steps = 3;
    assert_int_equal(fdistill_generate(ctx, net, &seed, NULL, 1, &o, a, EACH, &used), FDISTILL_OK);
    assert_int_equal(used, -1);
    o.solver = FDISTILL_EULER;
    assert_int_equal(fdistill_generate(ctx, net, &seed, NULL, 1, &o, b, EACH, NULL), FDISTILL_OK);
    assert_memory_not_equal(a, b, EACH);
    o.solver = FDISTILL_DPMPP_2M;
    assert_int_equal(fdistill_generate(ctx, net, &seed, NULL, 1, &o, c, EACH, NULL), FDISTILL_OK);
    assert_memory_not_equal(b, c, EACH);
    o.solver = FDISTILL_EULER;
    o.s_churn = 2;
    o.sigma_max = 20;
    assert_int_equal(fdistill_generate(ctx, net, &seed, NULL, 1, &o, c, EACH, NULL), FDISTILL_OK);
    assert_memory_not_equal(b, c, EACH);
    fdistill_net_free(net);
}

static void refuses(fdistill_net *net, const fdistill_generate_options *o, const int32_t *classes, size_t bytes,
                    const char *words) {
    uint64_t seeds[2] = {0, 1};
    uint8_t images[2 * EACH];
    assert_int_equal(fdistill_generate(ctx, net, seeds, classes, 2, o, images, bytes, NULL), FDISTILL_E_ARG);
    if (!strstr(fdistill_message(ctx), words)) fail_msg("'%s' lacks '%s'", fdistill_message(ctx), words);
}

static void test_generate_refuses(void **state) {
    fdistill_net *net = open_net(student), *plain = open_net(teacher);
    fdistill_generate_options o;
    const size_t all = 2 * EACH;
    refuses(net, NULL, NULL, all - 1, "the memory has 383");
    refuses(net, NULL, (int32_t[]){0, 3}, all, "class 3 of image 1 is not in 0…2");
    refuses(net, NULL, (int32_t[]){-2, 0}, all, "class -2");
    refuses(plain, NULL, (int32_t[]){-1, 0}, all, "has no classes");
    memset(&o, 0, sizeof o);
    refuses(net, &o, NULL, all, "fdistill_generate_options_init");
#define REFUSED(words, ...)                              \
    do {                                                 \
        fdistill_generate_options_init(&o, sizeof o);    \
        __VA_ARGS__;                                     \
        refuses(net, &o, NULL, all, words);              \
    } while (0)
    REFUSED("steps is -1", o.steps = -1);
    REFUSED("steps is 10001", o.steps = 10001);
    REFUSED("sigma_min (50)", o.sigma_min = 50);
    REFUSED("sigma_max (nan)", o.sigma_max = NAN);
    REFUSED("rho (-1)", o.rho = -1);
    REFUSED("s_churn -1", o.s_churn = -1);
    REFUSED("solver 3", o.solver = (fdistill_solver)3);
    REFUSED("dpmpp_2m", o.solver = FDISTILL_DPMPP_2M, o.s_churn = 1);
    REFUSED("batch is -1", o.batch = -1);
    REFUSED("layout 2", o.layout = (fdistill_layout)2);
    assert_int_equal(fdistill_generate(ctx, net, NULL, NULL, -1, NULL, NULL, 0, NULL), FDISTILL_E_ARG);
    fdistill_net_free(net);
    fdistill_net_free(plain);
}

typedef struct { int calls; int64_t last, total, stop_at; } watch;

static bool count(void *user, int64_t done, int64_t total) {
    watch *w = user;
    w->calls++;
    assert_true(done > w->last);
    w->last = done;
    w->total = total;
    return done < w->stop_at;
}

static void test_progress_and_cancel(void **state) {
    uint64_t seeds[7] = {0, 1, 2, 3, 4, 5, 6};
    uint8_t all[7 * EACH], part[7 * EACH] = {0};
    watch w = {.stop_at = 100};
    fdistill_generate_options o;
    fdistill_generate_options_init(&o, sizeof o);
    o.batch = 2;
    o.layout = FDISTILL_NHWC;
    o.progress = count;
    o.user = &w;
    fdistill_net *net = open_net(student);
    assert_int_equal(fdistill_generate(ctx, net, seeds, NULL, 7, &o, all, sizeof all, NULL), FDISTILL_OK);
    assert_int_equal(w.calls, 4);
    assert_int_equal(w.last, 7);
    assert_int_equal(w.total, 7);
    w = (watch){.stop_at = 4};
    assert_int_equal(fdistill_generate(ctx, net, seeds, NULL, 7, &o, part, sizeof part, NULL), FDISTILL_E_CANCELLED);
    assert_int_equal(w.calls, 2);
    assert_memory_equal(part, all, 4 * EACH);
    for (int i = 4 * EACH; i < 7 * EACH; i++) assert_int_equal(part[i], 0);
    fdistill_net_free(net);
}

/* ---- distillation ---------------------------------------------------------------------------------------------- */

static fdistill_distill_options tiny_run(const char *outdir) {
    fdistill_distill_options o;
    fdistill_distill_options_init(&o, sizeof o);
    o.teacher = teacher;
    o.data = set;
    o.outdir = outdir;
    o.nosubdir = true;
    o.images = 24;
    o.batch = 4;
    o.update_freq = 2;
    o.n_ema = 1;
    o.grid = 0;
    return o;
}

static void remove_run(const char *folder) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
}

static void digest_of(const char *path, char out[65]) {
    fdistill_net_info i;
    fdistill_net *net = open_net(path);
    assert_int_equal(fdistill_net_describe(ctx, net, &i, sizeof i), FDISTILL_OK);
    assert_true(i.one_step);
    memcpy(out, i.digest, 65);
    fdistill_net_free(net);
}

/* A whole run; one that is stopped and continued gives the same student. */
static void test_distill(void **state) {
    static fdistill_distill_result r;
    char whole[64], parts[64], first[65], second[65];
    watch w = {.stop_at = 1000};
    snprintf(whole, sizeof whole, "/tmp/fd-test-api-whole-%d", (int)getpid());
    snprintf(parts, sizeof parts, "/tmp/fd-test-api-parts-%d", (int)getpid());
    fdistill_distill_options o = tiny_run(whole);
    o.progress = count;
    o.user = &w;
    fdistill_status s = fdistill_distill(ctx, &o, &r, sizeof r);
    if (s != FDISTILL_OK) fail_msg("%s", fdistill_message(ctx));
    assert_int_equal(w.calls, 6);
    assert_int_equal(w.last, 24);
    assert_int_equal(w.total, 24);
    assert_string_equal(r.folder, whole);
    digest_of(r.student, first);

    o.outdir = parts;
    o.resume = true;
    w = (watch){.stop_at = 8};
    assert_int_equal(fdistill_distill(ctx, &o, &r, sizeof r), FDISTILL_E_CANCELLED);
    assert_int_equal(w.calls, 2);
    assert_non_null(strstr(fdistill_message(ctx), "stopped by the caller"));
    assert_string_equal(r.student, "");
    w = (watch){.stop_at = 1000};
    assert_int_equal(fdistill_distill(ctx, &o, &r, sizeof r), FDISTILL_OK);
    assert_int_equal(w.calls, 4);
    digest_of(r.student, second);
    assert_string_equal(first, second);
    /* Complete: nothing more to do, no result wanted. */
    w = (watch){.stop_at = 1000};
    assert_int_equal(fdistill_distill(ctx, &o, NULL, 0), FDISTILL_OK);
    assert_int_equal(w.calls, 0);
    remove_run(whole);
    remove_run(parts);
}

static void test_distill_refuses(void **state) {
    static fdistill_distill_result r;
    fdistill_distill_options o;
#define WRONG(status, words, ...)                                                                              \
    do {                                                                                                       \
        o = tiny_run("/tmp/fd-test-api-never");                                                                \
        __VA_ARGS__;                                                                                           \
        assert_int_equal(fdistill_distill(ctx, &o, &r, sizeof r), status);                                     \
        if (!strstr(fdistill_message(ctx), words)) fail_msg("'%s' lacks '%s'", fdistill_message(ctx), words);  \
        assert_string_equal(r.folder, "");                                                                     \
    } while (0)
    WRONG(FDISTILL_E_ARG, "teacher is not given", o.teacher = NULL);
    WRONG(FDISTILL_E_ARG, "outdir is not given", o.outdir = "");
    WRONG(FDISTILL_E_ARG, "divergence", o.divergence = "wasserstein");
    WRONG(FDISTILL_E_ARG, "spacing", o.ratio_spacing = "even");
    WRONG(FDISTILL_E_ARG, "head_norm", o.head_norm = "batch");
    WRONG(FDISTILL_E_ARG, "lr_decay 'quick'", o.lr_decay = "quick");
    WRONG(FDISTILL_E_ARG, "lr is nan", o.lr = NAN);
    WRONG(FDISTILL_E_ARG, "batch is 0", o.batch = 0);
    WRONG(FDISTILL_E_ARG, "ema[0] is -1", o.ema[0] = -1);
    WRONG(FDISTILL_E_ARG, "taps[1] is 8", o.ntaps = 2; o.taps[1] = 8);
    WRONG(FDISTILL_E_ARG, "not below sigma_max", o.sigma_min = 90);
    WRONG(FDISTILL_E_ARG, "fdistill_distill_options_init", o.size = 8);
    WRONG(FDISTILL_E_IO, "fd-test-api-nowhere", o.teacher = "/tmp/fd-test-api-nowhere");
    WRONG(FDISTILL_E_IO, "fd-test-api-nowhere", o.data = "/tmp/fd-test-api-nowhere");
    assert_int_equal(fdistill_distill(ctx, &o, &r, 3), FDISTILL_E_ARG);
    assert_int_not_equal(access("/tmp/fd-test-api-never", F_OK), 0);
}

/* Two threads, a context and a network each, at the same time. */
static void *generate_alone(void *result) {
    uint64_t seeds[6] = {0, 1, 2, 3, 4, 5};
    fdistill_context *mine = fdistill_context_new();
    fdistill_net *net = NULL;
    fdistill_status s = fdistill_net_load(mine, student, &net);
    for (int i = 0; i < 10 && !s; i++) s = fdistill_generate(mine, net, seeds, NULL, 6, NULL, result, 6 * EACH, NULL);
    fdistill_net_free(net);
    fdistill_context_free(mine);
    return s ? mine : NULL;
}

static void test_two_threads(void **state) {
    static uint8_t images[2][6 * EACH];
    pthread_t thread[2];
    void *failed;
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&thread[i], NULL, generate_alone, images[i]), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(thread[i], &failed), 0);
        assert_null(failed);
    }
    assert_memory_equal(images[0], images[1], sizeof images[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_describe),         cmocka_unit_test(test_load_refuses),
        cmocka_unit_test(test_same_bits),        cmocka_unit_test(test_sampler_options),
        cmocka_unit_test(test_generate_refuses), cmocka_unit_test(test_progress_and_cancel),
        cmocka_unit_test(test_distill),          cmocka_unit_test(test_distill_refuses),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
