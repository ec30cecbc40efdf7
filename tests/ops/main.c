/* ops — tests of the operations, one problem per line of tests/ops/<op>.cases.
 *
 *   ops [--backend cuda] …  the kernels of this backend; the CPU's if not given. Exit code 77 where there is no GPU
 *   ops                     fast and grad over all cases; every row of ops.def must be covered
 *   ops fast [OP ['LINE']]  kernels of the backend against the references
 *   ops grad [OP ['LINE']]  gradients of the references against finite differences, adjoints of the linear ops
 *   ops perf [OP ['LINE']]  speed of the kernels on the lines that begin with perf
 *   ops twin                one case per op with a wrong element in every result: the run is good if all are noticed
 *
 * Exit code 0: nothing failed. A failing case is followed by the command that repeats it alone.
 */
#include <stdio.h>
#include <string.h>

#include "ops.h"

bool spoil, covered[FD_OP_COUNT];
const fd_backend *under_test;
static int passed, failed, skipped, tried;

typedef enum { FAST, GRAD, PERF } mode;
static const char *const mode_name[] = {"fast", "grad", "perf"};

static bool is_backward(const char *name) { return strstr(name, "_bwd") != NULL; }

static void run_line(fd_ctx *ctx, mode m, fd_op op, const char *line) {
    problem p;
    fd_clear(ctx);
    if (problem_parse(ctx, &p, op, line) != FD_OK) {
        printf("FAIL %s\n", ctx->message);
        failed++;
        return;
    }
    if (p.perf_only && m != PERF) return;
    /* Finite differences need f32 steps; grad=0 marks lines too large for them. */
    if (m == GRAD && (!fd_op_get(op)->vjp || problem_is_bf16(&p) || problem_number(&p, "grad", 1) == 0)) return;
    tried++;
    bool good = m == FAST ? check_fast(ctx, &p) : m == GRAD ? check_grad(ctx, &p) : measure(ctx, &p);
    if (good) {
        passed++;
        return;
    }
    failed++;
    COMPLAIN("    again: ops %s %s '%s'\n", mode_name[m], fd_op_get(op)->name, line);
}

/* Lines of the op's file; `most` of them. */
static void run_file(fd_ctx *ctx, mode m, fd_op op, int most) {
    const char *name = fd_op_get(op)->name;
    char path[1024], line[512];
    snprintf(path, sizeof path, "%s/%s.cases", FD_OPS_CASES, name);
    FILE *f = fopen(path, "r");
    if (!f) {
        printf("FAIL %s has no cases: %s is missing\n", name, path);
        failed++;
        return;
    }
    int lines = 0;
    while (lines < most && fgets(line, sizeof line, f)) {
        line[strcspn(line, "#\n")] = 0;
        for (size_t n = strlen(line); n && line[n - 1] == ' ';) line[--n] = 0;
        if (!*line) continue;
        lines++;
        if (m == PERF && strncmp(line, "perf ", 5)) continue;
        run_line(ctx, m, op, line);
    }
    fclose(f);
    if (!lines) {
        printf("FAIL %s has no line\n", path);
        failed++;
    }
}

static void run_all(fd_ctx *ctx, mode m, int most) {
    for (int op = 0; op < FD_OP_COUNT; op++)
        if (!is_backward(fd_op_get((fd_op)op)->name)) run_file(ctx, m, (fd_op)op, most);
    for (int op = 0; m == FAST && op < FD_OP_COUNT; op++)
        if (!covered[op]) {
            printf("FAIL no case reaches %s\n", fd_op_get((fd_op)op)->name);
            failed++;
        }
}

/* Every op's first case must fail when its results are spoiled: then the comparison can fail. */
static void run_twin(fd_ctx *ctx) {
    spoil = true;
    for (int m = FAST; m <= (under_test->device ? FAST : GRAD); m++)
        for (int op = 0; op < FD_OP_COUNT; op++) {
            const fd_op_info *info = fd_op_get((fd_op)op);
            if (is_backward(info->name) || (m == GRAD && !info->vjp)) continue;
            int before = failed, tried_before = tried;
            run_file(ctx, (mode)m, (fd_op)op, 1);
            if (tried == tried_before) continue;      /* a line that is not for this mode */
            if (failed == before + 1) {
                failed = before;
                passed++;
            } else {
                printf("FAIL %s %s: the wrong result went unnoticed\n", mode_name[m], info->name);
                failed++;
            }
        }
}

static int usage(void) {
    fprintf(stderr, "usage: ops [--backend cpu|cuda] [fast|grad|perf [OP ['key=value …']] | twin]\n");
    return 2;
}

int main(int argc, char **argv) {
    fd_ctx ctx = {0};
    const bool named = argc > 2 && !strcmp(argv[1], "--backend");
    if (fd_backend_choose(&ctx, named ? argv[2] : "cpu", &under_test) != FD_OK) {
        printf("SKIP %s\n", ctx.message);
        return ctx.code == FD_E_UNSUPPORTED ? 77 : 2;
    }
    if (named) argc -= 2, argv += 2;
    if (argc < 2) {
        run_all(&ctx, FAST, 1 << 30);
        if (!under_test->device) run_all(&ctx, GRAD, 1 << 30);      /* of the references: once is enough */
    } else if (!strcmp(argv[1], "twin")) {
        run_twin(&ctx);
    } else {
        int m = FAST;
        while (m <= PERF && strcmp(argv[1], mode_name[m])) m++;
        fd_op op = argc > 2 ? fd_op_by_name(argv[2]) : FD_OP_COUNT;
        if (m > PERF || argc > 4 || (argc > 2 && op == FD_OP_COUNT)) return usage();
        if (argc > 3) run_line(&ctx, (mode)m, op, argv[3]);
        else if (argc > 2) run_file(&ctx, (mode)m, op, 1 << 30);
        else run_all(&ctx, (mode)m, 1 << 30);
    }
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed != 0;
}
