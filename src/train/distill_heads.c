#include "train/distiller.h"

enum { LEAST_MAP = 4 };      /* pixels of a side that a head needs */

fd_status fd_distill_heads(fd_ctx *ctx, const fd_net *teacher, uint64_t seed, fd_distill_method *m, fd_net **out) {
    const fd_net_config *c = &teacher->config;
    fd_net_config heads;
    if (!(m->gan_weight > 0) && m->divergence->constant) return FD_OK;
    if (!m->ntaps)
        for (int i = 0; i < c->levels; i++)
            if (fd_tap_resolution(c, i) >= LEAST_MAP) m->taps[m->ntaps++] = i;
    FD_TRY(fd_heads_config(ctx, c, m->taps, m->ntaps, m->head_width, &heads));
    heads.head_norm = m->head_norm;
    heads.label_dim = m->head_cond ? c->label_dim : 0;
    FD_TRY(fd_net_new(ctx, &heads, out));
    fd_net_init_random(*out, seed);
    return FD_OK;
}
