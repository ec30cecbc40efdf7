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

typedef struct { const char *op, *algo; double seconds, flops, bytes; int64_t calls; } row;

static int slower_first(const void *a, const void *b) {
    double x = ((const row *)a)->seconds, y = ((const row *)b)->seconds;
    return x < y ? 1 : x > y ? -1 : 0;
}

static double node_bytes(const fd_exec *e, int i) {
    const fd_call *c = &e->call[i];
    double b = 0;
    for (int k = 0; k < FD_MAX_IN; k++) b += c->in[k].p ? (double)fd_tensor_bytes(c->in[k].s, c->in[k].dt) : 0;
    for (int k = 0; k < FD_MAX_OUT; k++) b += c->out[k].p ? (double)fd_tensor_bytes(c->out[k].s, c->out[k].dt) : 0;
    return b;
}

void fd_exec_profile_report(const fd_exec *e, FILE *f) {
    row rows[4 * FD_OP_COUNT] = {0};
    int n = 0;
    double total = 0;
    for (int i = 0; i < e->nnode; i++) {
        const char *op = fd_op_get(e->g->node[i].op)->name, *algo = e->call[i].algo ? e->call[i].algo : "";
        int r = 0;
        while (r < n && (rows[r].op != op || strcmp(rows[r].algo, algo) != 0)) r++;
        if (r == n && n == (int)FD_COUNT(rows)) r = n - 1;     /* more algorithms than rows: the last one collects */
        else if (r == n) n++;
        rows[r].op = op;
        rows[r].algo = algo;
        rows[r].seconds += e->seconds[i];
        rows[r].flops += fd_op_flops(e->g, &e->g->node[i]) * (double)e->runs[i];
        rows[r].bytes += node_bytes(e, i) * (double)e->runs[i];
        rows[r].calls += e->runs[i];
        total += e->seconds[i];
    }
    qsort(rows, (size_t)n, sizeof *rows, slower_first);
    fprintf(f, "%-18s %-18s %9s %9s %6s %9s %8s\n", "op", "algorithm", "calls", "ms", "%", "GFLOP/s", "GB/s");
    for (int r = 0; r < n; r++)
        fprintf(f, "%-18s %-18s %9" PRId64 " %9.2f %6.1f %9.1f %8.1f\n", rows[r].op, rows[r].algo, rows[r].calls,
                rows[r].seconds * 1e3, total > 0 ? 100 * rows[r].seconds / total : 0,
                rows[r].seconds > 0 ? rows[r].flops * 1e-9 / rows[r].seconds : 0,
                rows[r].seconds > 0 ? rows[r].bytes * 1e-9 / rows[r].seconds : 0);
    fprintf(f, "%-18s %-18s %9s %9.2f\n", "total", "", "", total * 1e3);
}

double fd_exec_profile_conv_share(const fd_exec *e) {
    double conv = 0, total = 0;
    for (int i = 0; i < e->nnode; i++) {
        fd_op op = e->g->node[i].op;
        total += e->seconds[i];
        if (op == FD_OP_conv2d || op == FD_OP_conv2d_bwd_x || op == FD_OP_conv2d_bwd_w) conv += e->seconds[i];
    }
    return total > 0 ? conv / total : 0;
}
