/* step_profile — where the time of a training pass goes: forward, loss and backward of a published network.
 *
 *   step_profile [BATCH [f32|bf16 [ddpmpp|ncsnpp|adm [PASSES]]]]     default: 8 f32 ddpmpp 2
 *
 * Prints milliseconds per image and the time of every op, and of its slowest nodes by shape. Random weights.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/progress.h"
#include "train/edm_step.h"

static fd_status profile(fd_ctx *ctx, fd_arena *arena, int n, fd_dtype dt, fd_family family, int passes) {
    fd_net_config config;
    fd_net *net;
    fd_edm_step step;
    fd_net_config_preset(&config, family);
    FD_TRY(fd_net_new(ctx, &config, &net));
    fd_net_init_random(net, 1);
    fd_edm_step_spec spec = {.n = n, .dtype = dt, .dropout_seed = 1};
    fd_status status = fd_edm_step_open(ctx, net, &spec, &step);
    if (status != FD_OK) {
        fd_net_free(net);
        return status;
    }
    int64_t count = fd_count(fd_view_shape(&step.view));
    float *images = fd_arena_alloc(ctx, arena, (size_t)count * 4), *noise = fd_arena_alloc(ctx, arena, (size_t)count * 4);
    double *sigma = fd_arena_alloc(ctx, arena, (size_t)n * sizeof *sigma), loss = 0, start = 0;
    if (!images || !noise || !sigma) status = FD_E_NOMEM;
    for (int64_t i = 0; status == FD_OK && i < count; i++) images[i] = (float)(i % 17) / 17, noise[i] = (float)(i % 13) - 6;
    for (int i = 0; status == FD_OK && i < n; i++) sigma[i] = 0.5;
    for (int i = -1; i < passes && status == FD_OK; i++) {
        if (i == 0) {                /* the first pass lays out the weights */
            fd_exec_profile(step.view.e, true);
            start = fd_now();
        }
        status = fd_edm_step_run(ctx, &step, images, noise, sigma, NULL, NULL, 0, 1, &loss);
    }
    if (status == FD_OK) {
        printf("%s %s, batch %d, %d threads: %.2f ms per image, forward and backward\n", fd_family_name(family),
               dt == FD_BF16 ? "bf16" : "f32", n, omp_get_max_threads(), (fd_now() - start) * 1e3 / passes / n);
        fd_exec_profile_report(step.view.e, stdout);
        printf("convolutions: %.1f %% of the time\n", 100 * fd_exec_profile_conv_share(step.view.e));
    }
    fd_edm_step_close(&step);
    fd_net_free(net);
    return status;
}

int main(int argc, char **argv) {
    fd_ctx ctx = {0};
    fd_arena arena = {0};
    int n = argc > 1 ? atoi(argv[1]) : 8, passes = argc > 4 ? atoi(argv[4]) : 2;
    fd_dtype dt = argc > 2 && !strcmp(argv[2], "bf16") ? FD_BF16 : FD_F32;
    const char *name = argc > 3 ? argv[3] : "ddpmpp";
    fd_family family = !strcmp(name, "adm") ? FD_FAMILY_ADM : !strcmp(name, "ncsnpp") ? FD_FAMILY_NCSNPP : FD_FAMILY_DDPMPP;
    fd_status status = n < 1 || passes < 1 ? FD_FAIL(&ctx, FD_E_ARG, "usage: step_profile [BATCH [f32|bf16 [FAMILY [PASSES]]]]")
                                           : profile(&ctx, &arena, n, dt, family, passes);
    if (status != FD_OK) fprintf(stderr, "step_profile: %s\n", ctx.message);
    fd_arena_free(&arena);
    return status != FD_OK;
}
