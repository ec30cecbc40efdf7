/* EDM preconditioning (Karras et al. 2022, table 1; EDM networks.py EDMPrecond):
 *   c_skip = sd^2/(s^2 + sd^2)   c_out = s sd/sqrt(s^2 + sd^2)   c_in = 1/sqrt(s^2 + sd^2)   c_noise = ln(s)/4
 */
#include <math.h>
#include <stdio.h>

#include "models/models.h"

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
    *D = fd_mix_rows(nn->g, x, io->F, k->c_skip, k->c_out, FD_F32);
    return fd_graph_ok(nn->g) ? FD_OK : nn->ctx->code;
}

void fd_precond_coefficients(const double *sigma, int n, double sd, float *c_skip, float *c_out, float *c_in,
                             float *c_noise) {
    for (int i = 0; i < n; i++) {
        double s = sigma[i], total = s * s + sd * sd;
        c_skip[i] = (float)(sd * sd / total);
        c_out[i] = (float)(s * sd / sqrt(total));
        c_in[i] = (float)(1 / sqrt(total));
        c_noise[i] = (float)(log(s) / 4);
    }
}
