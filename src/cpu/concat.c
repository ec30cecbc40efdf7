/* concat, slice: channels copied between tensors whose blocks may differ, since 16 + 3 channels have no blocks of 16. */
#include <string.h>

#include "cpu/cpu.h"

enum { LONG_RUN = 32, PIXELS = 64 };     /* channels that memcpy copies fastest; pixels of a piece */

/* Pixels of `run` channels: rb and wb are the blocks of source and destination. */
#define COPY_PIXELS(type)                                                                                \
    static void pixels_##type(type *to, int64_t wb, const type *from, int64_t rb, int64_t run, int64_t n) { \
        for (int64_t i = 0; i < n; i++)                                                                  \
            for (int64_t k = 0; k < run; k++) to[i * wb + k] = from[i * rb + k];                         \
    }
COPY_PIXELS(uint16_t)
COPY_PIXELS(uint32_t)

/* Some pixels of some channels of one sample. */
typedef struct { int64_t n, channel, channels, pixel, pixels; } part;

/* x's channels from c on, in place of those of the part, to the part of y. */
static void copy_channels(const fd_buf *y, const part *p, const fd_buf *x, int64_t c) {
    const int64_t rb = x->block, wb = y->block, size = (int64_t)fd_dtype_bytes(x->dt);
    for (int64_t d = p->channel, left = p->channels, run; left > 0; c += run, d += run, left -= run) {
        run = rb - c % rb < wb - d % wb ? rb - c % rb : wb - d % wb;
        if (run > left) run = left;
        const char *from = (const char *)x->p + (fd_at(x, p->n, c, 0, 0) + p->pixel * rb) * size;
        char *to = (char *)y->p + (fd_at(y, p->n, d, 0, 0) + p->pixel * wb) * size;
        if (run == rb && run == wb) memcpy(to, from, (size_t)(run * p->pixels * size));
        else if (run >= LONG_RUN)
            for (int64_t i = 0; i < p->pixels; i++) memcpy(to + i * wb * size, from + i * rb * size, (size_t)(run * size));
        else if (size == 2) pixels_uint16_t((uint16_t *)to, wb, (const uint16_t *)from, rb, run, p->pixels);
        else pixels_uint32_t((uint32_t *)to, wb, (const uint32_t *)from, rb, run, p->pixels);
    }
}

static fd_status prepare(fd_ctx *ctx, fd_call *c) {
    for (int k = 0; k < FD_MAX_IN; k++)
        if (fd_has(&c->in[k]) && c->in[k].dt != c->out[0].dt) return FD_E_UNSUPPORTED;
    return FD_OK;
}

/* What the threads share out: the blocks of the output, or 16 channels where it has none; where it lies pixel by pixel,
 * some pixels with all their channels. */
typedef struct { int64_t channels, pixels, rows, columns; } cut;

static cut cut_of(const fd_buf *y) {
    const int64_t hw = fd_pixels(y->s);
    cut k = {y->block, hw, 1, 1};
    if (y->block == 1) k.channels = 16;
    if (y->block >= LONG_RUN) k.pixels = fd_min64(hw, PIXELS);
    k.rows = (y->s.c + k.channels - 1) / k.channels;
    k.columns = (hw + k.pixels - 1) / k.pixels;
    return k;
}
static part part_of(const cut *k, const fd_buf *y, int64_t i) {
    const int64_t c = i / k->columns % k->rows * k->channels, p = i % k->columns * k->pixels;
    return (part){i / k->columns / k->rows, c, fd_min64(k->channels, y->s.c - c), p, fd_min64(k->pixels, fd_pixels(y->s) - p)};
}

static fd_status run_concat(fd_ctx *ctx, const fd_call *c) {
    const fd_buf *z = &c->out[0];
    const cut k = cut_of(z);
    const int64_t items = z->s.n * k.rows * k.columns;
#pragma omp parallel for schedule(static) num_threads(fd_team(c, items, k.channels * k.pixels))
    for (int64_t i = 0; i < items; i++) {
        const part all = part_of(&k, z, i);
        for (int64_t j = 0, first = 0, end; j < FD_CONCAT_MAX && fd_has(&c->in[j]); j++, first = end) {
            end = first + c->in[j].s.c;
            part p = all;
            p.channel = all.channel > first ? all.channel : first;
            p.channels = fd_min64(all.channel + all.channels, end) - p.channel;
            if (p.channels > 0) copy_channels(z, &p, &c->in[j], p.channel - first);
        }
    }
    return FD_OK;
}
const fd_kernel fd_cpu_concat = {prepare, run_concat, NULL};

static fd_status run_slice(fd_ctx *ctx, const fd_call *c) {
    const fd_buf *x = &c->in[0], *y = &c->out[0];
    const cut k = cut_of(y);
    const int64_t items = y->s.n * k.rows * k.columns;
#pragma omp parallel for schedule(static) num_threads(fd_team(c, items, k.channels * k.pixels))
    for (int64_t i = 0; i < items; i++) {
        const part p = part_of(&k, y, i);
        copy_channels(y, &p, x, c->attr.c0 + p.channel);
    }
    return FD_OK;
}
const fd_kernel fd_cpu_slice = {prepare, run_slice, NULL};
