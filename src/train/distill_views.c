#include "train/distill_views.h"

#include <string.h>

static fd_status open_student(fd_ctx *ctx, const fd_distiller_spec *spec, fd_net *net, fd_student_view *s) {
    fd_view_spec v = {.n = spec->n, .dtype = spec->dtype, .dropout = true, .dropout_seed = spec->dropout_seed};
    FD_TRY(fd_view_open(ctx, net, &v, &s->v));
    fd_params *set = &net->params;
    s->forward_end = s->v.forward_end;
    s->dD = fd_graph_input(s->v.g, "dD", fd_view_shape(&s->v), FD_F32);
    FD_TRY(fd_params_need_grads(ctx, set));
    FD_TRY(fd_graph_backward(s->v.g, 1, &s->v.D, &s->dD, 1, &set, 0, NULL, NULL));
    /* Memory of its own: its activations wait while the other networks judge its images. */
    return fd_view_plan(ctx, &s->v, spec->backend, NULL);
}

/* The teacher, with heads on its taps unless heads is NULL. */
static fd_status open_tapped(fd_ctx *ctx, const fd_distiller_spec *spec, fd_net *teacher, fd_net *heads, int rows,
                             bool features_only, fd_tapped_view *t) {
    fd_view_spec v = {.n = rows, .dtype = spec->dtype, .features_only = features_only};
    if (heads) {
        v.taps = heads->config.taps;
        v.ntaps = heads->config.ntap;
    }
    FD_TRY(fd_view_open(ctx, teacher, &v, &t->v));
    t->logits_end = t->v.forward_end;
    if (!heads) return FD_OK;
    fd_nn nn;
    fd_graph_scope(t->v.g, "heads");
    fd_nn_init(&nn, t->v.g, &heads->params, spec->dtype);
    FD_TRY(fd_heads_build(&nn, &heads->config, t->v.io.feats, t->v.io.labels, &t->logits));
    fd_graph_keep(t->v.g, t->logits);
    t->logits_end = fd_graph_position(t->v.g);
    t->dlogits = fd_graph_input(t->v.g, "dlogits", t->v.g->val[t->logits].s, FD_F32);
    return FD_OK;
}

static fd_status open_teacher(fd_ctx *ctx, const fd_distiller_spec *spec, const fd_distill_nets *nets,
                              fd_distill_views *w) {
    fd_tapped_view *t = &w->teacher;
    FD_TRY(open_tapped(ctx, spec, nets->teacher, nets->heads, spec->n, false, t));
    if (t->logits) {
        FD_TRY(fd_graph_backward(t->v.g, 1, &t->logits, &t->dlogits, 0, NULL, 1, &t->v.x, &t->dx));
        fd_graph_keep(t->v.g, t->dx);
    }
    return fd_view_plan(ctx, &t->v, spec->backend, &w->pool);
}

static fd_status open_critic(fd_ctx *ctx, const fd_distiller_spec *spec, const fd_distill_nets *nets, bool r1,
                             fd_distill_views *w) {
    if (!nets->heads) return FD_OK;
    fd_tapped_view *t = &w->critic;
    fd_params *set = &nets->heads->params;
    FD_TRY(open_tapped(ctx, spec, nets->teacher, nets->heads, spec->n * (r1 ? 3 : 2), true, t));
    FD_TRY(fd_params_need_grads(ctx, set));
    FD_TRY(fd_graph_backward(t->v.g, 1, &t->logits, &t->dlogits, 1, &set, 0, NULL, NULL));
    return fd_view_plan(ctx, &t->v, spec->backend, &w->pool);
}

static fd_status open_fake(fd_ctx *ctx, const fd_distiller_spec *spec, fd_net *net, fd_distill_views *w) {
    fd_fake_view *f = &w->fake;
    FD_TRY(fd_view_open(ctx, net, &(fd_view_spec){.n = spec->n, .dtype = spec->dtype}, &f->v));
    fd_graph *g = f->v.g;
    fd_params *set = &net->params;
    fd_shape each = {spec->n, 1, 1, 1};
    fd_graph_scope(g, "loss");
    f->target = fd_graph_input(g, "target", fd_view_shape(&f->v), FD_F32);
    f->weight = fd_graph_input(g, "weight", each, FD_F32);
    f->dloss = fd_graph_input(g, "dloss", each, FD_F32);
    f->loss = fd_sq_err(g, f->v.D, f->target, f->weight);
    fd_graph_keep(g, f->loss);
    FD_TRY(fd_params_need_grads(ctx, set));
    FD_TRY(fd_graph_backward(g, 1, &f->loss, &f->dloss, 1, &set, 0, NULL, NULL));
    return fd_view_plan(ctx, &f->v, spec->backend, &w->pool);
}

fd_status fd_distill_views_open(fd_ctx *ctx, const fd_distiller_spec *spec, const fd_distill_nets *nets, bool r1,
                                fd_distill_views *w) {
    FD_TRY(open_student(ctx, spec, nets->student, &w->student));
    FD_TRY(open_teacher(ctx, spec, nets, w));
    FD_TRY(open_critic(ctx, spec, nets, r1, w));
    /* An iteration trains the student or its critics; the memory of one gradient is enough for both. */
    FD_TRY(fd_params_borrow_grads(ctx, &nets->fake->params, &nets->student->params));
    return open_fake(ctx, spec, nets->fake, w);
}

void fd_distill_views_close(fd_distill_views *w) {
    fd_view_close(&w->student.v);
    fd_view_close(&w->teacher.v);
    fd_view_close(&w->critic.v);
    fd_view_close(&w->fake.v);
    fd_pool_free(&w->pool);
}

size_t fd_distill_views_bytes(const fd_distill_views *w) {
    const fd_view *all[] = {&w->student.v, &w->teacher.v, &w->critic.v, &w->fake.v};
    size_t sum = w->pool.bytes;
    for (size_t i = 0; i < FD_COUNT(all); i++) {
        if (!all[i]->e) continue;
        fd_plan_summary s = fd_exec_summary(all[i]->e);
        sum += s.input_bytes + s.work_bytes + (i == 0 ? s.act_bytes : 0);
    }
    return sum;
}

fd_status fd_trained_ranges(fd_ctx *ctx, fd_arena *a, const fd_graph *g, const fd_params *set, fd_ranges *out) {
    bool *reached;
    fd_range *list;
    int n = 0;
    FD_NEW(ctx, a, reached, set->n);
    FD_NEW(ctx, a, list, set->n);
    for (int i = 1; i < g->nval; i++)
        if (g->val[i].kind == FD_VAL_PGRAD && g->set[g->val[i].set] == set) reached[g->val[i].param] = true;
    for (int i = 0; i < set->n; i++) {
        if (!reached[i]) continue;
        const fd_param *p = &set->list[i];
        /* Tensors lie in order; a gap of padding belongs to the one before it. */
        if (n && i && reached[i - 1]) list[n - 1].length = p->offset + p->count - list[n - 1].offset;
        else list[n++] = (fd_range){p->offset, p->count};
    }
    *out = (fd_ranges){list, n};
    return FD_OK;
}
