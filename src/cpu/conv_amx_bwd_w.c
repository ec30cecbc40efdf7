/* conv2d_bwd_w on AMX: dw[k][c][i][j] = sum over positions p of dy[p][k] x[p + i pitch + j][c], positions counted as in
 * conv_amx.c, dy being zero in the padding.
 *
 *   per group of inputs whose sums fit the caches, per piece (some small pictures, or a strip of rows of a large one):
 *     all threads: dy turned over, [outputs][positions]; x in pairs of positions, once from each even and once from each odd
 *     position on, so that a filter position is the same memory, moved
 *     each thread, its outputs: per 32 inputs, 32 outputs and filter position: sums += dy' x
 *   at last: dw += sums
 *
 * Where channels are few, several pieces go at the same time, each with sums of its own, which are added up in their
 * order. Pieces and sums do not depend on the number of threads. f32 is done by three products, as in conv_amx.c.
 */
#include <omp.h>
#include <string.h>

#include "base/arena.h"
#include "cpu/amx.h"
#include "cpu/amx_data.h"
#include "cpu/conv_amx.h"

enum {
    CHUNK = FD_AMX_CHUNK, TILE = 512,       /* channels at a time; elements of a tile               */
    SUMS = CHUNK * CHUNK,                   /* of 32 outputs, 32 inputs and a filter position       */
    POSITIONS = 560,                        /* of a piece of bf16, about: 32 outputs of dy in the first-level cache */
    SUM_BYTES = 5 << 18,                    /* of a thread's sums: about half of a second-level cache */
    PARTS = 8,                              /* least number that the work of a few pieces is cut into */
};

typedef struct {
    fd_conv_state head;
    int parts;                              /* 1: bf16, 2: halves of f32                            */
    int64_t C, K, chunks, blocks;           /* inputs and outputs; 32 at a time                     */
    int kh, kw;
    int64_t top, left;                      /* rows, pixels of padding                              */
    int64_t n, h, w, pitch;
    int64_t pictures, rows, apart, pieces;  /* of a piece; rows from picture to picture; pieces     */
    int64_t steps, pairs;                   /* of a piece: positions of dy / 32, those of x / 2     */
    int64_t lanes;                          /* pieces at a time                                     */
    int64_t out_shares, in_shares, group;   /* a group's chunks                                     */
    size_t dy_at, x_at, line_at, line_bytes, sums_at, share_bytes;
} gradient;

/* Bytes of whole cache lines. */
static size_t up64(int64_t n) { return (size_t)fd_round_up(n, 64); }

/* ---- pieces as positions ----------------------------------------------------------------------------------------- */

/* Row y of picture n as pitch positions, the first of them `before` zeros; all zeros where there is no such row. */
static void read_row(const gradient *s, const fd_buf *t, int64_t chunk, int64_t n, int64_t y, int64_t before, uint16_t *to) {
    const int64_t part = 2 * s->pairs * CHUNK, C = t->s.c;
    const bool there = n < s->n && y >= 0 && y < s->h;
    for (int k = 0; k < s->parts; k++) memset(to + k * part, 0, (size_t)(s->pitch * CHUNK) * sizeof *to);
    if (!there) return;
    const size_t at = (size_t)((n * s->h + y) * s->w * C + chunk * CHUNK) * fd_dtype_bytes(t->dt);
    fd_amx_to_chunks(to + before * CHUNK, 0, part, (const char *)t->p + at, t->dt, C, fd_min64(C - chunk * CHUNK, CHUNK), s->w);
}

/* Zeros from row `row` to the end. */
static void end_rows(const gradient *s, int64_t row, uint16_t *line) {
    const int64_t left = 2 * s->pairs - row * s->pitch;
    for (int k = 0; k < s->parts; k++)
        memset(line + (k * 2 * s->pairs + row * s->pitch) * CHUNK, 0, (size_t)(left * CHUNK) * sizeof *line);
}

/* Picture and row that a piece begins with. */
static void piece_at(const gradient *s, int64_t piece, int64_t *n, int64_t *y) {
    const int64_t strips = fd_ceil_div(s->h, s->rows);
    *n = piece / strips * s->pictures;
    *y = piece % strips * s->rows;
}

/* dy's block b, turned over: [step][part][2 tiles][16 outputs][32 positions] */
static void read_dy(const gradient *s, const fd_buf *dy, int64_t piece, int64_t b, uint16_t *line, uint16_t *to) {
    int64_t n, y;
    piece_at(s, piece, &n, &y);
    const int64_t rows = s->pictures * s->apart - s->top;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t t = r % s->apart;
        read_row(s, dy, b, n + r / s->apart, t < s->rows ? y + t : -1, 0, line + r * s->pitch * CHUNK);
    }
    end_rows(s, rows, line);
    for (int64_t i = 0; i < s->steps; i++)
        for (int k = 0; k < s->parts; k++)
            for (int t = 0; t < 2; t++, to += TILE)
                fd_amx_turn_pixels(to, line + (k * 2 * s->pairs + 32 * i) * CHUNK + 16 * t);
}

/* x's chunk with the padding around: [odd][part][2 tiles][pair][16 inputs][2] */
static void read_x(const gradient *s, const fd_buf *x, int64_t piece, int64_t chunk, uint16_t *line, uint16_t *to) {
    int64_t n, y;
    piece_at(s, piece, &n, &y);
    const int64_t rows = s->pictures * s->apart + s->top;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t q = fd_min64(r / s->apart, s->pictures - 1);
        read_row(s, x, chunk, n + q, y + r - q * s->apart - s->top, s->left, line + r * s->pitch * CHUNK);
    }
    end_rows(s, rows, line);
    for (int odd = 0; odd < 2; odd++)
        for (int k = 0; k < s->parts; k++)
            for (int t = 0; t < 2; t++, to += s->pairs * CHUNK)
                fd_amx_zip_pixels(to, line + (k * 2 * s->pairs + odd) * CHUNK + 16 * t, s->pairs - odd);
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static void add_bias(const gradient *s, const fd_buf *dy, int64_t b, float *db) {
    for (int64_t k = b * CHUNK; k < fd_min64(s->K, (b + 1) * CHUNK); k += 16)
        fd_amx_sum_pixels(db + k, (const char *)dy->p + (size_t)k * fd_dtype_bytes(dy->dt), dy->dt, s->K, s->n * s->h * s->w);
}

/* dw [K][C][kh kw] += sums [filter position][2][2][16 outputs][16 inputs] */
static void add_sums(const gradient *s, float *dw, const float *sums, int64_t b, int64_t chunk) {
    const int64_t R = s->kh * s->kw, nk = fd_min64(s->K - b * CHUNK, CHUNK), nc = fd_min64(s->C - chunk * CHUNK, CHUNK);
    for (int64_t k = 0; k < nk; k++) {
        float *to = dw + ((b * CHUNK + k) * s->C + chunk * CHUNK) * R;
        for (int64_t c = 0; c < nc; c++, to += R) {
            const float *from = sums + k / 16 * 512 + c / 16 * 256 + k % 16 * 16 + c % 16;
            for (int64_t r = 0; r < R; r++) to[r] += from[r * SUMS];
        }
    }
}

static void multiply(const gradient *s, const uint16_t *dy, const uint16_t *x, float *sums) {
    fd_amx_gradient g = {.dy = dy, .tile = s->pairs * CHUNK, .part = 2 * s->pairs * CHUNK, .steps = s->steps,
                         .split = s->parts == 2};
    for (int i = 0; i < s->kh; i++)
        for (int j = 0; j < s->kw; j++, sums += SUMS) {
            const int64_t moved = i * s->pitch + j;
            g.x = x + moved % 2 * 2 * s->parts * g.tile + moved / 2 * CHUNK;
            fd_amx_multiply_positions(&g, sums);
        }
}

/* Some outputs and inputs of a group, and their sums over the pieces of one lane. */
typedef struct { int64_t b0, b1, k0, k1; float *sums; } share;

static share share_of(const gradient *s, const fd_call *c, int64_t lane, int64_t i, int64_t chunks) {
    const int64_t o = i / s->in_shares, k = i % s->in_shares, at = lane * s->out_shares * s->in_shares + i;
    return (share){s->blocks * o / s->out_shares, s->blocks * (o + 1) / s->out_shares, chunks * k / s->in_shares,
                   chunks * (k + 1) / s->in_shares, (float *)((char *)c->work + s->sums_at + s->share_bytes * (size_t)at)};
}

/* Chunks g… of the inputs, by all threads. */
static void do_group(const gradient *s, const fd_call *c, int64_t g, int64_t chunks, uint16_t *line) {
    uint16_t *dy = (uint16_t *)((char *)c->work + s->dy_at), *x = (uint16_t *)((char *)c->work + s->x_at);
    const int64_t shares = s->out_shares * s->in_shares, R = s->kh * s->kw, both = s->blocks + chunks;
    const int64_t dy_size = s->steps * s->parts * 2 * TILE, x_size = 2 * s->parts * 2 * s->pairs * CHUNK;
    for (int64_t piece = 0; piece < s->pieces; piece += s->lanes) {
        const int64_t lanes = fd_min64(s->lanes, s->pieces - piece);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < lanes * both; i++) {
            const int64_t lane = i / both, k = i % both - s->blocks;
            if (k < 0) read_dy(s, &c->in[0], piece + lane, i % both, line, dy + (lane * s->blocks + i % both) * dy_size);
            else read_x(s, &c->in[1], piece + lane, g + k, line, x + (lane * s->group + k) * x_size);
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < lanes * shares; i++) {
            const int64_t lane = i / shares;
            const share h = share_of(s, c, lane, i % shares, chunks);
            float *sums = h.sums;
            if (!piece) memset(sums, 0, (size_t)((h.k1 - h.k0) * (h.b1 - h.b0) * R * SUMS) * sizeof *sums);
            for (int64_t k = h.k0; k < h.k1; k++)
                for (int64_t b = h.b0; b < h.b1; b++, sums += R * SUMS)
                    multiply(s, dy + (lane * s->blocks + b) * dy_size, x + (lane * s->group + k) * x_size, sums);
        }
    }
#pragma omp for schedule(static)
    for (int64_t i = 0; i < shares; i++)
        for (int64_t lane = 0; lane < s->lanes; lane++) {
            const share h = share_of(s, c, lane, i, chunks);
            const float *sums = h.sums;
            for (int64_t k = h.k0; k < h.k1; k++)
                for (int64_t b = h.b0; b < h.b1; b++, sums += R * SUMS) add_sums(s, c->out[0].p, sums, b, g + k);
        }
}

static fd_status run(fd_ctx *ctx, const fd_call *c) {
    (void)ctx;
    const gradient *s = c->state;
#pragma omp parallel num_threads(c->threads)
    {
        fd_amx_tiles before;
        uint16_t *line = (uint16_t *)((char *)c->work + s->line_at + s->line_bytes * (size_t)omp_get_thread_num());
        fd_amx_begin(&before);
        for (int64_t g = 0; g < s->chunks; g += s->group) do_group(s, c, g, fd_min64(s->group, s->chunks - g), line);
        fd_amx_end(&before);
#pragma omp for schedule(static)
        for (int64_t b = 0; b < (c->out[1].p ? s->blocks : 0); b++) add_bias(s, &c->in[0], b, c->out[1].p);
    }
    return FD_OK;
}

/* ---- planning ---------------------------------------------------------------------------------------------------- */

/* Twice as many positions where the sums, which are read and written per piece, go with three products. */
static void cut(gradient *s) {
    const int64_t most = POSITIONS * s->parts, picture = (s->h + s->top) * s->pitch;
    s->pictures = picture < most ? fd_ceil_div(s->n, fd_ceil_div(s->n, most / picture)) : 1;
    const int64_t strips = picture < most ? 1 : fd_ceil_div(picture, most + most / 4);
    s->rows = fd_ceil_div(s->h, strips);
    s->apart = s->rows + s->top;
    s->pieces = fd_ceil_div(s->n, s->pictures) * fd_ceil_div(s->h, s->rows);
    s->steps = fd_ceil_div((s->pictures * s->apart - s->top) * s->pitch, 32);
    s->pairs = fd_ceil_div(s->steps * 32 + (s->kh - 1) * s->pitch + s->kw + 1, 2);
    const int64_t rows = (s->pictures * s->apart + s->top) * s->pitch;
    if (s->pairs * 2 < rows) s->pairs = fd_ceil_div(rows, 2);
}

static void divide(gradient *s, int threads) {
    s->lanes = fd_min64(fd_ceil_div(PARTS, s->blocks * s->chunks), s->pieces);
    s->out_shares = fd_min64(threads, s->blocks);
    s->in_shares = fd_min64(fd_ceil_div(threads, s->out_shares), s->chunks);
    const int64_t blocks = fd_ceil_div(s->blocks, s->out_shares), each = blocks * s->kh * s->kw * SUMS * (int64_t)sizeof(float);
    const int64_t most = SUM_BYTES / each < 1 ? s->in_shares : SUM_BYTES / each * s->in_shares;
    s->group = fd_ceil_div(s->chunks, fd_ceil_div(s->chunks, most));
    s->share_bytes = up64(fd_ceil_div(s->group, s->in_shares) * each);
    s->dy_at = 0;
    s->x_at = up64(s->lanes * s->blocks * s->steps * s->parts * 2 * TILE * 2);
    s->line_at = s->x_at + up64(s->lanes * s->group * 2 * s->parts * 2 * s->pairs * CHUNK * 2);
    s->line_bytes = up64(s->parts * 2 * s->pairs * CHUNK * 2);
    s->sums_at = s->line_at + s->line_bytes * (size_t)threads;
}

bool fd_amx_suits_bwd_w(const fd_call *c) {
    const fd_buf *dy = &c->in[0], *x = &c->in[1];
    const fd_shape w = c->out[0].s;
    return fd_cpu_has_amx() && c->attr.stride == 1 && w.h == 2 * c->attr.pad + 1 && w.w == 2 * c->attr.pad_w + 1 &&
           dy->dt == x->dt && dy->block == dy->s.c && x->block == x->s.c && dy->s.c % 16 == 0 && x->s.c % 16 == 0;
}

fd_status fd_amx_prepare_bwd_w(fd_ctx *ctx, fd_call *c) {
    gradient *s = fd_alloc(ctx, sizeof *s);
    if (!s) return FD_E_NOMEM;
    const fd_buf *dy = &c->in[0], *x = &c->in[1];
    const fd_shape w = c->out[0].s;
    *s = (gradient){.head = {run, fd_free}, .parts = x->dt == FD_F32 ? 2 : 1, .C = x->s.c, .K = dy->s.c,
                    .chunks = fd_ceil_div(x->s.c, CHUNK), .blocks = fd_ceil_div(dy->s.c, CHUNK), .kh = (int)w.h, .kw = (int)w.w,
                    .top = c->attr.pad, .left = c->attr.pad_w, .n = x->s.n, .h = x->s.h, .w = x->s.w,
                    .pitch = x->s.w + c->attr.pad_w};
    cut(s);
    divide(s, c->threads);
    c->work_bytes = s->sums_at + s->share_bytes * (size_t)(s->lanes * s->out_shares * s->in_shares);
    c->state = s;
    c->algo = s->parts == 2 ? "AMX, 3 x bf16" : "AMX";
    return FD_OK;
}
