/* 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3): a quarter of the multiplications.
 *
 *   for each group of outputs whose transformed weights fit the outer cache:
 *     all threads: U = transformed weights [panel][36][in][width] (bwd_x: in and out swapped, the 3x3 turned round)
 *     per block of tiles and share of the panels: V = transformed input [36][tile][in]
 *       per panel: M = V U [36][tile][width], transformed into y
 *
 * The transformed weights are four times the weights, so they are made anew in the workspace by each call: reading
 * them back from memory would take as long. Every product is one sum in the order of the input channels and no
 * transform crosses a tile, so neither batch nor threads change a bit of an image.
 *
 * Relative L2 error against float64 of one convolution of normal numbers, measured by tests/unit/test_winograd.c: 0.6e-6
 * for 24 channels, 1.1e-6 for 128, 1.5e-6 for 256, 2.1e-6 for 512.
 */
#include "cpu/winograd.h"

#include <omp.h>
#include <unistd.h>

#include "base/arena.h"

enum {
    GROUP_BYTES = 12 << 20,     /* transformed weights at a time */
};

/* V and M of one thread. All transformed weights are read again for each block: large blocks where a core has a large cache of its
 * own, which then is far from the shared one. (2 MiB cores: 4 MiB take a fifth less time than 1 MiB. 1 MiB cores: 1 MiB is best.) */
static int64_t block_bytes(void) {
    const long l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return l2 >= 2 << 20 ? 4 << 20 : 1 << 20;
}

typedef struct {
    fd_conv_state head;
    fd_conv_role role;
    int shift;                       /* fd_tile_of of the input */
    int64_t C, K, C16;               /* inputs and outputs of this direction; inputs rounded up to whole vectors */
    fd_tiling tiles;
    int panels, panels_per_group;
    int64_t blocks, shares, T;       /* blocks of T tiles, each done by `shares` threads for other panels */
    int64_t u_panel, v_fs, m_fs;     /* sizes in floats */
    size_t v_at, m_at, thread_bytes;
} winograd;

static int64_t panel_start(const winograd *s, int64_t p) { return fd_panel_start(s->K, s->panels, p); }

/* Blocks small enough for the cache and, when there are too few for all threads, smaller ones and shares of the
 * panels. */
static void divide(winograd *s, int threads) {
    const int64_t per_tile = 36 * 4 * (s->C16 + 64);
    int64_t most = block_bytes() / per_tile;
    if (most < 12) most = 12;
    s->blocks = fd_ceil_div(s->tiles.count, most);
    s->shares = 1;
    if (s->blocks < 2 * threads) {
        int64_t fewest = fd_ceil_div(s->tiles.count, 6);
        s->blocks = fewest < threads ? fewest : fd_round_up(s->blocks, threads);
        if (s->blocks < threads) s->shares = threads / s->blocks;
        if (s->shares > s->panels) s->shares = s->panels;
    }
    s->T = fd_ceil_div(s->tiles.count, s->blocks);
    s->blocks = fd_ceil_div(s->tiles.count, s->T);
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

/* w is [out][in][9] of the forward direction. */
static void weights(const winograd *s, const float *w, float *u, int64_t p0, int64_t p1) {
    const fd_rows *rows = fd_cpu_rows();
    const bool forward = s->role == FD_CONV_FORWARD;
    const int64_t from_out = forward ? 9 * s->C : 9, from_in = forward ? 9 : 9 * s->K;
#pragma omp for collapse(2) schedule(static)
    for (int64_t p = p0; p < p1; p++)
        for (int64_t i = 0; i < s->C; i += 16) {
            const int64_t first = panel_start(s, p), width = panel_start(s, p + 1) - first;
            const int64_t n = s->C - i < 16 ? s->C - i : 16;
            float *to = u + (p - p0) * s->u_panel + i * width;
            for (int64_t k = first; k < first + width; k += 16)
                rows->wino_weights(to + k - first, (s->C + 1) * width, width, w + k * from_out + i * from_in, from_out, from_in,
                                   (int)(s->K - k < 16 ? s->K - k : 16), n, !forward);
        }
}

static void block(const winograd *s, const fd_call *c, const float *u, float *v, float *m, int64_t task, int64_t p0,
                  int64_t p1) {
    const fd_rows *rows = fd_cpu_rows();
    const fd_buf *x = &c->in[0], *y = &c->out[0], *b = &c->in[2];
    const int64_t q0 = task / s->shares * s->T, share = task % s->shares, np = p1 - p0;
    const int64_t T = s->tiles.count - q0 < s->T ? s->tiles.count - q0 : s->T;
    const int64_t first = p0 + np * share / s->shares, last = p0 + np * (share + 1) / s->shares;
    if (first == last) return;
    for (int64_t c0 = 0; c0 < s->C; c0 += 16)
        for (int64_t t = 0; t < T; t++) {
            fd_tile tile = fd_tile_of(&s->tiles, x, q0 + t, c0, s->shift);
            rows->wino_input(v + t * s->C16 + c0, s->v_fs, &tile);
        }
    for (int64_t p = first; p < last; p++) {
        const int64_t k0 = panel_start(s, p), width = panel_start(s, p + 1) - k0;
        for (int f = 0; f < 36; f++)
            rows->gemm(T, width, s->C, v + f * s->v_fs, s->C16, 1, u + (p - p0) * s->u_panel + f * (s->C + 1) * width,
                       width, m + f * s->m_fs, width, 0);
        for (int64_t k = k0; k < k0 + width && k < s->K; k += 16) {
            float bias[16] = {0};
            for (int i = 0; i < 16 && b->p && k + i < s->K; i++) bias[i] = ((const float *)b->p)[k + i];
            for (int64_t t = 0; t < T; t++) {
                fd_tile tile = fd_tile_of(&s->tiles, y, q0 + t, k, 0);
                rows->wino_output(&tile, m + t * width + k - k0, s->m_fs, bias, c->attr.act);
            }
        }
    }
}

static fd_status run(fd_ctx *ctx, const fd_call *c) {
    winograd *s = c->state;
    float *u = c->work;
    const int64_t tasks = s->blocks * s->shares;
#pragma omp parallel num_threads(c->threads)
    {
        char *mine = (char *)c->work + s->v_at + (size_t)omp_get_thread_num() * s->thread_bytes;
        float *v = (float *)mine, *m = (float *)(mine + s->m_at);
        for (int64_t p = 0; p < s->panels; p += s->panels_per_group) {
            const int64_t end = p + s->panels_per_group < s->panels ? p + s->panels_per_group : s->panels;
            weights(s, c->in[1].p, u, p, end);
#pragma omp for schedule(static)
            for (int64_t task = 0; task < tasks; task++) block(s, c, u, v, m, task, p, end);
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
    s->C16 = fd_round_up(s->C, 16);
    s->panels = fd_panels(s->K);
    const int64_t widest = fd_ceil_div(fd_ceil_div(s->K, 16), s->panels) * 16;
    s->u_panel = 36 * (s->C + 1) * widest;
    s->panels_per_group = (int)(GROUP_BYTES / (s->u_panel * 4));
    if (s->panels_per_group < 1) s->panels_per_group = 1;
    if (s->panels_per_group > s->panels) s->panels_per_group = s->panels;
    s->panels_per_group = (int)fd_ceil_div(s->panels, fd_ceil_div(s->panels, s->panels_per_group));
    divide(s, c->threads);
    /* 16 more: 36 rows a power of two apart would share the same few cache lines */
    s->v_fs = s->T * s->C16 + 16;
    s->m_fs = s->T * widest + 16;
    s->v_at = (size_t)(s->panels_per_group * s->u_panel) * sizeof(float);
    s->m_at = (size_t)(36 * s->v_fs) * sizeof(float);
    s->thread_bytes = s->m_at + (size_t)(36 * s->m_fs) * sizeof(float);
    c->work_bytes = s->v_at + (size_t)c->threads * s->thread_bytes;
    c->state = s;
    c->algo = "winograd 4x3";
    return FD_OK;
}
