/* 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3): a quarter of the multiplications.
 *
 *   for as many blocks of tiles as keep all threads busy:
 *     all threads: V = transformed input [chunk of inputs][36][tile][input]
 *     for each block and panel of outputs, by one thread:
 *       for each chunk: U = transformed weights of panel and chunk [36][input][output], M += V U
 *       M [36][tile][output] transformed into y
 *
 * The transformed weights are four times the weights. Made chunk by chunk, they never leave the cache of the core that needs
 * them: to make them anew for each block of tiles takes less time than to read them back from a cache that all cores share, let
 * alone from memory. (bwd_x: in and out swapped, the 3x3 turned round.)
 *
 * Sums are of the inputs of a chunk first, then of the chunks in order, and no transform crosses a tile, so neither batch nor
 * threads change a bit of an image.
 *
 * Relative L2 error against float64 of one convolution of normal numbers, measured by tests/unit/test_winograd.c: 0.6e-6
 * for 24 channels, 0.8e-6 for 128 to 512.
 */
#include "cpu/winograd.h"

#include <omp.h>
#include <unistd.h>

#include "base/arena.h"

enum {
    CHUNK = 64,                  /* inputs at a time: decides bits */
    TILES = 64,                  /* of a block, at most: then M is as large as U */
    V_BYTES = 512 << 10,         /* of the blocks that are worked on at once, if more than the threads need */
};

typedef struct {
    fd_conv_state head;
    fd_conv_role role;
    int shift;                       /* fd_tile_of of the input */
    int64_t C, K, chunks, deep;      /* deep: inputs of a chunk, at most */
    fd_tiling tiles;
    int panels;
    int64_t widest;                  /* outputs of a panel, at most */
    int64_t T, blocks, at_once;      /* tiles of a block; blocks; of which so many have their V at the same time */
    int64_t u_fs, v_fs, m_fs, v_chunk, v_block;      /* sizes in floats */
    size_t u_at, thread_bytes;
} winograd;

/* U and M take 590 kB each with 64 outputs. */
static int64_t widest_panel(void) { return sysconf(_SC_LEVEL2_CACHE_SIZE) >= 1 << 20 ? 64 : 32; }

static int64_t v_block_floats(const winograd *s, int64_t T) { return s->chunks * 36 * (s->deep * T + 16); }

/* Cycles for 16 inputs of a task, of a core with one multiplication of 16 numbers in each: making U, the products, reading V. */
static double task_cycles(int64_t vectors, int64_t T) { return (double)(vectors * (180 + 36 * T) + 72 * T); }

/* Panels and blocks for which the slowest thread has the least to do. */
static void divide(winograd *s, int threads) {
    const int64_t vectors = fd_ceil_div(s->K, 16), fewest = fd_ceil_div(s->tiles.count, TILES);
    double best = 0;
    for (int64_t widest = widest_panel() / 16; widest >= 1; widest /= 2)
        for (int64_t more = 1; more <= 8; more++) {
            const int64_t T = fd_ceil_div(s->tiles.count, fewest * more), blocks = fd_ceil_div(s->tiles.count, T);
            const int64_t panels = fd_ceil_div(vectors, widest), room = V_BYTES / ((int64_t)sizeof(float) * v_block_floats(s, T));
            int64_t at_once = fd_ceil_div(threads, panels);
            if (at_once < room) at_once = room;
            if (at_once > blocks) at_once = blocks;
            at_once = fd_ceil_div(blocks, fd_ceil_div(blocks, at_once));
            const int64_t groups = blocks / at_once, rest = blocks % at_once;
            const int64_t rounds = groups * fd_ceil_div(at_once * panels, threads) + fd_ceil_div(rest * panels, threads);
            const double cycles = (double)rounds * task_cycles(fd_ceil_div(vectors, panels), T);
            if (best && cycles >= best) continue;
            best = cycles;
            s->T = T, s->blocks = blocks, s->at_once = at_once, s->panels = (int)panels;
        }
    s->widest = fd_ceil_div(vectors, s->panels) * 16;
}

/* Inputs of a chunk: whole vectors. */
static int64_t chunk_inputs(const winograd *s, int64_t chunk) {
    const int64_t left = fd_round_up(s->C, 16) - chunk * CHUNK;
    return left < CHUNK ? left : CHUNK;
}

static int64_t tiles_of(const winograd *s, int64_t block) {
    const int64_t left = s->tiles.count - block * s->T;
    return left < s->T ? left : s->T;
}

static void input(const winograd *s, const fd_buf *x, float *v, int64_t first, int64_t n) {
    const fd_rows *rows = fd_cpu_rows();
    const int64_t vectors = fd_ceil_div(s->C, 16);
#pragma omp for collapse(2) schedule(static)
    for (int64_t b = 0; b < n; b++)
        for (int64_t c = 0; c < vectors; c++) {
            const int64_t chunk = c * 16 / CHUNK, ld = chunk_inputs(s, chunk);
            float *to = v + b * s->v_block + chunk * s->v_chunk + c * 16 % CHUNK;
            for (int64_t t = 0; t < tiles_of(s, first + b); t++) {
                fd_tile tile = fd_tile_of(&s->tiles, x, (first + b) * s->T + t, c * 16, s->shift);
                rows->wino_input(to + t * ld, s->v_fs, &tile);
            }
        }
}

/* w is [out][in][9] of the forward direction. */
static void weights(const winograd *s, const float *w, float *u, int64_t k0, int64_t width, int64_t c0, int64_t inputs) {
    const fd_rows *rows = fd_cpu_rows();
    const bool forward = s->role == FD_CONV_FORWARD;
    const int64_t from_out = forward ? 9 * s->C : 9, from_in = forward ? 9 : 9 * s->K;
    for (int64_t k = k0; k < k0 + width; k += 16)
        for (int64_t i = 0; i < inputs; i += 16)
            rows->wino_weights(u + i * width + k - k0, s->u_fs, width, w + k * from_out + (c0 + i) * from_in, from_out, from_in,
                               (int)(s->K - k < 16 ? s->K - k : 16), s->C - c0 - i < 16 ? s->C - c0 - i : 16, !forward);
}

static void output(const winograd *s, const fd_call *c, const float *m, int64_t block, int64_t k0, int64_t width) {
    const fd_rows *rows = fd_cpu_rows();
    const fd_buf *b = &c->in[2];
    for (int64_t k = k0; k < k0 + width && k < s->K; k += 16) {
        float bias[16] = {0};
        for (int i = 0; i < 16 && b->p && k + i < s->K; i++) bias[i] = ((const float *)b->p)[k + i];
        for (int64_t t = 0; t < tiles_of(s, block); t++) {
            fd_tile tile = fd_tile_of(&s->tiles, &c->out[0], block * s->T + t, k, 0);
            rows->wino_output(&tile, m + t * width + k - k0, s->m_fs, bias, c->attr.act);
        }
    }
}

static void panel(const winograd *s, const fd_call *c, const float *v, float *u, float *m, int64_t block, int64_t p) {
    const fd_rows *rows = fd_cpu_rows();
    const int64_t k0 = fd_panel_start(s->K, s->panels, p), width = fd_panel_start(s->K, s->panels, p + 1) - k0;
    for (int64_t chunk = 0; chunk < s->chunks; chunk++) {
        const int64_t inputs = chunk_inputs(s, chunk), real = s->C - chunk * CHUNK < inputs ? s->C - chunk * CHUNK : inputs;
        weights(s, c->in[1].p, u, k0, width, chunk * CHUNK, inputs);
        for (int f = 0; f < 36; f++)
            rows->gemm(tiles_of(s, block), width, real, v + chunk * s->v_chunk + f * s->v_fs, inputs, 1, u + f * s->u_fs, width,
                       m + f * s->m_fs, width, chunk > 0);
    }
    output(s, c, m, block, k0, width);
}

static fd_status run(fd_ctx *ctx, const fd_call *c) {
    (void)ctx;
    const winograd *s = c->state;
    float *v = c->work;
#pragma omp parallel num_threads(c->threads)
    {
        float *u = (float *)((char *)c->work + s->u_at + (size_t)omp_get_thread_num() * s->thread_bytes), *m = u + 36 * s->u_fs;
        for (int64_t first = 0; first < s->blocks; first += s->at_once) {
            const int64_t n = s->blocks - first < s->at_once ? s->blocks - first : s->at_once;
            input(s, &c->in[0], v, first, n);
#pragma omp for schedule(static)
            for (int64_t task = 0; task < n * s->panels; task++)
                panel(s, c, v + task / s->panels * s->v_block, u, m, first + task / s->panels, task % s->panels);
        }
    }
    return FD_OK;
}

/* ---- planning ---------------------------------------------------------------------------------------------------- */

static bool layout(const fd_buf *b) { return b->block % 16 == 0 || b->block == 8 || b->block == 1; }

bool fd_winograd_suits(const fd_buf *x, const fd_buf *y, fd_shape w, const fd_attr *attr) {
    return w.h == 3 && w.w == 3 && attr->stride == 1 && attr->pad == attr->pad_w && attr->pad <= 1 && x->s.h >= 3 &&
           x->s.w >= 3 && y->s.h >= 3 && y->s.w >= 3 && layout(x) && layout(y) && (w.n >= 16 || w.c >= 16);
}

fd_status fd_winograd_prepare(fd_ctx *ctx, fd_call *c, fd_conv_role role) {
    if (role == FD_CONV_BWD_W) return fd_winograd_prepare_bwd_w(ctx, c);
    winograd *s = fd_alloc(ctx, sizeof *s);
    if (!s) return FD_E_NOMEM;
    const fd_shape y = c->out[0].s;
    *s = (winograd){.head = {run, fd_free}, .role = role, .C = c->in[0].s.c, .K = y.c, .tiles = fd_tiling_of(y)};
    s->shift = role == FD_CONV_FORWARD ? 1 - c->attr.pad : c->attr.pad - 1;     /* the data gradient's border is 2 - pad */
    s->chunks = fd_ceil_div(s->C, CHUNK);
    s->deep = s->chunks > 1 ? CHUNK : fd_round_up(s->C, 16);
    divide(s, c->threads);
    /* 16 more: 36 rows a power of two apart would share the same few cache lines */
    s->u_fs = s->deep * s->widest + 16;
    s->v_fs = s->deep * s->T + 16;
    s->m_fs = s->T * s->widest + 16;
    s->v_chunk = 36 * s->v_fs;
    s->v_block = v_block_floats(s, s->T);
    s->u_at = (size_t)(s->at_once * s->v_block) * sizeof(float);
    s->thread_bytes = (size_t)(36 * (s->u_fs + s->m_fs)) * sizeof(float);
    c->work_bytes = s->u_at + (size_t)c->threads * s->thread_bytes;
    c->state = s;
    c->algo = "winograd 4x3";
    return FD_OK;
}
