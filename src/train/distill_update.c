#include "train/distill_update.h"

#include <math.h>
#include <string.h>

static fd_net *trained_net(const fd_distill_nets *n, int which) {
    return which == FD_STUDENT ? n->student : which == FD_FAKE ? n->fake : n->heads;
}
static fd_ranges trained_ranges(const fd_distiller *d, int which) {
    return which == FD_STUDENT ? fd_distiller_student_ranges(d)
         : which == FD_FAKE    ? fd_distiller_fake_ranges(d)
                               : fd_distiller_heads_ranges(d);
}

fd_status fd_distill_progress_new(fd_ctx *ctx, const fd_distill_method *m, const fd_distill_nets *nets, int n_ema,
                                  fd_distill_progress *p) {
    *p = (fd_distill_progress){.n_ema = n_ema};
    FD_TRY(fd_ratio_init(ctx, &m->ratio, &p->ratio));
    for (int k = 0; k < FD_TRAINED_NETS; k++) {
        const fd_net *net = trained_net(nets, k);
        if (!net) continue;
        FD_NEW(ctx, &p->arena, p->adam[k].m, net->params.trained);
        FD_NEW(ctx, &p->arena, p->adam[k].v, net->params.trained);
    }
    const fd_params *s = &nets->student->params;
    for (int i = 0; i < n_ema; i++) {
        FD_NEW(ctx, &p->arena, p->ema[i], s->total);
        memcpy(p->ema[i], s->w, sizeof(float) * (size_t)s->total);
    }
    return FD_OK;
}

void fd_distill_progress_free(fd_distill_progress *p) {
    fd_arena_free(&p->arena);
    *p = (fd_distill_progress){0};
}

static void clear_gradients(const fd_distill_nets *nets) {
    for (int k = 0; k < FD_TRAINED_NETS; k++) {
        fd_net *net = trained_net(nets, k);
        if (net) memset(net->params.g, 0, sizeof(float) * (size_t)net->params.trained);
    }
}

static bool good(const fd_distiller *d, const fd_distill_nets *nets, int which, fd_iteration *out) {
    fd_net *net = trained_net(nets, which);
    if (!net) return true;
    fd_ranges r = trained_ranges(d, which);
    out->grad[which] = fd_grad_measure(r.list, r.n, net->params.g);
    return isfinite(out->grad[which].norm);
}

static void update(const fd_distiller *d, const fd_distill_nets *nets, fd_distill_progress *p, int which,
                   const fd_adam *o, double factor, const fd_ema *emas, int n_emas) {
    fd_net *net = trained_net(nets, which);
    if (!net) return;
    fd_ranges r = trained_ranges(d, which);
    p->adam[which].steps++;
    fd_adamw_step(o, (int64_t)p->adam[which].steps, r.list, r.n, net->params.w, net->params.g, p->adam[which].m,
                  p->adam[which].v, factor, emas, n_emas);
    fd_params_touch(&net->params);
}

static fd_status student_step(fd_ctx *ctx, fd_distiller *d, const fd_distill_method *m, const fd_distill_nets *nets,
                              fd_distill_progress *p, const fd_distill_batch *b, const fd_adam *optimiser,
                              const double *ema_beta, fd_iteration *out) {
    fd_ratio before = p->ratio;
    fd_status s = fd_distiller_student(ctx, d, b, &p->ratio, NULL, &out->student);
    if (s != FD_OK && s != FD_E_NUMERIC) return s;
    out->skipped = s == FD_E_NUMERIC || !isfinite(out->student.loss) || !good(d, nets, FD_STUDENT, out);
    if (out->skipped) {
        p->ratio = before;
        return FD_OK;
    }
    fd_ema emas[FD_EMAS_MAX];
    for (int i = 0; i < p->n_ema; i++) emas[i] = (fd_ema){p->ema[i], ema_beta[i]};
    out->clip = fd_clip_factor(out->grad[FD_STUDENT].norm, m->clip);
    update(d, nets, p, FD_STUDENT, &optimiser[FD_STUDENT], out->clip, emas, p->n_ema);
    return FD_OK;
}

static fd_status critic_step(fd_ctx *ctx, fd_distiller *d, const fd_distill_nets *nets, fd_distill_progress *p,
                             const fd_distill_batch *b, const fd_adam *optimiser, const double *ema_beta,
                             fd_iteration *out) {
    FD_TRY(fd_distiller_critic(ctx, d, b, &out->critic));
    bool fake = good(d, nets, FD_FAKE, out), heads = good(d, nets, FD_HEADS, out);
    out->skipped = !isfinite(out->critic.loss) || !fake || !heads;
    if (out->skipped) return FD_OK;
    update(d, nets, p, FD_FAKE, &optimiser[FD_FAKE], 1, NULL, 0);
    update(d, nets, p, FD_HEADS, &optimiser[FD_HEADS], 1, NULL, 0);
    fd_ranges r = fd_distiller_student_ranges(d);
    for (int i = 0; i < p->n_ema; i++) fd_ema_update(r.list, r.n, nets->student->params.w, p->ema[i], ema_beta[i]);
    return FD_OK;
}

fd_status fd_distill_iterate(fd_ctx *ctx, fd_distiller *d, const fd_distill_method *m, const fd_distill_nets *nets,
                             fd_distill_progress *p, int64_t iteration, const fd_distill_batch *b,
                             const fd_adam optimiser[FD_TRAINED_NETS], const double *ema_beta, fd_iteration *out) {
    *out = (fd_iteration){.was_student = iteration % m->freq == 0, .clip = 1};
    clear_gradients(nets);
    fd_status s = out->was_student ? student_step(ctx, d, m, nets, p, b, optimiser, ema_beta, out)
                                   : critic_step(ctx, d, nets, p, b, optimiser, ema_beta, out);
    if (s == FD_OK && out->skipped)
        s = fd_distiller_find_nonfinite(ctx, d, out->was_student, &out->culprit_scope, &out->culprit_op);
    return s;
}
