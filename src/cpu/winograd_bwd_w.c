/* conv2d_bwd_w for 3x3 convolutions of stride 1 by Winograd: the transpose of winograd.c in the weights.
 *
 *   dw = G' [ sum over tiles of (A dY A') . (B' d B) ] G
 *
 *   for each group of outputs whose sums fit the outer cache, for each chunk of tiles:
 *     all threads: V = transformed x [36][panel][tile][width],  Y = transformed dy [36][tile][out]
 *     all threads: M[36][out][in] += Y' V, the 36 and rows of them shared out
 *   at last: dw += G' M G
 *
 * Chunks and sums are the same for any number of threads.
 */
#include "base/arena.h"
#include "cpu/winograd.h"

enum {
    GROUP_BYTES = 16 << 20,     /* of M          */
    /* Of V and Y. M is read and written for each chunk: if it is large, so are the chunks; if it is small, they are small enough to
     * stay near the cores (two cores with 1 MiB each, shared cache busy: a fifth less time for the small network), but not so small
     * that many threads would do little else than meet. */
    CHUNK_BYTES = 8 << 20, SMALL_M = 4 << 20, SMALL_CHUNK_BYTES = 2 << 20,
    RANGE = 16,                 /* tiles of one partial sum of db */
};

typedef struct {
    fd_conv_state head;
    int64_t C, K, C16;
    fd_tiling tiles;
    int panels;
    int64_t group;                /* outputs at a time           */
    int64_t T;                    /* tiles of a chunk            */
    int64_t slices;               /* rows of M are cut in so many */
    int64_t v_fs, y_fs, m_fs, y_ld;
    size_t y_at, m_at, sum_at;
} winograd_w;

typedef struct { float *v, *y, *m, *sum; } work;

static void transform(const winograd_w *s, const fd_call *c, const work *w, int64_t q0, int64_t T, int64_t k0, int64_t k1) {
    const fd_rows *rows = fd_cpu_rows();
    const fd_buf *dy = &c->in[0], *x = &c->in[1];
    const int64_t ranges = fd_ceil_div(T, RANGE), in_groups = s->C16 / 16, out_groups = fd_ceil_div(k1 - k0, 16);
#pragma omp for collapse(2) schedule(static)
    for (int64_t g = 0; g < in_groups + out_groups; g++)
        for (int64_t r = 0; r < ranges; r++) {
            const int64_t end = (r + 1) * RANGE < T ? (r + 1) * RANGE : T;
            if (g < in_groups) {
                int p = 0;
                while (p + 1 < s->panels && fd_panel_start(s->C, s->panels, p + 1) <= g * 16) p++;
                const int64_t c0 = fd_panel_start(s->C, s->panels, p), width = fd_panel_start(s->C, s->panels, p + 1) - c0;
                for (int64_t t = r * RANGE; t < end; t++) {
                    fd_tile tile = fd_tile_of(&s->tiles, x, q0 + t, g * 16, 1 - c->attr.pad);
                    rows->wino_input(w->v + c0 * T + t * width + g * 16 - c0, s->v_fs, &tile);
                }
            } else {
                const int64_t k = (g - in_groups) * 16;
                float *sum = w->sum + ((q0 / RANGE + r) * out_groups + k / 16) * 16;
                for (int i = 0; i < 16; i++) sum[i] = 0;
                for (int64_t t = r * RANGE; t < end; t++) {
                    fd_tile tile = fd_tile_of(&s->tiles, dy, q0 + t, k0 + k, 0);
                    rows->wino_gradient(w->y + t * s->y_ld + k, s->y_fs, &tile, sum);
                }
            }
        }
}

static void products(const winograd_w *s, const work *w, int64_t T, int64_t outputs, bool first) {
    const fd_rows *rows = fd_cpu_rows();
#pragma omp for collapse(2) schedule(static)
    for (int f = 0; f < 36; f++)
        for (int64_t slice = 0; slice < s->slices; slice++) {
            const int64_t k0 = outputs * slice / s->slices, k1 = outputs * (slice + 1) / s->slices;
            for (int p = 0; p < s->panels; p++) {
                const int64_t c0 = fd_panel_start(s->C, s->panels, p), width = fd_panel_start(s->C, s->panels, p + 1) - c0;
                rows->gemm(k1 - k0, width, T, w->y + f * s->y_fs + k0, 1, s->y_ld, w->v + f * s->v_fs + c0 * T, width,
                           w->m + f * s->m_fs + k0 * s->C16 + c0, s->C16, !first);
            }
        }
}

static void finish(const winograd_w *s, const fd_call *c, const work *w, int64_t k0, int64_t k1) {
    const fd_rows *rows = fd_cpu_rows();
    float *dw = c->out[0].p, *db = c->out[1].p;
    const int64_t ranges = fd_ceil_div(s->tiles.count, RANGE), out_groups = fd_ceil_div(k1 - k0, 16);
#pragma omp for schedule(static)
    for (int64_t k = k0; k < k1; k++) {
        rows->wino_weights_gradient(dw + k * s->C * 9, w->m + (k - k0) * s->C16, s->m_fs, s->C);
        if (!db) continue;
        double sum = 0;
        for (int64_t r = 0; r < ranges; r++) sum += w->sum[(r * out_groups) * 16 + k - k0];
        db[k] += (float)sum;
    }
}

static fd_status run(fd_ctx *ctx, const fd_call *c) {
    (void)ctx;
    const winograd_w *s = c->state;
    char *at = c->work;
    const work w = {(float *)at, (float *)(at + s->y_at), (float *)(at + s->m_at), (float *)(at + s->sum_at)};
#pragma omp parallel num_threads(c->threads)
    for (int64_t k0 = 0; k0 < s->K; k0 += s->group) {
        const int64_t k1 = k0 + s->group < s->K ? k0 + s->group : s->K;
        for (int64_t q0 = 0; q0 < s->tiles.count; q0 += s->T) {
            const int64_t T = s->tiles.count - q0 < s->T ? s->tiles.count - q0 : s->T;
            transform(s, c, &w, q0, T, k0, k1);
            products(s, &w, T, k1 - k0, q0 == 0);
        }
        finish(s, c, &w, k0, k1);
    }
    return FD_OK;
}

fd_status fd_winograd_prepare_bwd_w(fd_ctx *ctx, fd_call *c) {
    const fd_shape x = c->in[1].s, y = c->in[0].s;
    winograd_w *s = fd_alloc(ctx, sizeof *s);
    if (!s) return FD_E_NOMEM;
    *s = (winograd_w){.head = {run, fd_free}, .C = x.c, .K = y.c, .C16 = fd_round_up(x.c, 16), .tiles = fd_tiling_of(y),
                      .panels = fd_panels(x.c)};
    const int64_t K16 = fd_round_up(s->K, 16), size = (int64_t)sizeof(float);
    const int64_t groups = fd_ceil_div(K16 * s->C16 * 36 * size, GROUP_BYTES);
    s->group = fd_round_up(fd_ceil_div(K16, groups), 16);
    s->y_ld = s->group + 16;       /* not a power of two: rows would share cache lines */
    const int64_t chunk = 36 * size * s->C16 * s->group <= SMALL_M ? SMALL_CHUNK_BYTES : CHUNK_BYTES;
    int64_t most = chunk / (36 * size * (s->C16 + s->y_ld));
    most = most < 2 * RANGE ? 2 * RANGE : most;
    s->T = fd_round_up(fd_ceil_div(s->tiles.count, fd_ceil_div(s->tiles.count, most)), RANGE);
    s->slices = fd_ceil_div(c->threads, 9);
    s->v_fs = s->T * s->C16 + 16;
    s->y_fs = s->T * s->y_ld + 16;
    s->m_fs = s->group * s->C16 + 16;
    s->y_at = (size_t)(36 * s->v_fs * size);
    s->m_at = s->y_at + (size_t)(36 * s->y_fs * size);
    s->sum_at = s->m_at + (size_t)(36 * s->m_fs * size);
    c->work_bytes = s->sum_at + (size_t)(fd_ceil_div(s->tiles.count, RANGE) * s->group * size);
    c->state = s;
    c->algo = "winograd 4x3";
    return FD_OK;
}
