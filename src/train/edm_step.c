#include "train/edm_step.h"

#include <string.h>

static fd_status add_loss(fd_ctx *ctx, fd_edm_step *s, fd_net *net) {
    fd_graph *g = s->view.g;
    int n = s->view.n;
    fd_graph_scope(g, "loss");
    s->y = fd_graph_input(g, "y", fd_view_shape(&s->view), FD_F32);
    s->weight = fd_graph_input(g, "weight", (fd_shape){n, 1, 1, 1}, FD_F32);
    s->dloss = fd_graph_input(g, "dloss", (fd_shape){n, 1, 1, 1}, FD_F32);
    s->loss = fd_sq_err(g, s->view.D, s->y, s->weight);
    fd_graph_keep(g, s->loss);
    fd_params *set = &net->params;
    FD_TRY(fd_params_need_grads(ctx, set));
    FD_TRY(fd_graph_backward(g, 1, &s->loss, &s->dloss, 1, &set, 0, NULL, NULL));
    FD_NEW(ctx, &s->view.arena, s->noisy, fd_count(fd_view_shape(&s->view)));
    FD_NEW(ctx, &s->view.arena, s->w, n);
    return FD_OK;
}

fd_status fd_edm_step_open(fd_ctx *ctx, fd_net *net, const fd_edm_step_spec *spec, fd_edm_step *s) {
    memset(s, 0, sizeof *s);
    fd_view_spec v = {.n = spec->n, .dtype = spec->dtype, .augment = spec->augment, .dropout = true,
                      .dropout_seed = spec->dropout_seed};
    FD_TRY(fd_view_open(ctx, net, &v, &s->view));
    fd_status status = add_loss(ctx, s, net);
    if (status == FD_OK) status = fd_view_plan(ctx, &s->view, spec->backend, NULL);
    if (status != FD_OK) fd_edm_step_close(s);
    return status;
}

void fd_edm_step_close(fd_edm_step *s) {
    fd_view_close(&s->view);
    memset(s, 0, sizeof *s);
}

fd_status fd_edm_step_run(fd_ctx *ctx, fd_edm_step *s, const float *images, const float *noise, const double *sigma,
                          const float *labels, const float *augment, uint64_t first, double scale, double *loss) {
    fd_view *v = &s->view;
    fd_shape shape = fd_view_shape(v);
    int64_t pixels = shape.c * shape.h * shape.w;
    double sd = v->net->config.sigma_data;
    for (int i = 0; i < v->n; i++) {
        /* The noise level is rounded to float first: EDM draws and applies it in the images' type. */
        float t = (float)sigma[i];
        for (int64_t p = i * pixels; p < (i + 1) * pixels; p++) s->noisy[p] = images[p] + t * noise[p];
        s->w[i] = (float)((sigma[i] * sigma[i] + sd * sd) / (sigma[i] * sd * sigma[i] * sd));
    }
    FD_TRY(fd_view_fill(ctx, v, s->noisy, sigma, labels, augment));
    FD_TRY(fd_view_count_samples(ctx, v, first));
    FD_TRY(fd_exec_write(ctx, v->e, s->y, images));
    FD_TRY(fd_exec_write(ctx, v->e, s->weight, s->w));
    FD_TRY(fd_exec_fill(ctx, v->e, s->dloss, (float)scale));
    FD_TRY(fd_exec_run(ctx, v->e, 0, -1));
    FD_TRY(fd_exec_read(ctx, v->e, s->loss, s->w));
    for (int i = 0; i < v->n; i++) *loss += scale * (double)s->w[i];
    return FD_OK;
}
