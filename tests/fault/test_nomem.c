/* Memory that runs out at every single place: each piece of work below is repeated with its n-th allocation failing,
 * for n = 1, 2, … until it gets through. Every time it must say FD_E_NOMEM, in one line, and give back all it had. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fdistill.h"
#include "io/dataset.h"
#include "io/npy.h"
#include "models/import.h"
#include "train/distiller.h"
#include "train/edm_step.h"
#include "train/sampler.h"
#include "train/state.h"

enum { N = 2, SIDE = 8, EACH = 3 * SIDE * SIDE };
static char folder[64];
static char net_file[96], set_file[96], npz_file[96], out_file[96];
static fd_net *teacher, *heads;

/* ---- the harness ----------------------------------------------------------------------------------------------- */

typedef fd_status (*work)(fd_ctx *ctx);

static void exhaust(const char *name, work w) {
    static fd_ctx ctx;
    ctx = (fd_ctx){.threads = 1, .quiet = true};
    assert_int_equal(w(&ctx), FD_OK);      /* once without faults: caches that stay are filled */
    int64_t before = fd_alloc_live();
    uint64_t calls = fd_alloc_calls();
    assert_int_equal(w(&ctx), FD_OK);
    calls = fd_alloc_calls() - calls;
    assert_int_equal(fd_alloc_live(), before);
    assert_true(calls > 0);
    for (uint64_t n = 1; n <= calls; n++) {
        ctx = (fd_ctx){.threads = 1, .quiet = true};
        fd_alloc_fail_at(n);
        fd_status s = w(&ctx);
        fd_alloc_fail_at(0);
        if (s != FD_E_NOMEM || ctx.code != FD_E_NOMEM || !strstr(ctx.message, "memory"))
            fail_msg("%s, allocation %llu of %llu: status %s, message '%s'", name, (unsigned long long)n,
                     (unsigned long long)calls, fd_status_name(s), ctx.message);
        if (fd_alloc_live() != before)
            fail_msg("%s, allocation %llu of %llu: %lld blocks were lost", name, (unsigned long long)n,
                     (unsigned long long)calls, (long long)(fd_alloc_live() - before));
    }
    ctx = (fd_ctx){.threads = 1, .quiet = true};
    assert_int_equal(w(&ctx), FD_OK);
    print_message("%s: %llu allocations\n", name, (unsigned long long)calls);
}

/* ---- what is made first ---------------------------------------------------------------------------------------- */

static fd_net_config tiny(void) {
    fd_net_config k;
    fd_net_config_preset(&k, FD_FAMILY_DDPMPP);
    k.resolution = SIDE;
    k.model_channels = 8;
    k.levels = 2;
    k.channel_mult[0] = k.channel_mult[1] = 1;
    k.num_blocks = 1;
    k.nattn = 1;
    k.attn_resolutions[0] = 4;
    k.label_dim = 3;
    k.dropout = 0.1;
    return k;
}

static void write_set(fd_ctx *ctx) {
    fd_dataset_writer *w;
    uint8_t pixels[EACH];
    assert_int_equal(fd_dataset_create(ctx, set_file, 3, SIDE, SIDE, &w), FD_OK);
    for (int i = 0; i < 3; i++) {
        memset(pixels, 40 * i, sizeof pixels);
        assert_int_equal(fd_dataset_add(ctx, w, pixels, i), FD_OK);
    }
    assert_int_equal(fd_dataset_commit(ctx, w, ""), FD_OK);
}

static int setup(void **state) {
    static fd_ctx ctx;
    snprintf(folder, sizeof folder, "/tmp/fd-test-nomem-%d", (int)getpid());
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(net_file, sizeof net_file, "%s/net.safetensors", folder);
    snprintf(set_file, sizeof set_file, "%s/set.zip", folder);
    snprintf(npz_file, sizeof npz_file, "%s/a.npz", folder);
    snprintf(out_file, sizeof out_file, "%s/out", folder);
    fd_net_config k = tiny(), h;
    assert_int_equal(fd_net_new(&ctx, &k, &teacher), FD_OK);
    fd_net_init_random(teacher, 1);
    assert_int_equal(fd_net_save(&ctx, teacher, NULL, net_file), FD_OK);
    assert_int_equal(fd_heads_config(&ctx, &k, (int[]){0, 1}, 2, 8, &h), FD_OK);
    assert_int_equal(fd_net_new(&ctx, &h, &heads), FD_OK);
    fd_net_init_random(heads, 2);
    write_set(&ctx);
    double data[4] = {1, 2, 3, 4};
    fd_npz_entry e[] = {{"mu", {.dtype = FD_NPY_F8, .rank = 1, .dim = {4}, .data = data}},
                        {"sigma", {.dtype = FD_NPY_F8, .rank = 2, .dim = {2, 2}, .data = data}}};
    assert_int_equal(fd_npz_write(&ctx, npz_file, e, 2), FD_OK);
    return 0;
}

static int teardown(void **state) {
    fd_net_free(teacher);
    fd_net_free(heads);
    unlink(net_file);
    unlink(set_file);
    unlink(npz_file);
    unlink(out_file);
    return rmdir(folder);      /* fails when a temporary file was left behind */
}

/* ---- the pieces of work ---------------------------------------------------------------------------------------- */

static fd_status load_net(fd_ctx *ctx) {
    fd_net *net;
    FD_TRY(fd_net_load(ctx, net_file, &net));
    fd_net_free(net);
    return FD_OK;
}

static fd_status clone_net(fd_ctx *ctx) {
    fd_net *net;
    FD_TRY(fd_net_clone(ctx, teacher, &net));
    fd_net_free(net);
    return FD_OK;
}

static fd_status save_net(fd_ctx *ctx) { return fd_net_save(ctx, teacher, NULL, out_file); }

static fd_status digest_net(fd_ctx *ctx) {
    char digest[65];
    return fd_net_digest(ctx, teacher, digest);
}

static fd_status denoise_as(fd_ctx *ctx, fd_dtype dtype) {
    static float x[N * EACH];
    double sigma[N] = {1, 2};
    fd_denoiser *d;
    FD_TRY(fd_denoiser_new(ctx, teacher, N, &(fd_run_options){.dtype = dtype}, &d));
    fd_status s = fd_denoiser_run(ctx, d, x, sigma, NULL, NULL, x);
    fd_denoiser_free(d);
    return s;
}
static fd_status denoise(fd_ctx *ctx) { return denoise_as(ctx, FD_F32); }
static fd_status denoise_bf16(fd_ctx *ctx) { return denoise_as(ctx, FD_BF16); }

static fd_status sample(fd_ctx *ctx) {
    static uint8_t images[3 * EACH];
    uint64_t seeds[3] = {1, 2, 3};
    fd_sampler s = fd_sampler_defaults();
    fd_denoiser *d;
    s.steps = 2;
    s.s_churn = 1;
    FD_TRY(fd_denoiser_new(ctx, teacher, N, NULL, &d));
    fd_status status = fd_sample_seeds(ctx, &s, d, seeds, NULL, 3, images, NULL, NULL, NULL);
    fd_denoiser_free(d);
    return status;
}

static fd_status open_set(fd_ctx *ctx) {
    static uint8_t pixels[EACH];
    float label[3];
    fd_dataset d = {0};
    fd_status s = fd_dataset_open(ctx, set_file, &(fd_dataset_options){.use_labels = true, .xflip = true}, &d);
    if (s == FD_OK) s = fd_dataset_get(ctx, &d, 4, pixels, label);
    if (s == FD_OK) assert_true(d.n == 6 && label[fd_dataset_class(&d, 4)] == 1);
    fd_dataset_close(&d);
    return s;
}

static fd_status read_npz(fd_ctx *ctx) {
    fd_arena arena = {0};
    fd_zip *z;
    fd_npy mu, sigma;
    FD_TRY(fd_zip_open(ctx, npz_file, &z));
    fd_status s = fd_npz_read(ctx, z, "mu", &arena, &mu);
    if (s == FD_OK) s = fd_npz_read(ctx, z, "sigma", &arena, &sigma);
    fd_zip_close(z);
    fd_arena_free(&arena);
    return s;
}

static fd_status write_npz(fd_ctx *ctx) {
    static double data[70000];      /* larger than a buffer */
    fd_npz_entry e = {"x", {.dtype = FD_NPY_F8, .rank = 1, .dim = {70000}, .data = data}};
    return fd_npz_write(ctx, out_file, &e, 1);
}

static fd_status write_dataset(fd_ctx *ctx) {
    static uint8_t pixels[3 * EACH];
    fd_dataset_writer *w;
    FD_TRY(fd_dataset_create(ctx, out_file, 3, SIDE, SIDE, &w));
    fd_status s = fd_dataset_add_many(ctx, w, pixels, (int[]){0, 1, 2}, 3);
    if (s == FD_OK) return fd_dataset_commit(ctx, w, "");
    fd_dataset_abandon(w);
    return s;
}

static fd_status train_step(fd_ctx *ctx) {
    static float images[N * EACH], noise[N * EACH];
    double sigma[N] = {0.5, 3}, loss = 0;
    fd_edm_step step;
    fd_net *net;
    FD_TRY(fd_net_clone(ctx, teacher, &net));
    fd_status s = fd_edm_step_open(ctx, net, &(fd_edm_step_spec){.n = N}, &step);
    if (s == FD_OK) s = fd_edm_step_run(ctx, &step, images, noise, sigma, NULL, NULL, 0, 0.5, &loss);
    fd_edm_step_close(&step);
    fd_net_free(net);
    return s;
}

static fd_status distill_steps(fd_ctx *ctx, const fd_distill_nets *nets, fd_ratio *ratio) {
    static float images[N * EACH], labels[N * 3];
    double t[N] = {0.5, 3};
    fd_distill_method m = fd_distill_method_defaults();
    fd_distiller *d;
    fd_student_step student;
    fd_critic_step critic;
    FD_TRY(fd_divergence_find(ctx, "js", &m.divergence));
    m.r1_weight = 1;
    m.taps[0] = 0;
    m.taps[1] = 1;
    m.ntaps = 2;
    FD_TRY(fd_distiller_new(ctx, &(fd_distiller_spec){.method = &m, .batch = N, .n = N}, nets, &d));
    fd_distill_batch b = {.z = images, .eps = images, .labels = labels, .t = t, .real = images, .eps_real = images,
                          .r1_noise = images, .t_real = t};
    fd_status s = fd_distiller_student(ctx, d, &b, ratio, NULL, &student);
    if (s == FD_OK) s = fd_distiller_critic(ctx, d, &b, &critic);
    fd_distiller_free(d);
    return s;
}

static fd_status distill_step(fd_ctx *ctx) {
    fd_ratio ratio;
    fd_distill_nets nets = {.teacher = teacher};
    fd_ratio_config config = fd_ratio_defaults();
    FD_TRY(fd_ratio_init(ctx, &config, &ratio));
    fd_status s = fd_net_clone(ctx, teacher, &nets.student);
    if (s == FD_OK) s = fd_net_clone(ctx, teacher, &nets.fake);
    if (s == FD_OK) s = fd_net_clone(ctx, heads, &nets.heads);
    if (s == FD_OK) s = distill_steps(ctx, &nets, &ratio);
    fd_net_free(nets.student);
    fd_net_free(nets.fake);
    fd_net_free(nets.heads);
    return s;
}

static fd_status save_and_load_state(fd_ctx *ctx) {
    static float array[1000];
    fd_state state = {.n = 0};
    FD_TRY(fd_state_add(ctx, &state, "weights", FD_ST_F32, array, 1000));
    FD_TRY(fd_state_save(ctx, &state, out_file, "{}"));
    return fd_state_load(ctx, &state, out_file, "{}");
}

/* The public API, whose message is in its own context. */
static fd_status api(fd_ctx *ctx) {
    static uint8_t images[N * EACH];
    uint64_t seeds[N] = {0, 1};
    fdistill_net *net = NULL;
    fdistill_context *c = fdistill_context_new();
    if (!c) return FD_FAIL(ctx, FD_E_NOMEM, "no memory for a context");
    fdistill_context_threads(c, 1);
    fdistill_status s = fdistill_net_load(c, net_file, &net);
    if (s == FDISTILL_OK) s = fdistill_generate(c, net, seeds, NULL, N, NULL, images, sizeof images, NULL);
    if (s != FDISTILL_OK) FD_FAIL(ctx, (fd_status)s, "%s", fdistill_message(c));
    fdistill_net_free(net);
    fdistill_context_free(c);
    return (fd_status)s;
}

/* A pickle of protocol 2 in, a torch archive out. */
static fd_status import_and_export(fd_ctx *ctx) {
    fd_import in;
    fd_st_tensor *t;
    int n;
    int64_t parameters;
    FD_TRY(fd_import_open(ctx, "tests/golden/cases/import/net_ncsnpp.pkl", NULL, &in));
    fd_status s = fd_import_tensors(ctx, &in, &t, &n, &parameters);
    if (s == FD_OK) s = fd_torch_save(ctx, out_file, t, n);
    fd_import_close(&in);
    return s;
}

static fd_status read_torch(fd_ctx *ctx) {
    fd_checkpoint *c;
    FD_TRY(fd_checkpoint_open(ctx, "tests/golden/cases/import/noncontiguous_zip.pt", &c));
    fd_arena a = {0};
    fd_st_tensor st;
    fd_status s = FD_OK;
    for (int i = 0; s == FD_OK && i < c->tree[0].n; i++)
        s = fd_checkpoint_tensor(ctx, c, &c->tree[0].tensor[i], &a, &st);
    fd_arena_free(&a);
    fd_checkpoint_close(c);
    return s;
}

#define TEST(name) static void test_##name(void **state) { exhaust(#name, name); }
TEST(load_net) TEST(clone_net) TEST(save_net) TEST(digest_net) TEST(denoise) TEST(denoise_bf16) TEST(sample)
TEST(open_set) TEST(read_npz) TEST(write_npz) TEST(write_dataset) TEST(train_step) TEST(distill_step)
TEST(save_and_load_state) TEST(api) TEST(import_and_export) TEST(read_torch)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_net),  cmocka_unit_test(test_clone_net),     cmocka_unit_test(test_save_net),
        cmocka_unit_test(test_digest_net), cmocka_unit_test(test_denoise),      cmocka_unit_test(test_denoise_bf16),
        cmocka_unit_test(test_sample),    cmocka_unit_test(test_open_set),      cmocka_unit_test(test_read_npz),
        cmocka_unit_test(test_write_npz), cmocka_unit_test(test_write_dataset), cmocka_unit_test(test_train_step),
        cmocka_unit_test(test_distill_step), cmocka_unit_test(test_save_and_load_state), cmocka_unit_test(test_api),
        cmocka_unit_test(test_import_and_export), cmocka_unit_test(test_read_torch),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
