/* What is around a U-Net: D(x; s) = c_skip x + c_out F(c_in x, c_noise), for four kinds of network (Karras et al. 2022,
 * table 1; EDM networks.py EDMPrecond, VPPrecond, VEPrecond, iDDPMPrecond):
 *
 *          c_skip           c_out                  c_in                c_noise
 *   edm    sd^2/(s^2+sd^2)  s sd/sqrt(s^2 + sd^2)  1/sqrt(s^2 + sd^2)  ln(s)/4
 *   vp     1                -s                     1/sqrt(s^2 + 1)     999 t(s),  t(s) the inverse of
 *                                                                      s(t) = sqrt(exp(19.9 t^2/2 + 0.1 t) - 1)
 *   ve     1                s                      1                   ln(s/2)
 *   iddpm  1                -s                     1/sqrt(s^2 + 1)     999 - index of the level nearest to s
 */
#include <math.h>
#include <stdio.h>

#include "models/models.h"

enum { STEPS = 1000 };            /* M of vp and iddpm */

fd_precond fd_precond_inputs(fd_graph *g, const char *prefix, int n) {
    static const char *const names[] = {"c_skip", "c_out", "c_in", "c_noise"};
    fd_val v[4];
    for (int i = 0; i < 4; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", prefix, names[i]);
        v[i] = fd_graph_input(g, name, (fd_shape){n, 1, 1, 1}, FD_F32);
    }
    return (fd_precond){v[0], v[1], v[2], v[3]};
}

fd_status fd_precond_build(fd_nn *nn, const fd_net_config *c, const fd_precond *k, fd_unet_io *io, fd_val *D) {
    fd_val x = io->x;
    *D = 0;
    fd_graph_scope(nn->g, "precond");
    io->x = fd_mix_rows(nn->g, x, 0, k->c_in, 0, nn->dt);
    io->c_noise = k->c_noise;
    fd_status s = fd_unet_build(nn, c, io);
    io->x = x;
    FD_TRY(s);
    if (io->features_only) return FD_OK;
    fd_graph_scope(nn->g, "precond");
    fd_val F = io->F;
    if (fd_out_channels(c) > c->image_channels) F = fd_slice(nn->g, F, 0, c->image_channels);
    *D = fd_mix_rows(nn->g, x, F, k->c_skip, k->c_out, FD_F32);
    return fd_graph_ok(nn->g) ? FD_OK : nn->ctx->code;
}

/* ---- iDDPM's levels: u[1000] = 0, growing towards u[0] --------------------------------------------------------- */

static double alpha_bar(int j) {
    const double pi = 3.14159265358979323846;
    double v = sin(pi / 2 * j / STEPS / (0.008 + 1));
    return v * v;
}

static void iddpm_levels(double u[STEPS + 1]) {
    u[STEPS] = 0;
    for (int j = STEPS; j > 0; j--)
        u[j - 1] = sqrt((u[j] * u[j] + 1) / fmax(alpha_bar(j - 1) / alpha_bar(j), 0.001) - 1);
}

static int nearest(const double u[STEPS + 1], double sigma) {
    int low = 0, high = STEPS;                         /* u[low] >= sigma >= u[high] where possible */
    while (high - low > 1) {
        int mid = (low + high) / 2;
        if (u[mid] >= sigma) low = mid;
        else high = mid;
    }
    return fabs(u[low] - sigma) <= fabs(u[high] - sigma) ? low : high;
}

double fd_precond_round(const fd_net_config *c, double sigma) {
    double u[STEPS + 1];
    if (c->precond != FD_PRECOND_IDDPM || !(sigma > 0)) return sigma;
    iddpm_levels(u);
    int i = nearest(u, sigma);
    return u[i < STEPS ? i : STEPS - 1];               /* the level 0 is no noise at all */
}

void fd_precond_range(const fd_net_config *c, double *low, double *high) {
    double u[STEPS + 1];
    *low = 0;
    *high = INFINITY;
    switch (c->precond) {
    case FD_PRECOND_EDM: break;
    case FD_PRECOND_VP:                                /* t from 1e-5 to 1 */
        *low = sqrt(expm1(19.9 / 2 * 1e-10 + 0.1 * 1e-5));
        *high = sqrt(expm1(19.9 / 2 + 0.1));
        break;
    case FD_PRECOND_VE:
        *low = 0.02;
        *high = 100;
        break;
    case FD_PRECOND_IDDPM:
        iddpm_levels(u);
        *low = u[STEPS - 1];
        *high = u[0];
    }
}

/* ---- coefficients ---------------------------------------------------------------------------------------------- */

static double vp_time(double s) { return (sqrt(0.01 + 2 * 19.9 * log1p(s * s)) - 0.1) / 19.9; }

void fd_precond_coefficients(const fd_net_config *c, const double *sigma, int n, float *c_skip, float *c_out,
                             float *c_in, float *c_noise) {
    double sd = c->precond == FD_PRECOND_EDM ? c->sigma_data : 1, u[STEPS + 1];
    if (c->precond == FD_PRECOND_IDDPM) iddpm_levels(u);
    for (int i = 0; i < n; i++) {
        double s = sigma[i], total = s * s + sd * sd;
        c_skip[i] = 1;
        c_out[i] = (float)-s;
        c_in[i] = (float)(1 / sqrt(total));
        switch (c->precond) {
        case FD_PRECOND_EDM:
            c_skip[i] = (float)(sd * sd / total);
            c_out[i] = (float)(s * sd / sqrt(total));
            c_noise[i] = (float)(log(s) / 4);
            break;
        case FD_PRECOND_VP: c_noise[i] = (float)((STEPS - 1) * vp_time(s)); break;
        case FD_PRECOND_VE:
            c_out[i] = (float)s;
            c_in[i] = 1;
            c_noise[i] = (float)log(s / 2);
            break;
        case FD_PRECOND_IDDPM: c_noise[i] = (float)(STEPS - 1 - nearest(u, s)); break;
        }
    }
}
