/* winograd.h — 3x3 convolutions by Winograd's F(4x4, 3x3), one of the algorithms behind conv2d. */
#ifndef FD_CPU_WINOGRAD_H
#define FD_CPU_WINOGRAD_H

#include "cpu/conv_choice.h"
#include "cpu/isa/rows.h"

/* Whether it can: shape and layout of x or dx, y or dy, and the weights; never looks at the batch. */
bool fd_winograd_suits(const fd_buf *x, const fd_buf *y, fd_shape w, const fd_attr *attr);

/* For calls that suit. Forward and data gradient give an image the same bits in any batch; no result depends on the
 * number of threads. */
fd_status fd_winograd_prepare(fd_ctx *ctx, fd_call *c, fd_conv_role role);
fd_status fd_winograd_prepare_bwd_w(fd_ctx *ctx, fd_call *c);      /* for the file above only */

/* The tiles of a batch of pictures, and channels in panels as wide as the inner products like them. */
typedef struct { int64_t count, ty, tx; } fd_tiling;
static inline fd_tiling fd_tiling_of(fd_shape s) {
    fd_tiling t = {.ty = fd_ceil_div(s.h, 4), .tx = fd_ceil_div(s.w, 4)};
    t.count = s.n * t.ty * t.tx;
    return t;
}
static inline int fd_panels(int64_t channels) {
    const int64_t strip = fd_cpu_rows()->strip;
    return (int)fd_ceil_div(fd_round_up(channels, 16), strip < 16 ? 16 : strip);
}
/* First channel of panel p: vectors of 16 shared out as evenly as possible. */
static inline int64_t fd_panel_start(int64_t channels, int panels, int64_t p) {
    return fd_ceil_div(channels, 16) * p / panels * 16;
}

/* Channels c0… of tile q, moved by `shift` pixels down and right: an input with a border of 1 has its tiles where the
 * output has them (shift 0), one without a border has them a pixel further (shift 1). */
static inline fd_tile fd_tile_of(const fd_tiling *g, const fd_buf *b, int64_t q, int64_t c0, int shift) {
    const int64_t n = q / (g->ty * g->tx), r = q % (g->ty * g->tx);
    fd_tile t = {.step = b->block, .half = 8, .h = (int)b->s.h, .w = (int)b->s.w, .y = (int)(r / g->tx) * 4 + shift,
                 .x = (int)(r % g->tx) * 4 + shift, .dt = b->dt};
    if (b->block == 8) t.half = c0 + 8 < b->s.c ? fd_pixels(b->s) * 8 : 0;
    if (b->block == 1) {
        t.plane = fd_pixels(b->s);
        t.channels = (int)(b->s.c - c0 < 16 ? b->s.c - c0 : 16);
    }
    t.p = (const char *)b->p + (size_t)fd_at(b, n, c0, 0, 0) * fd_dtype_bytes(b->dt);
    return t;
}

#endif
