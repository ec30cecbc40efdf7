/* dropout: the lanes of a vector are channels, so each has a random block of its own, whose four words decide four
 * consecutive pixels. Where memory is in NCHW order anyway (block 1, or one pixel) the blocks follow each other. */
#include <math.h>

#include "base/rng.h"
#include "cpu/cpu.h"
#include "cpu/isa/rows.h"

enum { PIECE = 4096 };     /* elements of NCHW memory a thread takes at a time; a multiple of 4 vectors */

static bool in_order(const fd_buf *x) { return x->block == 1 || fd_pixels(x->s) == 1; }

static fd_status prepare(fd_ctx *ctx, fd_call *c) {
    const fd_buf *x = &c->in[0];
    /* Four pixels of one block must not belong to two channels; the block number must fit its word. */
    if (!fd_alike(x, &c->out[0]) || (!in_order(x) && fd_pixels(x->s) % 4)) return FD_E_UNSUPPORTED;
    return x->s.c * fd_pixels(x->s) / 4 < UINT32_MAX ? FD_OK : FD_E_UNSUPPORTED;
}

/* The stream of fd_rng_words for (seed, FD_RNG_DROPOUT, index of the sample), draws id << 32 | block. */
static fd_drop mask_of(const fd_call *c, int64_t n) {
    const uint32_t *index = (const uint32_t *)c->in[1].p + 2 * n;
    const fd_attr *a = &c->attr;
    /* u >= p with u = (word >> 8) 2^-24 is word >> 8 >= p 2^24 */
    return (fd_drop){.key = {(uint32_t)a->seed, (uint32_t)(a->seed >> 32) ^ FD_RNG_DROPOUT},
                     .counter = {a->id, index[0], index[1]},
                     .least = (uint32_t)ceil((double)a->p * 0x1p24) << 8,
                     .factor = (float)(1.0 / (1.0 - (double)a->p))};
}

static fd_status run(fd_ctx *ctx, const fd_call *c) {
    const fd_rows *f = fd_cpu_rows();
    const fd_buf *x = &c->in[0], *y = &c->out[0];
    const int64_t hw = fd_pixels(x->s), each = x->s.c * hw, size = (int64_t)fd_dtype_bytes(x->dt);
    const bool flat = in_order(x);
    const int64_t width = x->block < f->lanes ? x->block : f->lanes;
    const int64_t pieces = flat ? (each + PIECE - 1) / PIECE : x->s.c / width, items = x->s.n * pieces;
#pragma omp parallel for schedule(static) num_threads(fd_team(c, items, 8 * each / pieces))
    for (int64_t i = 0; i < items; i++) {
        const int64_t n = i / pieces, p = i % pieces;
        const fd_drop m = mask_of(c, n);
        const int64_t at = flat ? n * each + p * PIECE : fd_at(x, n, p * width, 0, 0);
        void *to = (char *)y->p + at * size;
        const void *from = (const char *)x->p + at * size;
        if (flat) f->dropout_flat(to, from, x->dt, each - p * PIECE < PIECE ? each - p * PIECE : PIECE, (uint32_t)(p * PIECE / 4), &m);
        else f->dropout_rows(to, from, x->dt, x->block, hw, (int)width, (uint32_t)(p * width * (hw / 4)), (uint32_t)(hw / 4), &m);
    }
    return FD_OK;
}

const fd_kernel fd_cpu_dropout = {prepare, run, NULL};
