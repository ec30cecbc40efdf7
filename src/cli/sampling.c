#include "cli/sampling.h"

#include <stdio.h>
#include <string.h>

const char *const fd_solver_names[] = {"heun", "euler", "dpmpp_2m", NULL};
const char *const fd_precision_names[] = {"fp32", "bf16", NULL};

fd_status fd_load_generator(fd_ctx *ctx, const char *path, fd_net **out) {
    FD_TRY(fd_net_load(ctx, path, out));
    fd_family f = (*out)->config.family;
    if (fd_is_unet(f)) return FD_OK;
    fd_net_free(*out);
    *out = NULL;
    return FD_FAIL(ctx, FD_E_ARG, "%s: a U-Net is needed to make images, but this is a %s network", path,
                   fd_family_name(f));
}

fd_status fd_sampling_resolve(fd_ctx *ctx, const fd_sampling *s, const fd_net *net, fd_sampler *out) {
    fd_sampler k = fd_sampler_for(net, s->steps);
    k.solver = (fd_solver)s->solver;
    if (!isnan(s->sigma_min)) k.sigma_min = s->sigma_min;
    if (!isnan(s->sigma_max)) k.sigma_max = s->sigma_max;
    if (!isnan(s->rho)) k.rho = s->rho;
    k.s_churn = s->s_churn;
    k.s_min = s->s_min;
    k.s_max = s->s_max;
    k.s_noise = s->s_noise;
    FD_TRY(fd_sampler_check(ctx, &k));
    if (s->cls >= 0 && !net->config.label_dim)
        return FD_FAIL(ctx, FD_E_ARG, "--class: this network has no classes");
    if (s->cls >= net->config.label_dim && s->cls >= 0)
        return FD_FAIL(ctx, FD_E_ARG, "--class: %d is not in 0…%d", s->cls, net->config.label_dim - 1);
    *out = k;
    return FD_OK;
}

void fd_sampler_words(const fd_sampler *s, char out[160]) {
    if (s->steps == 1) {
        snprintf(out, 160, "1 step at sigma %g", s->sigma_max);
        return;
    }
    static const char *const names[FD_SOLVERS] = {"Heun", "Euler", "DPM-Solver++(2M)"};
    int n = snprintf(out, 160, "%d %s steps, sigma %g to %g, rho %g", s->steps, names[s->solver], s->sigma_max, s->sigma_min, s->rho);
    if (s->s_churn > 0)
        snprintf(out + n, 160 - (size_t)n, ", churn %g (%g to %g, noise %g)", s->s_churn, s->s_min, s->s_max,
                 s->s_noise);
}
