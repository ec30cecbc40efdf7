/* max_pool, avg_pool: separable. The rows of a window are reduced to one line of f32 first, then the line along itself, so
 * a pixel is read once per row of windows and the inner loops run over whole vectors of channels. */
#include <omp.h>

#include "cpu/cpu.h"

static int64_t line_floats(const fd_call *c) { return (c->in[0].s.w * c->in[0].block + 15) / 16 * 16; }

static fd_status prepare(fd_ctx *ctx, fd_call *c) {
    if (!fd_alike(&c->in[0], &c->out[0]) || c->in[0].dt != FD_F32) return FD_E_UNSUPPORTED;
    c->work_bytes = (size_t)(line_floats(c) * (c->threads > 0 ? c->threads : 1)) * sizeof(float);
    return FD_OK;
}

static inline float join(float a, float b, bool mean) { return mean ? a + b : a > b ? a : b; }

typedef struct { int64_t from, to; } range;
static range inside(int64_t i, int stride, int pad, int window, int64_t size) {
    range r = {i * stride - pad, i * stride - pad + window};
    if (r.from < 0) r.from = 0;
    if (r.to > size) r.to = size;
    return r;
}

/* One output row of one block of channels. */
static inline void row(const fd_call *c, const float *x, float *y, float *line, int64_t i, int64_t b, bool mean) {
    const fd_attr *a = &c->attr;
    const int64_t w = c->in[0].s.w;
    const range v = inside(i, a->stride, a->pad, a->window, c->in[0].s.h);
    for (int64_t k = 0; k < w * b; k++) line[k] = x[v.from * w * b + k];
    for (int64_t r = v.from + 1; r < v.to; r++)
        for (int64_t k = 0; k < w * b; k++) line[k] = join(line[k], x[r * w * b + k], mean);
    for (int64_t j = 0; j < c->out[0].s.w; j++) {
        const range h = inside(j, a->stride, a->pad_w, a->window, w);
        const float share = mean ? 1.0f / (float)((v.to - v.from) * (h.to - h.from)) : 1;
        for (int64_t l = 0; l < b; l++) {
            float s = line[h.from * b + l];
            for (int64_t q = h.from + 1; q < h.to; q++) s = join(s, line[q * b + l], mean);
            y[j * b + l] = s * share;
        }
    }
}

static inline fd_status run(const fd_call *c, bool mean) {
    const fd_buf *x = &c->in[0], *y = &c->out[0];
    const int64_t b = x->block, items = x->s.n * (x->s.c / b), plane = fd_pixels(x->s) * b, yplane = fd_pixels(y->s) * b;
#pragma omp parallel num_threads(fd_team(c, items, plane * 2))
    {
        float *line = (float *)c->work + line_floats(c) * omp_get_thread_num();
#pragma omp for schedule(static)
        for (int64_t item = 0; item < items; item++) {
            const float *from = (const float *)x->p + item * plane;
            float *to = (float *)y->p + item * yplane;
            for (int64_t i = 0; i < y->s.h; i++) {
                float *at = to + i * y->s.w * b;
                if (b == 16) row(c, from, at, line, i, 16, mean);     /* a known length: vectors without remainders */
                else row(c, from, at, line, i, b, mean);
            }
        }
    }
    return FD_OK;
}

static fd_status run_max(fd_ctx *ctx, const fd_call *c) { return run(c, false); }
static fd_status run_avg(fd_ctx *ctx, const fd_call *c) { return run(c, true); }

const fd_kernel fd_cpu_max_pool = {prepare, run_max, NULL};
const fd_kernel fd_cpu_avg_pool = {prepare, run_avg, NULL};
