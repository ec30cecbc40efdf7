/* fdistill doctor — what this build and machine can do, and small trials of every part that could be missing. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "base/version.h"
#include "cli/commands.h"
#include "cli/waiting.h"
#include "comm/comm.h"
#include "cpu/describe.h"
#include "cpu/tune.h"
#include "eval/frechet.h"
#include "io/image.h"
#include "models/net.h"

static double physical_memory_gib(void) {
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (double)pages * (double)size / 1073741824.0 : 0;
}

/* ---- trials ---------------------------------------------------------------------------------------------------- */

enum { BATCH = 2, SIDE = 16, PIXELS = 3 * SIDE * SIDE };

static fd_status denoise(fd_ctx *ctx, fd_net *net, const fd_backend *backend, fd_dtype dtype, const float *x,
                         float *D) {
    static const double sigma[BATCH] = {0.3, 5};
    fd_denoiser *d = NULL;
    fd_run_options o = {.backend = backend, .dtype = dtype};
    FD_TRY(fd_denoiser_new(ctx, net, BATCH, &o, &d));
    fd_status s = fd_denoiser_run(ctx, d, x, sigma, NULL, NULL, D);
    fd_denoiser_free(d);
    return s;
}

static double difference(const float *a, const float *b) {
    double num = 0, den = 0;
    for (int i = 0; i < BATCH * PIXELS; i++) {
        num += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        den += (double)b[i] * b[i];
    }
    return sqrt(num / den);
}

/* A small network on the fast kernels and on the plain ones. */
static fd_status network_trial(fd_ctx *ctx, char *said, size_t size) {
    static float x[BATCH * PIXELS], fast[BATCH * PIXELS], plain[BATCH * PIXELS], half[BATCH * PIXELS];
    fd_net_config c;
    fd_net_config_preset(&c, FD_FAMILY_DDPMPP);
    c.resolution = SIDE;
    c.model_channels = 32;
    c.levels = 2;
    c.num_blocks = 1;
    c.nattn = 1;
    c.attn_resolutions[0] = SIDE / 2;
    c.label_dim = c.augment_dim = 0;
    fd_net *net = NULL;
    fd_rng r = {0, FD_RNG_TEST, 0};
    fd_rng_normals(&r, 0, BATCH * PIXELS, x);
    FD_TRY(fd_net_new(ctx, &c, &net));
    fd_status s = fd_net_fill_formula(ctx, net, "doctor:", 1);
    if (s == FD_OK) s = denoise(ctx, net, fd_backend_reference(), FD_F32, x, plain);
    if (s == FD_OK) s = denoise(ctx, net, NULL, FD_F32, x, fast);
    if (s == FD_OK) s = denoise(ctx, net, NULL, FD_BF16, x, half);
    fd_net_free(net);
    FD_TRY(s);
    double f32 = difference(fast, plain), bf16 = difference(half, plain);
    snprintf(said, size, "fast kernels agree with the plain ones to %.1e (bf16: %.1e)", f32, bf16);
    if (!(f32 < 1e-4) || !(bf16 < 0.1)) return FD_FAIL(ctx, FD_E_NUMERIC, "doctor: %s: too much", said);
    return FD_OK;
}

/* N(0, diag 1) against N(1, diag 4) in three dimensions: 3 + 3 (1 + 4 - 2 * 2) = 6. */
static fd_status eigen_trial(fd_ctx *ctx, char *said, size_t size) {
    static const double m1[3] = {0, 0, 0}, m2[3] = {1, 1, 1}, s1[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1},
                        s2[9] = {4, 0, 0, 0, 4, 0, 0, 0, 4};
    fd_frechet_result f;
    FD_TRY(fd_frechet(ctx, 3, m1, s1, m2, s2, &f));
    snprintf(said, size, "eigenvalue solver right to %.1e", fabs(f.distance - 6));
    if (!(fabs(f.distance - 6) < 1e-9))
        return FD_FAIL(ctx, FD_E_NUMERIC, "doctor: the eigenvalue solver gave %g for 6", f.distance);
    return FD_OK;
}

static fd_status picture_trial(fd_ctx *ctx, char *said, size_t size) {
    uint8_t p[27];
    for (int i = 0; i < 27; i++) p[i] = (uint8_t)(i * 9);
    fd_image in = {.p = p, .w = 3, .h = 3, .c = 3}, back = {0};
    fd_arena a = {0};
    fd_bytes png;
    fd_status s = fd_png_encode(ctx, &a, &in, NULL, 0, &png);
    if (s == FD_OK) s = fd_image_decode(ctx, png, "trial picture", &back);
    if (s == FD_OK && memcmp(back.p, p, sizeof p))
        s = FD_FAIL(ctx, FD_E_FORMAT, "doctor: PNG does not give pictures back");
    snprintf(said, size, "PNG writes and reads back");
    fd_image_free(&back);
    fd_arena_free(&a);
    return s;
}

fd_status fd_cmd_doctor(fd_ctx *ctx, int argc, char **argv) {
    fd_args a = {.command = "doctor",
                 .about = "Says what this build and machine can do, and whether all that is needed works."};
    FD_TRY(fd_args_parse(ctx, &a, argc, argv));
    if (a.helped) return FD_OK;
    fd_cpu_facts f;
    fd_cpu_describe(&f);
    printf("fdistill     %s\n", fd_version());
    printf("compiler     %s %s\n",
#ifdef __clang__
           "clang",
#else
           "gcc",
#endif
           __VERSION__);
    printf("processor    %s\n", f.processor[0] ? f.processor : "unknown");
    printf("instructions %s\n", f.isa);
    char waiting[80];
    fd_waiting_describe(waiting);
    printf("threads      %d of %d cores; those that wait %s\n", ctx->threads ? ctx->threads : omp_get_max_threads(), f.cores, waiting);
    printf("memory       %.1f GiB\n", physical_memory_gib());
    printf("convolutions %s\n", f.onednn);
    char tuned[4096];
    const int threads = ctx->threads ? ctx->threads : omp_get_max_threads(), known = fd_tune_known(ctx, threads);
    fd_tune_path(threads, tuned);
    if (known) printf("             %d measured here: %s\n", known, tuned);
    else printf("             none measured for so many threads; --tune on does it\n");
    const char *way = fd_comm_transport();
    if (way) printf("ranks        over %s: mpirun -n 4 fdistill …\n", way);
    else printf("ranks        one: built without Open MPI\n");
    static fd_status (*const trials[])(fd_ctx *, char *, size_t) = {network_trial, eigen_trial, picture_trial};
    for (size_t i = 0; i < FD_COUNT(trials); i++) {
        char said[160] = "";
        FD_TRY(trials[i](ctx, said, sizeof said));
        printf("tried        %s\n", said);
    }
    printf("All needed parts work.\n");
    return FD_OK;
}
