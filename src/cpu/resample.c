/* resample: separable. Each output row is a sum of input rows, kept in a line of f32 with zeros on both sides, and then
 * filtered along itself. An input row is read from the first-level cache after its first use. */
#include <omp.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/isa/rows.h"

/* Pixels of zeros on each side of a line: what the filter may reach, and a vector longer than a block. */
static int64_t margin(const fd_call *c) { return c->attr.pad + c->attr.ntaps + (c->in[0].block < 16 ? 16 : 0); }
static int64_t line_floats(const fd_call *c) {
    return ((c->in[0].s.w + 2 * margin(c)) * c->in[0].block + 15) / 16 * 16;
}

static fd_status prepare(fd_ctx *ctx, fd_call *c) {
    const int b = c->in[0].block;
    if (!fd_alike(&c->in[0], &c->out[0]) || (b != 1 && b != 8 && b % 16)) return FD_E_UNSUPPORTED;
    c->work_bytes = (size_t)(line_floats(c) * (c->threads > 0 ? c->threads : 1)) * sizeof(float);
    return FD_OK;
}

/* The input rows that output row i is made of: their number, positions and factors. */
static int sources(const fd_attr *a, int64_t i, int64_t h, int64_t row, int64_t at[4], float f[4]) {
    int n = 0;
    for (int k = 0; k < a->ntaps; k++) {
        int64_t r = a->up ? i + a->pad - k : 2 * i + k - a->pad;
        if (a->up && (r < 0 || r % 2)) continue;
        if (a->up) r /= 2;
        if (r < 0 || r >= h) continue;
        at[n] = r * row;
        f[n++] = a->taps[k];
    }
    return n;
}

static fd_status run(fd_ctx *ctx, const fd_call *c) {
    const fd_rows *rows = fd_cpu_rows();
    const fd_attr *a = &c->attr;
    const fd_buf *x = &c->in[0], *y = &c->out[0];
    const int64_t b = x->block, items = x->s.n * (x->s.c / b), size = (int64_t)fd_dtype_bytes(x->dt);
    const int64_t row = x->s.w * b, plane = x->s.h * row, yrow = y->s.w * b, yplane = y->s.h * yrow;
    float f[4];
    for (int k = 0; k < a->ntaps; k++) f[k] = a->gain * a->taps[k];
#pragma omp parallel num_threads(fd_team(c, items * y->s.h, row + yrow))
    {
        float *line = (float *)c->work + line_floats(c) * omp_get_thread_num(), *first = line + margin(c) * b;
        memset(line, 0, (size_t)line_floats(c) * sizeof(float));
#pragma omp for collapse(2) schedule(static)
        for (int64_t item = 0; item < items; item++)
            for (int64_t i = 0; i < y->s.h; i++) {
                const void *from = (const char *)x->p + item * plane * size;
                char *to = (char *)y->p + item * yplane * size;
                int64_t at[4];
                float vertical[4];
                int n = sources(a, i, x->s.h, row, at, vertical);
                rows->resample_rows(first, from, x->dt, n, at, vertical, row);
                rows->resample_cols(to + i * yrow * size, y->dt, first, y->s.w, a->up, a->ntaps, a->pad, f, (int)b);
            }
    }
    return FD_OK;
}

const fd_kernel fd_cpu_resample = {prepare, run, NULL};
