#include "cli/bench_distill.h"

#include "base/rng.h"
#include "train/distill_update.h"
#include "train/job.h"

enum { PASS = 32 };      /* images at a time, as distill has it */

struct fd_bench_distill {
    fd_distill_method method;
    fd_distill_nets nets;         /* teacher: borrowed */
    fd_distiller *distiller;
    fd_distill_progress progress;
    float *z, *eps, *real, *eps_real, *labels;
    double *t;
    int64_t iteration;
    fd_arena arena;
};

static fd_status normals(fd_ctx *ctx, fd_bench_distill *b, uint64_t which, int64_t n, float **out) {
    fd_rng r = {1, FD_RNG_TEST, which};
    FD_NEW(ctx, &b->arena, *out, n);
    fd_rng_normals(&r, 0, (size_t)n, *out);
    return FD_OK;
}

static fd_status make_batch(fd_ctx *ctx, fd_bench_distill *b, int batch) {
    const fd_net_config *c = &b->nets.teacher->config;
    const int64_t n = (int64_t)batch * c->image_channels * c->resolution * c->resolution;
    FD_TRY(normals(ctx, b, 0, n, &b->z));
    FD_TRY(normals(ctx, b, 1, n, &b->eps));
    FD_TRY(normals(ctx, b, 2, n, &b->real));
    FD_TRY(normals(ctx, b, 3, n, &b->eps_real));
    FD_NEW(ctx, &b->arena, b->t, batch);
    for (int i = 0; i < batch; i++) b->t[i] = 0.1 * (1 + i % 8);
    if (!c->label_dim) return FD_OK;
    FD_NEW(ctx, &b->arena, b->labels, (int64_t)batch * c->label_dim);
    for (int i = 0; i < batch; i++) b->labels[(int64_t)i * c->label_dim + i % c->label_dim] = 1;
    return FD_OK;
}

static fd_status prepare(fd_ctx *ctx, fd_bench_distill *b, int batch, int pass, fd_dtype dtype, const fd_backend *backend) {
    fd_distill_nets *n = &b->nets;
    b->method = fd_distill_method_defaults();
    b->method.freq = FD_BENCH_CYCLE;
    FD_TRY(fd_divergence_find(ctx, "js", &b->method.divergence));
    FD_TRY(fd_net_clone(ctx, n->teacher, &n->student));
    FD_TRY(fd_net_clone(ctx, n->teacher, &n->fake));
    n->student->config.dropout = n->fake->config.dropout = 0;
    FD_TRY(fd_distill_heads(ctx, n->teacher, 1, &b->method, &n->heads));
    fd_distiller_spec spec = {.method = &b->method, .batch = batch, .n = pass ? pass : fd_pass_size(batch, PASS),
                              .dtype = dtype, .backend = backend};
    FD_TRY(fd_distiller_new(ctx, &spec, n, &b->distiller));
    FD_TRY(fd_distill_progress_new(ctx, &b->method, n, 1, &b->progress));
    return make_batch(ctx, b, batch);
}

fd_status fd_bench_distill_new(fd_ctx *ctx, fd_net *teacher, int batch, int pass, fd_dtype dtype, const fd_backend *backend,
                               fd_bench_distill **out) {
    fd_bench_distill *b = fd_alloc(ctx, sizeof *b);
    if (!b) return FD_E_NOMEM;
    b->nets.teacher = teacher;
    fd_status s = prepare(ctx, b, batch, pass, dtype, backend);
    if (s == FD_OK) *out = b;
    else fd_bench_distill_free(b);
    return s;
}

void fd_bench_distill_free(fd_bench_distill *b) {
    if (!b) return;
    fd_distill_progress_free(&b->progress);
    fd_distiller_free(b->distiller);
    fd_net_free(b->nets.student);
    fd_net_free(b->nets.fake);
    fd_net_free(b->nets.heads);
    fd_arena_free(&b->arena);
    fd_free(b);
}

fd_status fd_bench_distill_run(fd_ctx *ctx, fd_bench_distill *b) {
    const fd_distill_batch batch = {.z = b->z, .eps = b->eps, .labels = b->labels, .t = b->t, .real = b->real,
                                    .eps_real = b->eps_real, .t_real = b->t};
    const fd_adam adam = {.lr = 1e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01};
    const fd_adam each[FD_TRAINED_NETS] = {adam, adam, adam};
    const double kept = 0.999;
    fd_iteration done;
    for (int i = 0; i < FD_BENCH_CYCLE; i++)
        FD_TRY(fd_distill_iterate(ctx, b->distiller, &b->method, &b->nets, &b->progress, ++b->iteration, &batch, NULL, each, &kept,
                                  &done));
    return FD_OK;
}

size_t fd_bench_distill_bytes(const fd_bench_distill *b) { return fd_distiller_bytes(b->distiller); }
