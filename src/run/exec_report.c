/* exec_report.c — what a plan looks like and where its time goes. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "run/exec_internal.h"

fd_plan_summary fd_exec_summary(const fd_exec *e) {
    fd_plan_summary s = {.act_bytes = e->act_bytes, .act_unplanned = e->unplanned_bytes, .input_bytes = e->input_bytes,
                         .work_bytes = e->work_bytes, .nodes = e->nnode};
    for (int i = 0; i < e->nnode; i++) s.flops += fd_op_flops(e->g, &e->g->node[i]);
    return s;
}

static void print_value(const fd_exec *e, fd_val v, const char *operand, FILE *f) {
    char label[96];
    if (v <= 0) return;
    const fd_value *x = &e->g->val[v];
    fprintf(f, " %s=%s[%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 "]", operand, fd_val_label(e->g, v, label), x->s.n,
            x->s.c, x->s.h, x->s.w);
    if (x->dt == FD_BF16) fputs("bf16", f);
    if (x->kind == FD_VAL_NODE) fprintf(f, "@%zu", e->slot[e->slot_of[v]].offset);
}

void fd_exec_dump(const fd_exec *e, FILE *f) {
    for (int i = 0; i < e->nnode; i++) {
        const fd_node *n = &e->g->node[i];
        const fd_op_info *info = fd_op_get(n->op);
        fprintf(f, "%5d %-16s %-36s", i, info->name, n->scope);
        for (int k = 0; k < n->nout; k++) print_value(e, n->out[k], info->out_name[k], f);
        fputs("  <-", f);
        for (int k = 0; k < n->nin; k++) print_value(e, n->in[k], info->in_name[k], f);
        double flops = fd_op_flops(e->g, n);
        if (flops > 0) fprintf(f, "  %.3f MFLOP", flops * 1e-6);
        if (e->call[i].work_bytes) fprintf(f, "  work %zu B", e->call[i].work_bytes);
        if (e->call[i].algo) fprintf(f, "  (%s)", e->call[i].algo);
        fputc('\n', f);
    }
    fd_plan_summary s = fd_exec_summary(e);
    fprintf(f, "%d nodes, %.3f GFLOP, activations %.2f MiB (%.2f MiB without reuse), inputs %.2f MiB, largest workspace %.2f MiB\n",
            s.nodes, s.flops * 1e-9, (double)s.act_bytes / 1048576, (double)s.act_unplanned / 1048576,
            (double)s.input_bytes / 1048576, (double)s.work_bytes / 1048576);
}

void fd_exec_profile(fd_exec *e, bool on) {
    e->profile = on;
    if (!on) return;
    memset(e->seconds, 0, (size_t)e->nnode * sizeof *e->seconds);
    memset(e->runs, 0, (size_t)e->nnode * sizeof *e->runs);
}

static int slower_first(const void *a, const void *b) {
    double x = ((const fd_profile_row *)a)->seconds, y = ((const fd_profile_row *)b)->seconds;
    return x < y ? 1 : x > y ? -1 : 0;
}

static double node_bytes(const fd_exec *e, int i) {
    const fd_call *c = &e->call[i];
    double b = 0;
    for (int k = 0; k < FD_MAX_IN; k++) b += c->in[k].p ? (double)fd_tensor_bytes(c->in[k].s, c->in[k].dt) : 0;
    for (int k = 0; k < FD_MAX_OUT; k++) b += c->out[k].p ? (double)fd_tensor_bytes(c->out[k].s, c->out[k].dt) : 0;
    return b;
}

static bool same_row(const fd_profile_row *a, const fd_profile_row *b) {
    return a->op == b->op && a->dt == b->dt && !strcmp(a->algo, b->algo) && fd_same_shape(a->in, b->in) &&
           fd_same_shape(a->out, b->out);
}

int fd_exec_profile_rows(const fd_exec *e, bool by_shape, fd_profile_row *rows, int most) {
    int n = 0;
    for (int i = 0; i < e->nnode; i++) {
        const fd_call *c = &e->call[i];
        fd_profile_row new = {.op = fd_op_get(e->g->node[i].op)->name, .algo = c->algo ? c->algo : "", .dt = c->in[0].dt};
        if (by_shape) new.in = c->in[0].s, new.out = c->out[0].s;
        int r = 0;
        while (r < n && !same_row(&rows[r], &new)) r++;
        if (r == n && n == most) r = n - 1;        /* more kinds than rows: the last one collects */
        else if (r == n) rows[n++] = new;
        rows[r].seconds += e->seconds[i];
        rows[r].flops += fd_op_flops(e->g, &e->g->node[i]) * (double)e->runs[i];
        rows[r].bytes += node_bytes(e, i) * (double)e->runs[i];
        rows[r].calls += e->runs[i];
    }
    qsort(rows, (size_t)n, sizeof *rows, slower_first);
    return n;
}
