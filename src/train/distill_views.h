/* distill_views.h — the plans of a distillation step. What each computes is said in distiller.h. */
#ifndef FD_TRAIN_DISTILL_VIEWS_H
#define FD_TRAIN_DISTILL_VIEWS_H

#include "train/distiller.h"

typedef struct {
    fd_view v;
    fd_val logits;          /* [rows, heads]; 0 without heads */
    fd_val dlogits;         /* injected */
    fd_val dx;              /* teacher: gradient of the injected logits at x */
    int logits_end;         /* node position where D and logits are there */
} fd_tapped_view;

typedef struct {
    fd_view v;
    fd_val dD;              /* injected gradient at the image */
    int forward_end;
} fd_student_view;

typedef struct {
    fd_view v;
    fd_val target, weight, dloss, loss;
} fd_fake_view;

typedef struct {
    fd_pool pool;                 /* of all but the student */
    fd_student_view student;
    fd_tapped_view teacher;       /* n rows, whole network */
    fd_fake_view fake;            /* its forward part alone gives D_fake */
    fd_tapped_view critic;        /* 2n or 3n rows: fake, real(, R1), encoder only */
} fd_distill_views;

/* r1: whether the critic sees the rows of the approximate R1 penalty. */
fd_status fd_distill_views_open(fd_ctx *ctx, const fd_distiller_spec *spec, const fd_distill_nets *nets, bool r1,
                                fd_distill_views *v);
void fd_distill_views_close(fd_distill_views *v);     /* safe on {0} */
size_t fd_distill_views_bytes(const fd_distill_views *v);

/* The parts of a set's flat arrays that the graph's gradients reach, merged where they touch. */
fd_status fd_trained_ranges(fd_ctx *ctx, fd_arena *a, const fd_graph *g, const fd_params *set, fd_ranges *out);

#endif
