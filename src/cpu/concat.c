/* concat, slice: channels copied between tensors whose blocks may differ, since 16 + 3 channels have no blocks of 16. */
#include <string.h>

#include "cpu/cpu.h"

/* Pixels of `run` channels: rb and wb are the blocks of source and destination. */
#define COPY_PIXELS(type)                                                                                \
    static void pixels_##type(type *to, int64_t wb, const type *from, int64_t rb, int64_t run, int64_t hw) { \
        for (int64_t i = 0; i < hw; i++)                                                                 \
            for (int64_t k = 0; k < run; k++) to[i * wb + k] = from[i * rb + k];                         \
    }
COPY_PIXELS(uint16_t)
COPY_PIXELS(uint32_t)

/* Channels [c, c + n) of sample s of x to channels d.. of y. */
static void copy_channels(const fd_buf *y, int64_t d, const fd_buf *x, int64_t c, int64_t n, int64_t s) {
    const int64_t rb = x->block, wb = y->block, hw = fd_pixels(x->s), size = (int64_t)fd_dtype_bytes(x->dt);
    while (n > 0) {
        int64_t run = rb - c % rb < wb - d % wb ? rb - c % rb : wb - d % wb;
        if (run > n) run = n;
        const char *from = (const char *)x->p + fd_at(x, s, c, 0, 0) * size;
        char *to = (char *)y->p + fd_at(y, s, d, 0, 0) * size;
        if (run == rb && run == wb) memcpy(to, from, (size_t)(run * hw * size));
        else if (size == 2) pixels_uint16_t((uint16_t *)to, wb, (const uint16_t *)from, rb, run, hw);
        else pixels_uint32_t((uint32_t *)to, wb, (const uint32_t *)from, rb, run, hw);
        c += run;
        d += run;
        n -= run;
    }
}

/* Pieces are the blocks of the output, or 16 channels where it has none. */
static int64_t piece_of(const fd_buf *y) { return y->block > 1 ? y->block : 16; }
static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

static fd_status prepare(fd_ctx *ctx, fd_call *c) {
    for (int k = 0; k < FD_MAX_IN; k++)
        if (fd_has(&c->in[k]) && c->in[k].dt != c->out[0].dt) return FD_E_UNSUPPORTED;
    return FD_OK;
}

static fd_status run_concat(fd_ctx *ctx, const fd_call *c) {
    const fd_buf *z = &c->out[0];
    const int64_t piece = piece_of(z), pieces = (z->s.c + piece - 1) / piece, items = z->s.n * pieces;
#pragma omp parallel for schedule(static) num_threads(fd_team(c, items, piece * fd_pixels(z->s)))
    for (int64_t i = 0; i < items; i++) {
        int64_t n = i / pieces, from = i % pieces * piece, to = min64(from + piece, z->s.c);
        for (int64_t k = 0, first = 0, end; k < FD_CONCAT_MAX && fd_has(&c->in[k]); k++, first = end) {
            const fd_buf *x = &c->in[k];
            end = first + x->s.c;
            int64_t a = from > first ? from : first, b = min64(to, end);
            if (a < b) copy_channels(z, a, x, a - first, b - a, n);
        }
    }
    return FD_OK;
}
const fd_kernel fd_cpu_concat = {prepare, run_concat, NULL};

static fd_status run_slice(fd_ctx *ctx, const fd_call *c) {
    const fd_buf *x = &c->in[0], *y = &c->out[0];
    const int64_t piece = piece_of(y), pieces = (y->s.c + piece - 1) / piece, items = y->s.n * pieces;
#pragma omp parallel for schedule(static) num_threads(fd_team(c, items, piece * fd_pixels(y->s)))
    for (int64_t i = 0; i < items; i++) {
        int64_t n = i / pieces, from = i % pieces * piece;
        copy_channels(y, from, x, c->attr.c0 + from, min64(piece, y->s.c - from), n);
    }
    return FD_OK;
}
const fd_kernel fd_cpu_slice = {prepare, run_slice, NULL};
