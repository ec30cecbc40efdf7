/* The command line: values in, one clear line out. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "cli/args.h"
#include "cli/seeds.h"

static const char *const solvers[] = {"euler", "heun", NULL};

typedef struct {
    int batch, solver, list[3], n_list;
    double sigma, duration;
    int64_t tick;
    uint64_t seed;
    const char *net;
    bool flip, given;
    fd_args args;
} parsed;

/* A command with one option of each kind. */
static fd_status parse(fd_ctx *ctx, parsed *p, int operands, const char *first, ...) {
    char *argv[16] = {"generate"};
    int argc = 1;
    va_list ap;
    va_start(ap, first);
    for (const char *w = first; w; w = va_arg(ap, const char *)) argv[argc++] = (char *)w;
    va_end(ap);
    static char *kept[16];
    memcpy(kept, argv, sizeof kept);
    *p = (parsed){.batch = 8, .sigma = 80, .solver = 1, .duration = 200e6};
    fd_option o[] = {
        {.name = "batch", .type = FD_OPT_INT, .to = &p->batch, .value = "N", .help = "", .lo = 1, .hi = 65536},
        {.name = "sigma_max", .type = FD_OPT_DOUBLE, .to = &p->sigma, .value = "X", .help = "", .lo = 0.001,
         .hi = INFINITY},
        {.name = "solver", .type = FD_OPT_ENUM, .to = &p->solver, .value = "NAME", .help = "", .words = solvers},
        {.name = "duration", .type = FD_OPT_AMOUNT, .to = &p->duration, .value = "N", .help = "", .unit = 1e6},
        {.name = "tick", .type = FD_OPT_COUNT, .to = &p->tick, .value = "N", .help = "", .unit = 1000, .lo = 1,
         .hi = 1e9},
        {.name = "seed", .type = FD_OPT_SEED, .to = &p->seed, .value = "N", .help = "", .given = &p->given},
        {.name = "network", .type = FD_OPT_TEXT, .to = &p->net, .value = "FILE", .help = "", .required = true},
        {.name = "xflip", .type = FD_OPT_FLAG, .to = &p->flip, .help = "", .letter = 'x'},
        {.name = "mult", .type = FD_OPT_INTS, .to = p->list, .value = "LIST", .help = "", .count = &p->n_list,
         .most = 3, .lo = 1, .hi = 16},
    };
    p->args = (fd_args){.command = "generate", .operands = "FILE", .about = "", .option = o, .n = (int)FD_COUNT(o),
                        .least = 0, .most = operands};
    fd_clear(ctx);
    fd_status s = fd_args_parse(ctx, &p->args, argc, kept);
    p->args.option = NULL;
    return s;
}

#define GOOD(...)                                                                                    \
    do {                                                                                             \
        if (parse(&ctx, &p, __VA_ARGS__, (char *)NULL) != FD_OK) fail_msg("%s", ctx.message);        \
    } while (0)
#define BAD(text, ...)                                                                  \
    do {                                                                                \
        assert_int_equal(parse(&ctx, &p, __VA_ARGS__, (char *)NULL), FD_E_ARG);         \
        if (!strstr(ctx.message, text)) fail_msg("'%s' lacks '%s'", ctx.message, text); \
    } while (0)

static void test_values(void **state) {
    (void)state;
    static fd_ctx ctx;
    parsed p;
    GOOD(0, "--network", "a.st", "--batch=64", "--sigma-max", "inf", "--Solver", "EULER", "--xflip", "--seed",
         "18446744073709551615");
    assert_string_equal(p.net, "a.st");
    assert_int_equal(p.batch, 64);
    assert_true(isinf(p.sigma));
    assert_int_equal(p.solver, 0);
    assert_true(p.flip && p.given);
    assert_true(p.seed == UINT64_MAX);
    GOOD(0, "--network=a", "--duration", "0.5", "--tick", "2Ki", "--mult", "1,2,4", "--no-xflip");
    assert_true(p.duration == 0.5e6);
    assert_int_equal(p.tick, 2048);
    assert_int_equal(p.n_list, 3);
    assert_int_equal(p.list[2], 4);
    assert_false(p.flip || p.given);
    GOOD(0, "--network=a", "--tick", "1.5", "--xflip", "1", "--duration=64Mi");
    assert_int_equal(p.tick, 1500);
    assert_true(p.flip && p.duration == 64 * 1048576.0);
    GOOD(0, "--network=a", "-x");
    assert_true(p.flip);
    GOOD(0, "--network=a", "--xflip=no");
    assert_false(p.flip);
    GOOD(2, "one", "--network=a", "--", "--batch");
    assert_int_equal(p.args.n_operands, 2);
    assert_string_equal(p.args.operand[0], "one");
    assert_string_equal(p.args.operand[1], "--batch");
    GOOD(0, "--network=a", "--threads", "1", "--quiet");
    assert_true(ctx.quiet && ctx.threads == 1);
}

static void test_messages(void **state) {
    (void)state;
    static fd_ctx ctx;
    parsed p;
    BAD("--batch: 0 is not in 1…65536", 0, "--network=a", "--batch", "0");
    BAD("--batch: 'ten' is no whole number", 0, "--network=a", "--batch", "ten");
    BAD("--batch: '1e3' is no whole number", 0, "--network=a", "--batch=1e3");
    BAD("--batch: 99999999999999999999", 0, "--network=a", "--batch=99999999999999999999");
    BAD("did you mean '--batch'?", 0, "--network=a", "--bacth", "3");
    BAD("did you mean '--duration'?", 0, "--network=a", "--dur", "3");
    BAD("unknown option '--zzzzzz'; 'fdistill generate --help'", 0, "--network=a", "--zzzzzz");
    BAD("unknown option '--no-batch'", 0, "--network=a", "--no-batch");
    BAD("unknown option '-z'", 0, "--network=a", "-z");
    BAD("did you mean 'euler'? (all: euler, heun)", 0, "--network=a", "--solver", "eular");
    BAD("use one of euler, heun", 0, "--network=a", "--solver", "dpm");
    BAD("--sigma_max: 'nan' is no number", 0, "--network=a", "--sigma_max", "nan");
    BAD("--sigma_max: -1 is not in", 0, "--network=a", "--sigma_max", "-1");
    BAD("--batch: its value is missing: --batch N", 0, "--network=a", "--batch");
    BAD("--batch: its value is missing", 0, "--batch", "--network=a");
    BAD("--network: the value is empty", 0, "--network=");
    BAD("--network FILE is missing", 0, "--batch", "3");
    BAD("unexpected argument 'x'", 0, "--network=a", "x");
    BAD("--xflip: 'maybe' is neither yes nor no", 0, "--network=a", "--xflip=maybe");
    BAD("--seed: '-1' is no seed", 0, "--network=a", "--seed", "-1");
    BAD("--tick: '2q' is no amount", 0, "--network=a", "--tick", "2q");
    BAD("--tick: 0 is not in 0.001…1000000", 0, "--network=a", "--tick", "0");
    BAD("--mult: more than 3 values", 0, "--network=a", "--mult", "1,2,3,4");
    BAD("--mult: '1,,2' is no list", 0, "--network=a", "--mult", "1,,2");
    BAD("--mult: 17 is not in 1…16", 0, "--network=a", "--mult", "1,17");
}

static void test_seeds(void **state) {
    (void)state;
    static fd_ctx ctx;
    fd_arena arena = {0};
    uint64_t *seeds;
    int64_t n;
    assert_int_equal(fd_seeds_parse(&ctx, &arena, "seeds", "0-3,70,5-5", &seeds, &n), FD_OK);
    assert_int_equal(n, 6);
    assert_true(seeds[3] == 3 && seeds[4] == 70 && seeds[5] == 5);
    assert_int_equal(fd_seeds_parse(&ctx, &arena, "seeds", "18446744073709551615", &seeds, &n), FD_OK);
    assert_true(n == 1 && seeds[0] == UINT64_MAX);
    static const char *const bad[] = {"", "1,", ",1", "a", "1-", "-1", "3-1", "1 2", "0-99999999999", "0-16777216",
                                      "99999999999999999999", "0-18446744073709551615"};
    for (size_t i = 0; i < FD_COUNT(bad); i++) {
        fd_clear(&ctx);
        assert_int_equal(fd_seeds_parse(&ctx, &arena, "seeds", bad[i], &seeds, &n), FD_E_ARG);
        assert_non_null(strstr(ctx.message, "--seeds: "));
    }
    fd_arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_messages),
                                       cmocka_unit_test(test_seeds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
