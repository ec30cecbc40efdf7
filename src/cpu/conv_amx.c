/* Convolutions of stride 1 on AMX.
 *
 *   all threads: weights packed into tiles (bf16: kept until the optimiser changes them)
 *   per strip of rows of a picture, and share of the outputs:
 *     the strip with its padding, as chunks of 32 inputs: all filter positions of a chunk stay in the first-level cache
 *     per 32 outputs, per 32 positions: one sum in registers (amx.h), then y
 *
 * Positions are those of the padded picture one after the other (the padding on the right of a row is that on the left of
 * the next), so that every filter position is the same rows of memory, moved; what falls into the padding is computed and
 * dropped.
 *
 * In f32 every number is the sum of two bf16 numbers, high + low, to a relative 2^-17, and
 *
 *   x w = high(x) high(w) + low(x) high(w) + high(x) low(w)      (what is left out: at most 2^-16)
 *
 * Three products at more than ten times the rate of one in f32. Relative L2 error of a convolution of normal numbers against
 * float64: 4.4e-6 (tests/unit/test_winograd.c), a hundredth of TF32's and two to seven times Winograd's.
 *
 * The data gradient is the same convolution of dy, with inputs and outputs swapped and the filters turned round.
 */
#include "cpu/conv_amx.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/arena.h"
#include "cpu/amx.h"
#include "cpu/amx_data.h"
#include "cpu/packed.h"

enum {
    CHUNK = FD_AMX_CHUNK, OUT = FD_AMX_OUT, TILE = 512,      /* elements of a tile of weights */
    STRIP_BYTES = 640 << 10,                                 /* of a strip with both halves: a part of the second-level cache */
    SLACK = 3 * FD_AMX_ROWS,                                 /* positions behind a strip that are read and dropped */
};

typedef struct {
    fd_conv_state head;
    bool turned, split;                       /* data gradient; f32 */
    int64_t C, K, chunks, blocks;             /* inputs and outputs of this direction; chunks of 32 and blocks of 32 */
    int kh, kw, pad, pad_w;
    int64_t h, w, oh, ow;
    int64_t gap, pitch;                       /* zeros before a row, which are also those behind the one before; w + gap */
    int64_t strips, rows, shares;             /* of a picture; rows of y in a strip; threads that share a strip's outputs */
    int64_t positions, chunk, part;           /* of a strip; elements of x from chunk to chunk and half to half */
    size_t w_bytes, w_at, buffer_at, buffer_bytes, x_at, thread_bytes;
    fd_packed *packed;
} amx;

/* Bytes of whole cache lines. */
static size_t up64(int64_t n) { return (size_t)fd_round_up(n, 64); }

/* ---- weights ----------------------------------------------------------------------------------------------------- */

/* Where the weights of a block of outputs for a chunk of inputs begin. */
static int64_t weights_at(const amx *s, int64_t b, int64_t c) {
    return (b * s->chunks + c) * s->kh * s->kw * (s->split ? 4 : 2) * TILE;
}

/* Chunk c of the inputs and block b of the outputs. The weights are [K][C][kh kw], [C][K][kh kw] turned. */
static void pack_block(const amx *s, const float *w, uint16_t *to, int64_t b, int64_t c, float *buffer) {
    const int64_t R = s->kh * s->kw, from_out = s->turned ? R : s->C * R, from_in = s->turned ? s->K * R : R;
    const int64_t inputs = fd_min64(s->C - c * CHUNK, CHUNK), step = (s->split ? 4 : 2) * TILE;
    to += weights_at(s, b, c);
    for (int64_t k = b * OUT, t = 0; t < 2; t++, k += 16, to += TILE) {
        const int outs = (int)fd_min64(s->K - k < 0 ? 0 : s->K - k, 16);
        fd_amx_weights(to, step, buffer, w + (outs ? k : 0) * from_out + c * CHUNK * from_in, from_out, from_in, outs, inputs,
                       R, s->turned, s->split);
    }
}

static void pack_all(const amx *s, const fd_call *c, const float *w, uint16_t *to) {
    float *buffer = (float *)((char *)c->work + s->buffer_at + s->buffer_bytes * (size_t)omp_get_thread_num());
#pragma omp for collapse(2) schedule(static)
    for (int64_t b = 0; b < s->blocks; b++)
        for (int64_t k = 0; k < s->chunks; k++) pack_block(s, w, to, b, k, buffer);
}

/* For fd_packed_get. */
static fd_status pack(fd_ctx *ctx, void *self, const float *w, void *to, const fd_call *c) {
    (void)ctx;
#pragma omp parallel num_threads(c->threads)
    pack_all(self, c, w, to);
    return FD_OK;
}

/* ---- pictures ---------------------------------------------------------------------------------------------------- */

static void zero(const amx *s, uint16_t *x, int64_t position, int64_t n) {
    for (int64_t c = 0; c < s->chunks; c++)
        for (int i = 0; i < (s->split ? 2 : 1); i++)
            memset(x + c * s->chunk + i * s->part + position * CHUNK, 0, (size_t)(n * CHUNK) * sizeof *x);
}

/* Rows y0 - pad… of picture n, with their padding. */
static void read_strip(const amx *s, const fd_buf *in, int64_t n, int64_t y0, int64_t rows, uint16_t *x) {
    const size_t size = fd_dtype_bytes(in->dt);
    for (int64_t i = 0; i < rows + s->kh - 1; i++) {
        const int64_t y = y0 - s->pad + i, at = i * s->pitch;
        if (y < 0 || y >= s->h) {
            zero(s, x, at, s->pitch);
            continue;
        }
        zero(s, x, at, s->gap);
        fd_amx_to_chunks(x + (at + s->gap) * CHUNK, s->chunk, s->part,
                         (const char *)in->p + (size_t)((n * s->h + y) * s->w * s->C) * size, in->dt, s->C, s->C, s->w);
    }
    zero(s, x, (rows + s->kh - 1) * s->pitch, s->gap);
}

/* Sums at positions p… of a strip to the pixels of y that they are. */
static void write_sums(const amx *s, const fd_buf *out, int64_t n, int64_t y0, int64_t p, int64_t count, int64_t k0,
                       const float *sums, float least) {
    const int64_t width = fd_min64(s->K - k0, OUT);
    for (int64_t i = 0; i < count;) {
        const int64_t row = (p + i) / s->pitch, x = (p + i) % s->pitch;
        if (x >= s->ow) {
            i += s->pitch - x;
            continue;
        }
        const int64_t run = fd_min64(count - i, s->ow - x), at = ((n * s->oh + y0 + row) * s->ow + x) * s->K + k0;
        void *to = (char *)out->p + (size_t)at * fd_dtype_bytes(out->dt);
        fd_amx_rows_above(to, out->dt, s->K, sums + i * OUT, least, run, width);
        i += run;
    }
}

static void do_task(const amx *s, const fd_call *c, const uint16_t *w, int64_t task, char *work) {
    const int64_t share = task % s->shares, strip = task / s->shares % s->strips, n = task / s->shares / s->strips;
    const int64_t y0 = strip * s->rows, rows = fd_min64(s->rows, s->oh - y0);
    if (rows <= 0) return;
    const int64_t positions = (rows - 1) * s->pitch + s->ow;
    const float least = c->attr.act ? 0 : -INFINITY, *bias = s->turned ? NULL : c->in[2].p;
    float *sums = (float *)work, *start = sums + 2 * FD_AMX_ROWS * OUT;
    uint16_t *x = (uint16_t *)(work + s->x_at);
    read_strip(s, &c->in[0], n, y0, rows, x);
    fd_amx_block block = {.chunk = s->chunk, .part = s->part, .row = s->pitch, .chunks = (int)s->chunks, .kh = s->kh, .kw = s->kw,
                          .split = s->split, .start = start};
    for (int64_t b = s->blocks * share / s->shares; b < s->blocks * (share + 1) / s->shares; b++) {
        for (int k = 0; k < OUT; k++) start[k] = bias && b * OUT + k < s->K ? bias[b * OUT + k] : 0;
        block.w = w + weights_at(s, b, 0);
        for (int64_t p = 0; p < positions; p += 2 * FD_AMX_ROWS) {
            const int64_t left = positions - p;
            block.x = x + (p + s->gap - s->pad_w) * CHUNK;
            fd_amx_multiply(&block, left > FD_AMX_ROWS ? 2 : 1, sums);
            write_sums(s, &c->out[0], n, y0, p, fd_min64(left, 2 * FD_AMX_ROWS), b * OUT, sums, least);
        }
    }
}

static fd_status run(fd_ctx *ctx, const fd_call *c) {
    amx *s = c->state;
    void *w = (char *)c->work + s->w_at;
    if (!s->split) {
        const int64_t key[] = {s->turned, s->C, s->K, s->kh, s->kw};
        fd_packing how = {.bytes = s->w_bytes, .key = key, .key_bytes = sizeof key, .self = s, .pack = pack};
        FD_TRY(fd_packed_get(ctx, &s->packed, &how, c, 1, &w));
    }
    const int64_t tasks = c->in[0].s.n * s->strips * s->shares;
#pragma omp parallel num_threads(c->threads)
    {
        fd_amx_tiles before;
        if (s->split) pack_all(s, c, c->in[1].p, w);
        char *work = (char *)c->work + s->buffer_at + s->buffer_bytes * (size_t)c->threads +
                     s->thread_bytes * (size_t)omp_get_thread_num();
        fd_amx_begin(&before);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < tasks; i++) do_task(s, c, w, i, work);
        fd_amx_end(&before);
    }
    return FD_OK;
}

static void release(void *state) {
    amx *s = state;
    if (!s) return;
    fd_packed_release(s->packed);
    fd_free(s);
}

/* ---- planning ---------------------------------------------------------------------------------------------------- */

bool fd_amx_suits(const fd_call *c, fd_conv_role role) {
    if (role == FD_CONV_BWD_W) return fd_amx_suits_bwd_w(c);
    const fd_buf *in = &c->in[0], *out = &c->out[0];
    const fd_shape w = c->in[1].s;
    return fd_cpu_has_amx() && c->attr.stride == 1 && c->attr.pad < w.h && c->attr.pad_w < w.w && w.w <= FD_AMX_ROWS &&
           in->dt == out->dt && in->block == in->s.c && out->block == out->s.c && in->s.c % 16 == 0 && out->s.c % 16 == 0;
}

/* Strips small enough for the cache; more, and shares of the outputs, where there are too few for all threads. */
static void divide(amx *s, int64_t pictures, int threads) {
    const int64_t row_bytes = s->pitch * s->chunks * CHUNK * 2 * (s->split ? 2 : 1);
    int64_t most = STRIP_BYTES / row_bytes - (s->kh - 1);
    if (most < 1) most = 1;
    s->strips = fd_ceil_div(s->oh, most);
    s->shares = 1;
    if (pictures * s->strips < 4 * threads && pictures % threads) {
        if (s->oh * s->pitch >= 256 * threads) s->strips = fd_ceil_div(s->strips, threads) * threads;
        else s->shares = fd_min64(threads, s->blocks);
    }
    s->rows = fd_ceil_div(s->oh, s->strips);
    s->positions = (s->rows + s->kh - 1) * s->pitch + SLACK;
    s->part = s->positions * CHUNK;
    s->chunk = s->part * (s->split ? 2 : 1);
}

fd_status fd_amx_prepare(fd_ctx *ctx, fd_call *c, fd_conv_role role) {
    if (!fd_amx_suits(c, role)) return FD_E_UNSUPPORTED;
    if (role == FD_CONV_BWD_W) return fd_amx_prepare_bwd_w(ctx, c);
    amx *s = fd_alloc(ctx, sizeof *s);
    if (!s) return FD_E_NOMEM;
    const fd_buf *in = &c->in[0], *out = &c->out[0];
    const fd_shape w = c->in[1].s;
    *s = (amx){.head = {run, release}, .turned = role == FD_CONV_BWD_X, .split = in->dt == FD_F32, .C = in->s.c, .K = out->s.c,
               .chunks = fd_ceil_div(in->s.c, CHUNK), .blocks = fd_ceil_div(out->s.c, OUT), .kh = (int)w.h, .kw = (int)w.w,
               .pad = c->attr.pad, .pad_w = c->attr.pad_w, .h = in->s.h, .w = in->s.w, .oh = out->s.h, .ow = out->s.w};
    if (s->turned) s->pad = s->kh - 1 - s->pad, s->pad_w = s->kw - 1 - s->pad_w;
    const int64_t right = s->ow + s->kw - 1 - s->w - s->pad_w;
    s->gap = right > s->pad_w ? right : s->pad_w;
    s->pitch = s->w + s->gap;
    divide(s, in->s.n, c->threads);
    s->w_bytes = up64(weights_at(s, s->blocks, 0) * 2);
    s->buffer_bytes = up64(CHUNK * s->kh * s->kw * 16 * (int64_t)sizeof(float));
    s->x_at = up64((2 * FD_AMX_ROWS * OUT + OUT) * (int64_t)sizeof(float));
    s->thread_bytes = s->x_at + up64(s->chunks * s->chunk * 2);
    s->w_at = 0;
    s->buffer_at = s->split ? s->w_bytes : 0;
    c->work_bytes = s->buffer_at + (s->buffer_bytes + s->thread_bytes) * (size_t)c->threads;
    c->state = s;
    c->algo = s->split ? "AMX, 3 x bf16" : "AMX";
    return FD_OK;
}
