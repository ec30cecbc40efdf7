/* comm/comm.h, alone and, when mpirun starts it, as one of several ranks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "comm/comm.h"

static fd_ctx ctx;

static int rank(void) { return fd_comm_rank(&ctx); }
static int size(void) { return fd_comm_size(&ctx); }

static void meeting(void **state) {
    assert_int_equal(size(), fd_comm_launched());
    assert_true(rank() >= 0 && rank() < size());
    assert_int_equal(fd_comm_first(&ctx), rank() == 0);
    assert_true((ctx.comm != NULL) == (size() > 1));
    if (ctx.comm) assert_int_equal(ctx.comm->local, size());
}

/* More elements than go in one call, a number that no piece divides. */
static void sums(void **state) {
    enum { N = (1 << 24) + 4321 };
    fd_arena a = {0};
    float *x = fd_arena_alloc(&ctx, &a, N * sizeof *x);
    assert_non_null(x);
    for (int i = 0; i < N; i++) x[i] = (float)(i % 1000 + rank());
    assert_int_equal(fd_comm_sum_f32(&ctx, x, N), FD_OK);
    const int ranks_together = size() * (size() - 1) / 2;
    for (int i = 0; i < N; i++) assert_true(x[i] == (float)(i % 1000 * size() + ranks_together));
    assert_int_equal(fd_comm_same(&ctx, x, N * sizeof *x, "sums"), FD_OK);
    fd_arena_free(&a);

    double y[3] = {1, rank() * 1e-17, -1.5};
    assert_int_equal(fd_comm_sum_f64(&ctx, y, 3), FD_OK);
    assert_true(y[0] == size() && y[1] <= 3e-17 * size() && y[2] == -1.5 * size());
    assert_int_equal(fd_comm_sum_f64(&ctx, NULL, 0), FD_OK);
}

static void gathering(void **state) {
    int mine[2] = {rank(), 10 * rank()}, all[64] = {0};
    assert_true(size() <= 32);
    assert_int_equal(fd_comm_gather(&ctx, mine, sizeof mine, all), FD_OK);
    for (int r = 0; r < size(); r++) {
        assert_int_equal(all[2 * r], r);
        assert_int_equal(all[2 * r + 1], 10 * r);
    }
}

/* From every rank in turn. */
static void broadcasts(void **state) {
    for (int from = 0; from < size(); from++) {
        char text[32] = "";
        if (rank() == from) snprintf(text, sizeof text, "rank %d speaks", from);
        char want[32];
        snprintf(want, sizeof want, "rank %d speaks", from);
        assert_int_equal(fd_comm_broadcast(&ctx, text, sizeof text, from), FD_OK);
        assert_string_equal(text, want);
    }
}

static void bringing(void **state) {
    for (int from = 0; from < size(); from++) {
        int value = rank() + 100;
        assert_int_equal(fd_comm_bring(&ctx, &value, sizeof value, from), FD_OK);
        assert_int_equal(value, rank() == 0 ? from + 100 : rank() + 100);
    }
}

static void agreements(void **state) {
    bool any;
    assert_int_equal(fd_comm_barrier(&ctx), FD_OK);
    assert_int_equal(fd_comm_any(&ctx, false, &any), FD_OK);
    assert_false(any);
    assert_int_equal(fd_comm_any(&ctx, rank() == size() - 1, &any), FD_OK);
    assert_true(any);

    char text[32], last[32];
    snprintf(text, sizeof text, "from %d", rank());
    snprintf(last, sizeof last, "from %d", size() - 1);
    assert_int_equal(fd_comm_first_word(&ctx, rank() == size() - 1, text, sizeof text), FD_OK);
    assert_string_equal(text, last);
    snprintf(text, sizeof text, "mine");
    assert_int_equal(fd_comm_first_word(&ctx, false, text, sizeof text), FD_OK);
    assert_string_equal(text, "mine");
}

static void a_difference_is_noticed(void **state) {
    int same = 7, other = rank();
    assert_int_equal(fd_comm_same(&ctx, &same, sizeof same, "numbers"), FD_OK);
    assert_int_equal(fd_comm_same(&ctx, &other, sizeof other, "numbers"), rank() ? FD_E_NUMERIC : FD_OK);
    if (rank()) assert_non_null(strstr(ctx.message, "numbers differ from those of rank 0"));
    fd_clear(&ctx);
}

int main(void) {
    if (fd_comm_open(&ctx, &ctx.comm) != FD_OK) {
        fprintf(stderr, "%s\n", ctx.message);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(meeting), cmocka_unit_test(sums), cmocka_unit_test(gathering), cmocka_unit_test(broadcasts),
        cmocka_unit_test(bringing), cmocka_unit_test(agreements), cmocka_unit_test(a_difference_is_noticed),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed) fd_comm_abort(ctx.comm, 1);
    fd_comm_close(ctx.comm);
    return failed != 0;
}
