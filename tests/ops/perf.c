/* perf.c — how fast each node of a problem runs in the backend under test: GFLOP/s, and GB/s of what it must read and
 * write next to the GB/s of a plain copy of as many bytes, measured at once. Numbers to look at, not a gate: a test with
 * absolute times fails on another machine. */
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cpu/conv_choice.h"
#include "ops.h"

static double bytes_of(const fd_graph *g, const fd_node *n) {
    double sum = 0;
    for (int k = 0; k < n->nin; k++)
        if (n->in[k] > 0) sum += (double)fd_tensor_bytes(g->val[n->in[k]].s, g->val[n->in[k]].dt);
    for (int k = 0; k < n->nout; k++)
        if (n->out[k] > 0) sum += (double)fd_tensor_bytes(g->val[n->out[k]].s, g->val[n->out[k]].dt);
    return sum;
}

/* Seconds. With one thread (OMP_NUM_THREADS=1) those of the processor, so that nobody else's work counts. */
static double now(void) {
    struct timespec t;
    clock_gettime(omp_get_max_threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best of several runs, for at least 0.2 s. */
static fd_status time_node(fd_ctx *ctx, fd_exec *e, int at, double *best) {
    double start = now();
    *best = 1e30;
    for (int i = 0; i < 5 || now() - start < 0.2; i++) {
        double t = now();
        FD_TRY(fd_exec_run(ctx, e, at, at + 1));
        if (under_test->device) FD_TRY(under_test->device->wait(ctx));
        t = now() - t;
        if (t < *best) *best = t;
    }
    return FD_OK;
}

/* GB/s of copying half as many bytes, each thread its part: reads and writes `bytes` in all. */
static fd_status copy_speed(fd_ctx *ctx, double bytes, double *speed) {
    const size_t half = (size_t)(bytes / 2) + 64;
    fd_arena arena = {0};
    char *from = fd_arena_alloc(ctx, &arena, half), *to = fd_arena_alloc(ctx, &arena, half);
    if (!from || !to) {
        fd_arena_free(&arena);
        return FD_E_NOMEM;
    }
    memset(from, 1, half);
    double start = now(), best = 1e30;
    for (int i = 0; i < 5 || now() - start < 0.1; i++) {
        double t = now();
#pragma omp parallel
        {
            size_t n = (size_t)omp_get_num_threads(), me = (size_t)omp_get_thread_num();
            memcpy(to + half / n * me, from + half / n * me, half / n);
        }
        t = now() - t;
        if (t < best) best = t;
    }
    *speed = (double)half * 2 / best / 1e9;
    fd_arena_free(&arena);
    return FD_OK;
}

bool measure(fd_ctx *ctx, problem *p) {
    fd_params params;
    setup s;
    fd_exec *e = NULL;
    fd_params_init(&params);
    fd_conv_algorithm usual = fd_cpu_conv_algorithm_now();
    if (problem_is(p, "conv", "direct")) fd_cpu_conv_algorithm(FD_CONV_DIRECT);
    if (problem_is(p, "conv", "auto")) fd_cpu_conv_algorithm(FD_CONV_AUTO);
    fd_status status = setup_new(ctx, &s, p, &params, true, 0);   /* all kept: nodes may run alone, in any order */
    if (status == FD_OK) {
        status = setup_exec(&s, under_test, true, &e);
        if (status == FD_OK) status = fd_exec_run(ctx, e, 0, -1);
        printf("%s\n", p->line);
        for (int i = 0; i < s.g->nnode && status == FD_OK; i++) {
            const fd_node *n = &s.g->node[i];
            double t, copy;
            if ((status = time_node(ctx, e, i, &t)) != FD_OK) break;
            if ((status = copy_speed(ctx, bytes_of(s.g, n), &copy)) != FD_OK) break;
            printf("    %-18s %9.3f ms %9.1f GFLOP/s %7.1f GB/s (copy %.1f)\n", fd_op_get(n->op)->name, t * 1e3,
                   fd_op_flops(s.g, n) / t / 1e9, bytes_of(s.g, n) / t / 1e9, copy);
        }
        fd_exec_free(e);
        setup_free(&s);
    }
    fd_cpu_conv_algorithm(usual);
    if (status != FD_OK) {
        COMPLAIN("FAIL %s\n", ctx->message);
        fd_clear(ctx);
    }
    fd_params_free(&params);
    return status == FD_OK;
}
