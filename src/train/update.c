#include "train/update.h"

#include <math.h>
#include <string.h>

#include "comm/comm.h"

void fd_updater_close(fd_updater *u) {
    for (int i = 0; i < u->n; i++) fd_twin_put(u->held[i]);
    for (int i = 0; i < u->n_reserved; i++) fd_twin_put(u->reserved[i]);
    *u = (fd_updater){0};
}

/* The device's copy of a block, kept until close; filled from the host when it is first asked for. */
static fd_status hold(fd_ctx *ctx, fd_updater *u, const float *host, int64_t count, fd_twin **out) {
    for (int i = 0; i < u->n; i++)
        if (u->held[i]->host == host) {
            *out = u->held[i];
            return FD_OK;
        }
    if (u->n == FD_UPDATER_BLOCKS) return FD_FAIL(ctx, FD_E_ARG, "an updater holds at most %d blocks", FD_UPDATER_BLOCKS);
    FD_TRY(fd_twin_get(ctx, u->device, host, (size_t)count * sizeof(float), out));
    u->held[u->n++] = *out;
    return (*out)->newer ? FD_OK : u->device->put(ctx, (*out)->p, host, (*out)->bytes);
}

fd_status fd_updater_reserve(fd_ctx *ctx, fd_updater *u, const float *host, int64_t count) {
    if (!u->device) return FD_OK;
    for (int i = 0; i < u->n_reserved; i++)
        if (u->reserved[i]->host == host) return FD_OK;
    if (u->n_reserved == FD_UPDATER_BLOCKS) return FD_FAIL(ctx, FD_E_ARG, "an updater holds at most %d blocks", FD_UPDATER_BLOCKS);
    FD_TRY(fd_twin_get(ctx, u->device, host, (size_t)count * sizeof(float), &u->reserved[u->n_reserved]));
    u->n_reserved++;
    return FD_OK;
}

/* Weights that the host changed since are brought over. */
static fd_status hold_weights(fd_ctx *ctx, fd_updater *u, const fd_params *p, fd_twin **out) {
    FD_TRY(hold(ctx, u, p->w, p->total, out));
    if ((*out)->newer || (*out)->version == p->version) return FD_OK;
    (*out)->version = p->version;
    return u->device->put(ctx, (*out)->p, p->w, (*out)->bytes);
}

static fd_status hold_averages(fd_ctx *ctx, fd_updater *u, const fd_params *p, const fd_ema *emas, int n, fd_average *out) {
    for (int i = 0; i < n; i++) {
        fd_twin *a;
        FD_TRY(hold(ctx, u, emas[i].a, p->total, &a));
        a->newer = true;
        out[i] = (fd_average){a->p, (float)(1.0 - emas[i].beta)};
    }
    return FD_OK;
}

fd_status fd_updater_clear(fd_ctx *ctx, fd_updater *u, fd_params *p) {
    if (!u->device) {
        memset(p->g, 0, (size_t)p->trained * sizeof(float));
        return FD_OK;
    }
    fd_twin *g;
    FD_TRY(hold(ctx, u, p->g, p->trained, &g));
    g->newer = true;
    return u->device->zero(ctx, g->p, g->bytes);
}

fd_status fd_updater_sum(fd_ctx *ctx, fd_updater *u, fd_params *p) {
    if (!ctx->comm) return FD_OK;
    if (!u->device) return fd_comm_sum_f32(ctx, p->g, p->trained);
    fd_twin *g;
    bool done;
    FD_TRY(hold(ctx, u, p->g, p->trained, &g));
    FD_TRY(u->device->sum(ctx, g->p, p->trained, &done));
    if (done) return FD_OK;
    FD_TRY(u->device->get(ctx, p->g, g->p, g->bytes));
    FD_TRY(fd_comm_sum_f32(ctx, p->g, p->trained));
    return u->device->put(ctx, g->p, p->g, g->bytes);
}

fd_status fd_updater_measure(fd_ctx *ctx, fd_updater *u, const fd_range *range, int n, fd_params *p, fd_grad_stats *out) {
    fd_twin *g = NULL;
    if (u->device) FD_TRY(hold(ctx, u, p->g, p->trained, &g));
    if (!g || !g->newer) {
        *out = fd_grad_measure(range, n, p->g);
        return FD_OK;
    }
    double sum;
    FD_TRY(u->device->flat->square_sum(ctx, g->p, range, n, &sum));
    *out = (fd_grad_stats){.norm = sqrt(sum), .first_nonfinite = -1};
    if (isfinite(sum)) return FD_OK;
    FD_TRY(u->device->get(ctx, p->g, g->p, g->bytes));      /* which they are is for the report only */
    *out = fd_grad_measure(range, n, p->g);
    return FD_OK;
}

fd_status fd_updater_adamw(fd_ctx *ctx, fd_updater *u, const fd_adam *o, int64_t step, const fd_range *range, int n, fd_params *p,
                           float *m, float *v, double grad_scale, const fd_ema *emas, int n_emas) {
    if (!u->device) {
        fd_adamw_step(o, step, range, n, p->w, p->g, m, v, grad_scale, emas, n_emas);
        fd_params_touch(p);
        return FD_OK;
    }
    fd_twin *tw, *tg, *tm, *tv;
    fd_average average[FD_UPDATER_BLOCKS];
    const fd_adam_factors f = fd_adam_factors_of(o, step, grad_scale);
    if (n_emas > FD_UPDATER_BLOCKS) return FD_FAIL(ctx, FD_E_ARG, "an updater keeps at most %d averages", FD_UPDATER_BLOCKS);
    FD_TRY(hold_weights(ctx, u, p, &tw));
    FD_TRY(hold(ctx, u, p->g, p->trained, &tg));
    FD_TRY(hold(ctx, u, m, p->trained, &tm));
    FD_TRY(hold(ctx, u, v, p->trained, &tv));
    FD_TRY(hold_averages(ctx, u, p, emas, n_emas, average));
    FD_TRY(u->device->flat->adamw(ctx, &f, range, n, tw->p, tg->p, tm->p, tv->p, average, n_emas));
    tw->newer = tm->newer = tv->newer = true;
    fd_params_touch(p);
    tw->version = p->version;
    return FD_OK;
}

fd_status fd_updater_average(fd_ctx *ctx, fd_updater *u, const fd_range *range, int n, fd_params *p, const fd_ema *emas,
                             int n_emas) {
    if (!u->device) {
        for (int i = 0; i < n_emas; i++) fd_ema_update(range, n, p->w, emas[i].a, emas[i].beta);
        return FD_OK;
    }
    fd_twin *tw;
    fd_average average[FD_UPDATER_BLOCKS];
    if (n_emas > FD_UPDATER_BLOCKS) return FD_FAIL(ctx, FD_E_ARG, "an updater keeps at most %d averages", FD_UPDATER_BLOCKS);
    FD_TRY(hold_weights(ctx, u, p, &tw));
    FD_TRY(hold_averages(ctx, u, p, emas, n_emas, average));
    return u->device->flat->average(ctx, range, n, tw->p, average, n_emas);
}
