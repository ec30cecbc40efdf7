/* The planner and executor on random graphs: where values lie must not change a bit, a batch may be cut in pieces. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "graph/build.h"
#include "run/exec.h"
#include "run/plan.h"

enum { BATCH = 4, STEPS = 24, SEEDS = 24, MAX_VALUES = 64, MAX_KEPT = 16 };

/* ---- random graphs --------------------------------------------------------------------------------------------- */

/* Choices come from (seed, draw), so the same graph can be recorded for any number of samples. */
typedef struct {
    fd_rng rng;
    uint64_t draw;
    fd_graph *g;
    fd_params *params;
    int n;                           /* samples */
    fd_val value[MAX_VALUES];        /* what later nodes may read */
    int nvalues, nparams;
    fd_val x, e, rows, counter, y, dy, dx;   /* x and e: a picture and a vector per sample */
    fd_val kept[MAX_KEPT];
    int nkept;
    int forward_nodes;
    bool store;                      /* the backward pass makes nothing again: all values are kept */
} random_graph;

static int pick(random_graph *r, int n) { return (int)fd_rng_below(&r->rng, r->draw++, (uint64_t)n); }
static fd_val some_value(random_graph *r) { return r->value[pick(r, r->nvalues)]; }
static fd_shape shape_of(random_graph *r, fd_val v) { return r->g->val[v].s; }

static fd_val new_param(random_graph *r, int rank, int64_t d0, int64_t d1, int64_t d2, double scale) {
    fd_ctx *ctx = r->g->ctx;
    char name[32];
    snprintf(name, sizeof name, "p%d", r->nparams++);
    int64_t dim[4] = {d0, d1, d2, d2};
    fd_init init = {.kind = FD_INIT_NORMAL, .scale = scale};
    int index = 0;
    if (fd_params_declare(ctx, r->params, name, rank, dim, false, &init, &index) != FD_OK)
        fail_msg("%s", ctx->message);
    return fd_graph_param(r->g, r->params, index);
}

static fd_val random_conv(random_graph *r, fd_val x) {
    static const int channels[] = {8, 16, 32, 5};
    int k = channels[pick(r, 4)], size = pick(r, 2) ? 3 : 1;
    int64_t c = shape_of(r, x).c;
    fd_val w = new_param(r, 4, k, c, size, 1 / sqrt((double)(c * size * size)));
    return fd_conv2d(r->g, x, w, pick(r, 2) ? new_param(r, 1, k, 0, 0, 1) : 0, 1, size / 2);
}

static fd_val random_norm(random_graph *r, fd_val x) {
    int64_t c = shape_of(r, x).c;
    fd_val gamma = new_param(r, 1, c, 0, 0, 1), beta = new_param(r, 1, c, 0, 0, 1), e = 0;
    int mode = pick(r, 3);
    if (mode != FD_NORM_PLAIN) {
        int64_t k = mode == FD_NORM_ADD ? c : 2 * c;
        e = fd_linear(r->g, r->e, new_param(r, 2, k, 8, 0, 0.3), new_param(r, 1, k, 0, 0, 0.3));
    }
    return fd_group_norm(r->g, x, gamma, beta, e, (fd_norm_mode)mode, c % 4 ? 1 : 4, 1e-5f, pick(r, 2));
}

/* Another value of the same shape (and type), or x itself. */
static fd_val mate(random_graph *r, fd_val x, bool same_type) {
    for (int k = r->nvalues - 1, skip = pick(r, 3); k >= 0; k--) {
        const fd_value *a = &r->g->val[x], *b = &r->g->val[r->value[k]];
        if (r->value[k] != x && fd_same_shape(a->s, b->s) && (!same_type || a->dt == b->dt) && skip-- <= 0)
            return r->value[k];
    }
    return x;
}

/* Sizes stay 4 and 8. */
static fd_val random_resample(random_graph *r, fd_val x) {
    static const float box[] = {1, 1}, fir[] = {1, 3, 3, 1};
    int ntaps = pick(r, 2) ? 4 : 2;
    return fd_resample(r->g, x, shape_of(r, x).h == 4, ntaps == 2 ? box : fir, ntaps, (ntaps - 1) / 2);
}

static fd_val random_node(random_graph *r) {
    fd_graph *g = r->g;
    fd_val x = some_value(r);
    fd_shape s = shape_of(r, x);
    switch (pick(r, 13)) {
    case 0: case 1: return random_conv(r, x);
    case 2: case 3: return random_norm(r, x);
    case 4: return fd_silu(g, x);
    case 5: return fd_add(g, x, mate(r, x, false), 0.7f, pick(r, 2) ? 0.7f : 1);
    case 6: return fd_scale(g, x, 0.5f);
    case 7: return s.c <= 64 ? fd_concat(g, x, mate(r, x, true)) : fd_silu(g, x);
    case 8: return random_resample(r, x);
    case 9: return s.c % 6 == 0 ? fd_attention(g, x, 2) : random_conv(r, x);
    case 10: return fd_cast(g, x, g->val[x].dt == FD_F32 ? FD_BF16 : FD_F32);
    case 11: return fd_mix_rows(g, x, mate(r, x, false), r->rows, r->rows, FD_F32);
    default: return fd_dropout(g, x, r->counter, 0.2f, 99, (uint32_t)r->draw);
    }
}

static void keep(random_graph *r, fd_val v) {
    if (v <= 0) return;
    fd_graph_keep(r->g, v);
    r->kept[r->nkept++] = v;
}

/* y adds up a function of the last value and one of any, so that most nodes are reached by gradients. */
static void record_as(random_graph *r, fd_ctx *ctx, fd_params *params, uint64_t seed, int n, bool store) {
    *r = (random_graph){.rng = {seed, FD_RNG_TEST, 0}, .params = params, .n = n, .store = store};
    if (fd_graph_new(ctx, &r->g) != FD_OK) fail_msg("%s", ctx->message);
    fd_graph_scope(r->g, "seed %llu", (unsigned long long)seed);
    r->x = fd_graph_input(r->g, "x", (fd_shape){n, 12, 8, 8}, FD_F32);
    r->e = fd_graph_input(r->g, "e", (fd_shape){n, 8, 1, 1}, FD_F32);
    r->rows = fd_graph_input(r->g, "rows", (fd_shape){n, 1, 1, 1}, FD_F32);
    r->counter = fd_graph_input(r->g, "counter", (fd_shape){n, 2, 1, 1}, FD_I32);
    r->dy = fd_graph_input(r->g, "dy", (fd_shape){n, 1, 1, 1}, FD_F32);
    r->value[r->nvalues++] = r->x;
    for (int i = 0; i < STEPS && fd_graph_ok(r->g); i++) {
        fd_val v = random_node(r);
        r->value[r->nvalues++] = v;
    }
    fd_val a = fd_sum_rows(r->g, fd_silu(r->g, r->value[r->nvalues - 1])), b = fd_sum_rows(r->g, some_value(r));
    r->y = fd_add(r->g, a, b, 0.1f, 0.2f);
    r->forward_nodes = r->g->nnode;
    for (fd_val v = 1; r->store && v < r->g->nval; v++) fd_graph_keep(r->g, v);
    fd_status s = fd_graph_backward(r->g, 1, &r->y, &r->dy, 1, &params, 1, &r->x, &r->dx);
    if (s != FD_OK || !fd_graph_ok(r->g)) fail_msg("seed %llu: %s", (unsigned long long)seed, ctx->message);
    keep(r, r->y);
    keep(r, r->dx);
    keep(r, r->value[r->nvalues / 2]);
    if (!params->frozen) {
        if (fd_params_freeze(ctx, params) != FD_OK || fd_params_need_grads(ctx, params) != FD_OK)
            fail_msg("%s", ctx->message);
        fd_params_initialise(params, seed);
    }
}

static void record(random_graph *r, fd_ctx *ctx, fd_params *params, uint64_t seed, int n) {
    record_as(r, ctx, params, seed, n, false);
}

/* ---- running them ---------------------------------------------------------------------------------------------- */

static void numbers(float *out, size_t n, const char *name) {
    fd_rng rng = {5, FD_RNG_TEST, fd_hash_text(name)};
    fd_rng_normals(&rng, 0, n, out);
}

/* Inputs of samples first … first+n-1 of the batch of BATCH. */
static void write_inputs(fd_ctx *ctx, random_graph *r, fd_exec *e, int first) {
    float x[BATCH * 12 * 64], emb[BATCH * 8], rows[BATCH], dy[BATCH];
    int32_t counter[BATCH * 2];
    numbers(x, FD_COUNT(x), "x");
    numbers(emb, FD_COUNT(emb), "e");
    numbers(rows, FD_COUNT(rows), "rows");
    numbers(dy, FD_COUNT(dy), "dy");
    for (int i = 0; i < BATCH; i++) counter[2 * i] = 1000 + i, counter[2 * i + 1] = 0;
    assert_int_equal(fd_exec_write(ctx, e, r->x, x + first * 12 * 64), FD_OK);
    assert_int_equal(fd_exec_write(ctx, e, r->e, emb + first * 8), FD_OK);
    assert_int_equal(fd_exec_write(ctx, e, r->rows, rows + first), FD_OK);
    assert_int_equal(fd_exec_write(ctx, e, r->counter, counter + 2 * first), FD_OK);
    assert_int_equal(fd_exec_write(ctx, e, r->dy, dy + first), FD_OK);
}

static fd_exec *plan(fd_ctx *ctx, random_graph *r, const fd_backend *backend, fd_pool *pool, bool unplanned) {
    fd_exec *e = NULL;
    fd_exec_options o = {.backend = backend, .pool = pool, .unplanned = unplanned};
    if (fd_exec_new(ctx, r->g, &o, &e) != FD_OK) fail_msg("%s", ctx->message);
    return e;
}

/* Everything that can be read after a run, as one row of numbers. */
typedef struct { float *p; int64_t kept, n; } result;

static result read_all(fd_ctx *ctx, random_graph *r, fd_exec *e) {
    result out = {0};
    for (int k = 0; k < r->nkept; k++) out.kept += fd_count(shape_of(r, r->kept[k]));
    out.n = out.kept + r->params->trained;
    out.p = fd_alloc(ctx, (size_t)out.n * sizeof(float));
    float *at = out.p;
    for (int k = 0; k < r->nkept; k++) {
        assert_int_equal(fd_exec_read(ctx, e, r->kept[k], at), FD_OK);
        at += fd_count(shape_of(r, r->kept[k]));
    }
    memcpy(at, r->params->g, (size_t)r->params->trained * sizeof(float));
    return out;
}

static void clear_grads(fd_params *p) { memset(p->g, 0, (size_t)p->trained * sizeof(float)); }

static result run(fd_ctx *ctx, random_graph *r, fd_exec *e, int cut) {
    write_inputs(ctx, r, e, 0);
    clear_grads(r->params);
    fd_status s = fd_exec_run(ctx, e, 0, cut);
    if (s == FD_OK && cut >= 0) s = fd_exec_run(ctx, e, cut, -1);
    if (s != FD_OK) fail_msg("%s", ctx->message);
    return read_all(ctx, r, e);
}

static void assert_same_bits(result *a, result *b, const char *what, uint64_t seed) {
    assert_int_equal(a->n, b->n);
    double sum = 0;
    for (int64_t i = 0; i < a->n; i++) {
        sum += fabs((double)a->p[i]);
        if (memcmp(&a->p[i], &b->p[i], sizeof(float)))
            fail_msg("seed %llu, %s: number %lld is %.9g, expected %.9g", (unsigned long long)seed, what,
                     (long long)i, b->p[i], a->p[i]);
    }
    if (!isfinite(sum) || sum == 0)
        fail_msg("seed %llu: the graph computes nothing (%g)", (unsigned long long)seed, sum);
    fd_free(b->p);
}

static void for_each_backend(void (*test)(fd_ctx *ctx, const fd_backend *b, uint64_t seed)) {
    const fd_backend *backend[] = {fd_backend_reference(), fd_backend_cpu()};
    for (size_t b = 0; b < FD_COUNT(backend); b++)
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            fd_ctx ctx = {0};
            test(&ctx, backend[b], seed);
        }
}

/* ---- the properties -------------------------------------------------------------------------------------------- */

/* Planned = unplanned = in two phases = in a pool that others use in between, bit for bit. */
static void one_plan(fd_ctx *ctx, const fd_backend *backend, uint64_t seed) {
    fd_params params, other_params;
    random_graph r, other;
    fd_pool pool = {0};
    fd_params_init(&params);
    fd_params_init(&other_params);
    record(&r, ctx, &params, seed, BATCH);
    record(&other, ctx, &other_params, seed + 1000, BATCH);
    fd_exec *unplanned = plan(ctx, &r, backend, NULL, true), *planned = plan(ctx, &r, backend, NULL, false);
    fd_exec *pooled = plan(ctx, &r, backend, &pool, false), *rival = plan(ctx, &other, backend, &pool, false);
    result want = run(ctx, &r, unplanned, -1);
    result got = run(ctx, &r, planned, -1);
    assert_same_bits(&want, &got, "planned", seed);
    got = run(ctx, &r, planned, r.forward_nodes / 2);
    assert_same_bits(&want, &got, "in two phases", seed);
    for (int i = 0; i < 2; i++) {
        got = run(ctx, &other, rival, -1);
        fd_free(got.p);
        got = run(ctx, &r, pooled, -1);
        assert_same_bits(&want, &got, "in a shared pool", seed);
    }
    fd_plan_summary s = fd_exec_summary(planned);
    if (s.act_bytes >= s.act_unplanned)
        fail_msg("%s, seed %llu: planned %zu bytes, unplanned %zu", backend->name, (unsigned long long)seed, s.act_bytes,
                 s.act_unplanned);
    fd_free(want.p);
    fd_exec_free(unplanned);
    fd_exec_free(planned);
    fd_exec_free(pooled);
    fd_exec_free(rival);
    fd_pool_free(&pool);
    fd_graph_free(r.g);
    fd_graph_free(other.g);
    fd_params_free(&params);
    fd_params_free(&other_params);
}
static void planned_is_unplanned(void **state) {
    (void)state;
    for_each_backend(one_plan);
}

/* What a backward pass makes again has the bits of what it would have kept. */
static int made_again;
static void one_fresh(fd_ctx *ctx, const fd_backend *backend, uint64_t seed) {
    fd_params params;
    random_graph stored, fresh;
    fd_params_init(&params);
    record_as(&stored, ctx, &params, seed, BATCH, true);
    record_as(&fresh, ctx, &params, seed, BATCH, false);
    assert_int_equal(fresh.forward_nodes, stored.forward_nodes);
    made_again += fresh.g->nnode - stored.g->nnode;
    fd_exec *e = plan(ctx, &stored, backend, NULL, false), *f = plan(ctx, &fresh, backend, NULL, false);
    result want = run(ctx, &stored, e, -1), got = run(ctx, &fresh, f, fresh.forward_nodes);
    assert_same_bits(&want, &got, "made again", seed);
    fd_free(want.p);
    fd_exec_free(e);
    fd_exec_free(f);
    fd_graph_free(stored.g);
    fd_graph_free(fresh.g);
    fd_params_free(&params);
}
static void made_again_is_stored(void **state) {
    (void)state;
    made_again = 0;
    for_each_backend(one_fresh);
    assert_true(made_again > 0);
}

/* Norm, SiLU, convolution, LAYERS times: the backward pass needs what each norm reads, not what it makes. */
static void a_layer_keeps_one_value(void **state) {
    (void)state;
    enum { LAYERS = 12, CHANNELS = 16, SIDE = 8 };
    fd_ctx ctx = {0};
    fd_params params;
    fd_params_init(&params);
    random_graph r = {.params = &params};
    assert_int_equal(fd_graph_new(&ctx, &r.g), FD_OK);
    fd_shape s = {BATCH, CHANNELS, SIDE, SIDE};
    fd_val x = fd_graph_input(r.g, "x", s, FD_F32), dy = fd_graph_input(r.g, "dy", s, FD_F32), y = x;
    for (int i = 0; i < LAYERS; i++) {
        fd_val gamma = new_param(&r, 1, CHANNELS, 0, 0, 1), beta = new_param(&r, 1, CHANNELS, 0, 0, 1);
        y = fd_group_norm(r.g, y, gamma, beta, 0, FD_NORM_PLAIN, 4, 1e-5f, true);
        y = fd_conv2d(r.g, y, new_param(&r, 4, CHANNELS, CHANNELS, 3, 0.1), 0, 1, 1);
    }
    assert_int_equal(fd_graph_backward(r.g, 1, &y, &dy, 1, &r.params, 0, NULL, NULL), FD_OK);
    assert_int_equal(fd_params_freeze(&ctx, &params), FD_OK);
    assert_int_equal(fd_params_need_grads(&ctx, &params), FD_OK);
    fd_exec *e = plan(&ctx, &r, fd_backend_reference(), NULL, false);
    /* beside them at most a value, its gradient and the next one; two statistics per norm */
    size_t value = fd_tensor_bytes(s, FD_F32), all = (LAYERS + 3) * value + 2 * LAYERS * FD_ALIGN;
    if (fd_exec_summary(e).act_bytes > all)
        fail_msg("%zu bytes, at most %zu expected", fd_exec_summary(e).act_bytes, all);
    fd_exec_free(e);
    fd_graph_free(r.g);
    fd_params_free(&params);
}

static double relative(const float *want, const float *got, int64_t n) {
    double err = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        err += ((double)want[i] - got[i]) * ((double)want[i] - got[i]);
        norm += (double)want[i] * want[i];
    }
    return sqrt(err / (norm + 1e-30));
}

/* Gradients of a batch = sum of those of its halves. Samples do not meet before the parameter gradients, whose sums
 * are cut differently: about 2^-24 sqrt(terms), 1e-5 with 256 pixels and 4 samples; with kernels that choose other
 * loops for other batch sizes and bf16 values that then round the other way now and then, 2e-3. */
static void one_split(fd_ctx *ctx, const fd_backend *backend, uint64_t seed) {
    fd_params params;
    random_graph whole, half;
    fd_params_init(&params);
    record(&whole, ctx, &params, seed, BATCH);
    record(&half, ctx, &params, seed, BATCH / 2);
    fd_exec *e = plan(ctx, &whole, backend, NULL, false), *h = plan(ctx, &half, backend, NULL, false);
    result want = run(ctx, &whole, e, -1);
    bool has_bf16 = false;
    for (int v = 1; v < whole.g->nval; v++) has_bf16 = has_bf16 || whole.g->val[v].dt == FD_BF16;
    clear_grads(&params);
    for (int first = 0; first < BATCH; first += BATCH / 2) {
        write_inputs(ctx, &half, h, first);
        if (fd_exec_run(ctx, h, 0, -1) != FD_OK) fail_msg("%s", ctx->message);
    }
    double err = relative(want.p + want.kept, params.g, params.trained);
    double tol = backend == fd_backend_reference() ? 1e-5 : has_bf16 ? 2e-3 : 2e-5;
    if (!(err <= tol))
        fail_msg("%s, seed %llu: gradients of two halves differ from those of the batch by %.3g", backend->name,
                 (unsigned long long)seed, err);
    fd_free(want.p);
    fd_exec_free(e);
    fd_exec_free(h);
    fd_graph_free(whole.g);
    fd_graph_free(half.g);
    fd_params_free(&params);
}
static void halves_add_up(void **state) {
    (void)state;
    for_each_backend(one_split);
}

/* No allocation after the first run, also not when the weights have changed. */
static void one_count(fd_ctx *ctx, const fd_backend *backend, uint64_t seed) {
    fd_params params;
    random_graph r;
    fd_params_init(&params);
    record(&r, ctx, &params, seed, BATCH);
    fd_exec *e = plan(ctx, &r, backend, NULL, false);
    write_inputs(ctx, &r, e, 0);
    assert_int_equal(fd_exec_run(ctx, e, 0, -1), FD_OK);
    uint64_t before = fd_alloc_calls();
    for (int i = 0; i < 2; i++) {
        params.w[0] += 1;
        fd_params_touch(&params);
        write_inputs(ctx, &r, e, 0);
        assert_int_equal(fd_exec_run(ctx, e, 0, -1), FD_OK);
    }
    assert_int_equal(fd_alloc_calls(), before);
    fd_exec_free(e);
    fd_graph_free(r.g);
    fd_params_free(&params);
}
static void runs_allocate_nothing(void **state) {
    (void)state;
    for_each_backend(one_count);
}

/* fd_plan_place: what is alive together never overlaps, and the total is no more than all of it. */
static void slots_never_overlap(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        fd_ctx ctx = {0};
        fd_rng rng = {seed, FD_RNG_TEST, 0};
        fd_slot slot[200];
        size_t total, sum = 0, most_alive = 0;
        uint64_t d = 0;
        int n = 1 + (int)fd_rng_below(&rng, d++, FD_COUNT(slot));
        for (int i = 0; i < n; i++) {
            int first = (int)fd_rng_below(&rng, d++, 100), life = (int)fd_rng_below(&rng, d++, 20);
            slot[i] = (fd_slot){.bytes = fd_rng_below(&rng, d++, 5) ? fd_rng_below(&rng, d++, 100000) : 0,
                                .first = first, .last = first + life};
        }
        assert_int_equal(fd_plan_place(&ctx, slot, n, &total), FD_OK);
        for (int i = 0; i < n; i++) {
            size_t alive = 0;
            sum += slot[i].bytes;
            assert_int_equal(slot[i].offset % FD_ALIGN, 0);
            assert_true(slot[i].offset + slot[i].bytes <= total);
            for (int j = 0; j < n; j++) {
                if (slot[j].first <= slot[i].first && slot[i].first <= slot[j].last) alive += slot[j].bytes;
                if (j == i || !slot[i].bytes || !slot[j].bytes) continue;
                if (slot[i].first > slot[j].last || slot[j].first > slot[i].last) continue;
                assert_true(slot[i].offset + slot[i].bytes <= slot[j].offset ||
                            slot[j].offset + slot[j].bytes <= slot[i].offset);
            }
            if (alive > most_alive) most_alive = alive;
        }
        assert_true(total >= most_alive && total <= sum);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_never_overlap),
        cmocka_unit_test(planned_is_unplanned),
        cmocka_unit_test(made_again_is_stored),
        cmocka_unit_test(a_layer_keeps_one_value),
        cmocka_unit_test(halves_add_up),
        cmocka_unit_test(runs_allocate_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
