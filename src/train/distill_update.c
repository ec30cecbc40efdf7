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
    fd_updater_close(&p->updater);
    fd_arena_free(&p->arena);
    *p = (fd_distill_progress){0};
}

static fd_status clear_gradients(fd_ctx *ctx, const fd_distill_nets *nets, fd_updater *u, bool student) {
    for (int k = 0; k < FD_TRAINED_NETS; k++) {
        fd_net *net = trained_net(nets, k);
        if (net && (k == FD_STUDENT) == student) FD_TRY(fd_updater_clear(ctx, u, &net->params));
    }
    return FD_OK;
}

/* The gradient of all ranks together; *good stays true if it is finite. */
static fd_status sum_and_measure(fd_ctx *ctx, const fd_distiller *d, const fd_distill_nets *nets, fd_distill_progress *p,
                                 int which, fd_iteration *out, bool *good) {
    fd_net *net = trained_net(nets, which);
    if (!net) return FD_OK;
    fd_ranges r = trained_ranges(d, which);
    FD_TRY(fd_updater_sum(ctx, &p->updater, &net->params));
    FD_TRY(fd_updater_measure(ctx, &p->updater, r.list, r.n, &net->params, &out->grad[which]));
    *good = *good && isfinite(out->grad[which].norm);
    return FD_OK;
}

static fd_status update(fd_ctx *ctx, const fd_distiller *d, const fd_distill_nets *nets, fd_distill_progress *p, int which,
                   const fd_adam *o, double factor, const fd_ema *emas, int n_emas) {
    fd_net *net = trained_net(nets, which);
    if (!net) return FD_OK;
    fd_ranges r = trained_ranges(d, which);
    p->adam[which].steps++;
    return fd_updater_adamw(ctx, &p->updater, o, (int64_t)p->adam[which].steps, r.list, r.n, &net->params, p->adam[which].m,
                            p->adam[which].v, factor, emas, n_emas);
}

/* From the student's gradient to its weights and averages. fine: the loss is finite. */
static fd_status update_student(fd_ctx *ctx, fd_distiller *d, const fd_distill_method *m, const fd_distill_nets *nets,
                                fd_distill_progress *p, const fd_adam *optimiser, const double *ema_beta, bool fine,
                                fd_iteration *out) {
    if (fine) FD_TRY(sum_and_measure(ctx, d, nets, p, FD_STUDENT, out, &fine));
    out->skipped = !fine;
    if (out->skipped) return FD_OK;
    fd_ema emas[FD_EMAS_MAX];
    for (int i = 0; i < p->n_ema; i++) emas[i] = (fd_ema){p->ema[i], ema_beta[i]};
    out->clip = fd_clip_factor(out->grad[FD_STUDENT].norm, m->clip);
    return update(ctx, d, nets, p, FD_STUDENT, &optimiser[FD_STUDENT], out->clip, emas, p->n_ema);
}

static fd_status student_step(fd_ctx *ctx, fd_distiller *d, const fd_distill_method *m, const fd_distill_nets *nets,
                              fd_distill_progress *p, const fd_distill_batch *b, const fd_distill_pairs *pairs,
                              const fd_adam *optimiser, const double *ema_beta, fd_iteration *out) {
    fd_ratio before = p->ratio;
    /* Before the method's own part, which leaves what it passes through in the distiller's memory. */
    if (pairs) FD_TRY(fd_distiller_regress(ctx, d, &pairs->b, pairs->target, m->pair_weight, &out->pairs));
    fd_status s = fd_distiller_student(ctx, d, b, &p->ratio, NULL, &out->student);
    if (s != FD_OK && s != FD_E_NUMERIC) return s;
    bool fine = s == FD_OK && isfinite(out->student.loss) && isfinite(out->pairs);
    FD_TRY(update_student(ctx, d, m, nets, p, optimiser, ema_beta, fine, out));
    if (out->skipped) p->ratio = before;
    return FD_OK;
}

static fd_status critic_step(fd_ctx *ctx, fd_distiller *d, const fd_distill_nets *nets, fd_distill_progress *p,
                             const fd_distill_batch *b, const fd_adam *optimiser, const double *ema_beta,
                             fd_iteration *out) {
    FD_TRY(fd_distiller_critic(ctx, d, b, &out->critic));
    bool fine = isfinite(out->critic.loss);
    FD_TRY(sum_and_measure(ctx, d, nets, p, FD_FAKE, out, &fine));
    FD_TRY(sum_and_measure(ctx, d, nets, p, FD_HEADS, out, &fine));
    out->skipped = !fine;
    if (out->skipped) return FD_OK;
    FD_TRY(update(ctx, d, nets, p, FD_FAKE, &optimiser[FD_FAKE], 1, NULL, 0));
    FD_TRY(update(ctx, d, nets, p, FD_HEADS, &optimiser[FD_HEADS], 1, NULL, 0));
    fd_ranges r = fd_distiller_student_ranges(d);
    fd_ema emas[FD_EMAS_MAX];
    for (int i = 0; i < p->n_ema; i++) emas[i] = (fd_ema){p->ema[i], ema_beta[i]};
    return fd_updater_average(ctx, &p->updater, r.list, r.n, &nets->student->params, emas, p->n_ema);
}

fd_status fd_distill_iterate(fd_ctx *ctx, fd_distiller *d, const fd_distill_method *m, const fd_distill_nets *nets,
                             fd_distill_progress *p, int64_t iteration, const fd_distill_batch *b, const fd_distill_pairs *pairs,
                             const fd_adam optimiser[FD_TRAINED_NETS], const double *ema_beta, fd_iteration *out) {
    *out = (fd_iteration){.was_student = iteration % m->freq == 0, .clip = 1};
    p->updater.device = fd_distiller_device(d);
    FD_TRY(clear_gradients(ctx, nets, &p->updater, out->was_student));
    fd_status s = out->was_student ? student_step(ctx, d, m, nets, p, b, pairs, optimiser, ema_beta, out)
                                   : critic_step(ctx, d, nets, p, b, optimiser, ema_beta, out);
    if (s == FD_OK && out->skipped)
        s = fd_distiller_find_nonfinite(ctx, d, out->was_student, &out->culprit_scope, &out->culprit_op);
    return s;
}

fd_status fd_distill_approach(fd_ctx *ctx, fd_distiller *d, const fd_distill_method *m, const fd_distill_nets *nets,
                              fd_distill_progress *p, const fd_distill_pairs *pairs,
                              const fd_adam optimiser[FD_TRAINED_NETS], const double *ema_beta, fd_iteration *out) {
    *out = (fd_iteration){.was_student = true, .clip = 1};
    p->updater.device = fd_distiller_device(d);
    FD_TRY(clear_gradients(ctx, nets, &p->updater, true));
    FD_TRY(fd_distiller_regress(ctx, d, &pairs->b, pairs->target, 1, &out->pairs));
    FD_TRY(update_student(ctx, d, m, nets, p, optimiser, ema_beta, isfinite(out->pairs), out));
    return out->skipped ? fd_distiller_find_nonfinite(ctx, d, true, &out->culprit_scope, &out->culprit_op) : FD_OK;
}
