#include "cpu/peak.h"

#include "base/arena.h"
#include "base/progress.h"
#include "cpu/amx.h"
#include "cpu/dnnl_glue.h"
#include "cpu/isa/rows.h"

#define TRIES 5
#define LARGE (16 << 20)       /* floats of an array: 64 MiB, beyond the caches */
#define SIDE 1536              /* of the bf16 matrices */

static double multiply_adds(int threads) {
    const fd_rows *rows = fd_cpu_rows();
    double best = 0;
    for (int t = 0; t < TRIES; t++) {
        double work = 0, start = fd_now();
#pragma omp parallel for num_threads(threads) reduction(+ : work)
        for (int i = 0; i < threads; i++) {
            float keep;
            work += rows->multiply_adds(2000000, &keep);
        }
        double rate = work / (fd_now() - start);
        if (rate > best) best = rate;
    }
    return best;
}

static double tiles(int threads) {
    double best = 0;
    for (int t = 0; t < TRIES; t++) {
        double work = 0, start = fd_now();
#pragma omp parallel for num_threads(threads) reduction(+ : work)
        for (int i = 0; i < threads; i++) work += fd_amx_multiply_adds(500000);
        double rate = work / (fd_now() - start);
        if (rate > best) best = rate;
    }
    return best;
}

static double memory(int threads, float *x, float *y, float *z) {
    const fd_rows *rows = fd_cpu_rows();
    const int64_t part = LARGE / threads;
    double best = 0, sum = 0;
#pragma omp parallel for num_threads(threads)
    for (int i = 0; i < threads; i++)        /* touched by the thread that will use it */
        for (int64_t k = i * part; k < (i + 1) * part; k++) x[k] = 1, y[k] = 2, z[k] = 0;
    for (int t = 0; t < 2 * TRIES; t++) {
        bool add = t % 2;
        double start = fd_now();
#pragma omp parallel for num_threads(threads) reduction(+ : sum)
        for (int i = 0; i < threads; i++) {
            const int64_t at = i * part;
            if (add) rows->axpby(z + at, FD_F32, x + at, FD_F32, 1, y + at, FD_F32, 1, part);
            else sum += rows->sum(x + at, FD_F32, part);
        }
        double rate = (add ? 3.0 : 1.0) * sizeof(float) * (double)(part * threads) / (fd_now() - start);
        if (rate > best && sum > 0) best = rate;
    }
    return best;
}

/* c = a b with bf16 a, b and c. The fastest of a few runs; 0 when the library cannot. */
static double matrix_product(void *a, void *b, void *c) {
    fd_md md;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t prim = NULL;
    dnnl_memory_t m[3] = {0};
    void *data[3] = {a, b, c};
    dnnl_engine_t e = fd_dnnl_engine();
    double best = 0;
    dnnl_status_t s = fd_md_new(&md, 2, (dnnl_dims_t){SIDE, SIDE}, dnnl_bf16, dnnl_ab);
    if (s == dnnl_success) s = fd_dnnl_pd_matmul(&pd, e, md, md, md);
    if (s == dnnl_success) s = dnnl_primitive_create(&prim, pd);
    for (int i = 0; i < 3 && s == dnnl_success; i++) s = dnnl_memory_create(&m[i], md, e, data[i]);
    for (int t = 0; t < TRIES && s == dnnl_success; t++) {
        double start = fd_now();
        s = dnnl_primitive_execute(prim, fd_dnnl_stream(), 3, (dnnl_exec_arg_t[]){
            {DNNL_ARG_SRC, m[0]}, {DNNL_ARG_WEIGHTS, m[1]}, {DNNL_ARG_DST, m[2]}});
        if (s == dnnl_success) s = dnnl_stream_wait(fd_dnnl_stream());
        double rate = 2.0 * SIDE * SIDE * SIDE / (fd_now() - start);
        if (s == dnnl_success && rate > best) best = rate;
    }
    for (int i = 0; i < 3; i++)
        if (m[i]) dnnl_memory_destroy(m[i]);
    if (prim) dnnl_primitive_destroy(prim);
    if (pd) dnnl_primitive_desc_destroy(pd);
    fd_md_free(md);
    return best;
}

fd_status fd_cpu_peak_measure(fd_ctx *ctx, int threads, fd_cpu_peak *out) {
    fd_arena arena = {0};
    float *x = fd_arena_alloc(ctx, &arena, LARGE * sizeof *x), *y = fd_arena_alloc(ctx, &arena, LARGE * sizeof *y);
    float *z = fd_arena_alloc(ctx, &arena, LARGE * sizeof *z);
    fd_status s = x && y && z ? FD_OK : FD_E_NOMEM;
    if (s == FD_OK) {
        fd_dnnl_threads(&(fd_call){.threads = threads});
        *out = (fd_cpu_peak){.f32 = multiply_adds(threads), .memory = memory(threads, x, y, z)};
        if (fd_cpu_has_amx()) out->bf16 = tiles(threads);
        else if (fd_cpu_has_bf16()) out->bf16 = matrix_product(x, y, z);
    }
    fd_arena_free(&arena);
    return s;
}
