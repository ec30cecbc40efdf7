/* max_pool, avg_pool: row by row, by src/cpu/isa/pool.c. */
#include <omp.h>

#include "cpu/cpu.h"
#include "cpu/isa/rows.h"

enum { SLACK = 16 };      /* floats behind a line that a vector may read and write */

static int64_t line_floats(const fd_call *c) { return (c->in[0].s.w * c->in[0].block + SLACK + 15) / 16 * 16; }

static fd_status prepare(fd_ctx *ctx, fd_call *c) {
    const int block = c->in[0].block;
    if (!fd_alike(&c->in[0], &c->out[0]) || (block != 1 && block != 8 && block % 16)) return FD_E_UNSUPPORTED;
    c->work_bytes = (size_t)(line_floats(c) * (c->threads > 0 ? c->threads : 1)) * sizeof(float);
    return FD_OK;
}

static fd_status run(const fd_call *c, bool mean) {
    const fd_buf *x = &c->in[0], *y = &c->out[0];
    const fd_attr *a = &c->attr;
    const fd_rows *rows = fd_cpu_rows();
    const int64_t row = x->s.w * x->block * (int64_t)fd_dtype_bytes(x->dt), items = x->s.n * (x->s.c / x->block);
    const int64_t out_row = y->s.w * y->block * (int64_t)fd_dtype_bytes(y->dt);
#pragma omp parallel num_threads(fd_team(c, items * y->s.h, a->window * x->s.w * x->block))
    {
        float *line = (float *)c->work + line_floats(c) * omp_get_thread_num();
#pragma omp for collapse(2) schedule(static)
        for (int64_t item = 0; item < items; item++)
            for (int64_t i = 0; i < y->s.h; i++) {
                const int64_t top = i * a->stride - a->pad, from = top < 0 ? 0 : top;
                const int64_t to = top + a->window < x->s.h ? top + a->window : x->s.h;
                const fd_pool_row p = {.w = x->s.w, .n = y->s.w, .block = x->block, .window = a->window, .stride = a->stride,
                                       .pad = a->pad_w, .rows = (int)(to - from), .mean = mean};
                rows->pool_row((char *)y->p + (item * y->s.h + i) * out_row, (const char *)x->p + (item * x->s.h + from) * row, x->dt,
                               line, &p);
            }
    }
    return FD_OK;
}

static fd_status run_max(fd_ctx *ctx, const fd_call *c) { return run(c, false); }
static fd_status run_avg(fd_ctx *ctx, const fd_call *c) { return run(c, true); }

const fd_kernel fd_cpu_max_pool = {prepare, run_max, NULL};
const fd_kernel fd_cpu_avg_pool = {prepare, run_avg, NULL};
