/* attention, attention_bwd: a tile of queries at a time against all keys, per sample and head.
 *
 * Matrices of one head are gathered from the channel blocks into plain f32: [pixel][cp] with cp = c rounded up to whole
 * vectors (zeros behind), and "panels" for the right-hand sides of products: columns in strips of 64, each strip
 * [rows][64], the last one narrower, so that a product runs through one strip of consecutive memory.
 *
 *   forward   S = Q K'     P = softmax(S)    y = P V
 *   backward  S = Q K'     P = exp(S - lse)  dP = dY V'   dS = P (dP - rowsum(dy y)) / sqrt(c)
 *             dV += P' dY  dK += dS' Q       dQ = dS K
 *
 * A row is computed alike in whichever tile it lies; sums over queries go through the tiles in order. So the bits
 * depend neither on batch nor on threads.
 */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/isa/rows.h"

enum { STRIP = 64, TILE_FLOATS = 24576, MOST_ROWS = 96 };

typedef struct {
    const fd_rows *f;
    int64_t N, heads, c, hw, cp, hp;     /* cp, hp: channels and pixels rounded up to 16 */
    int64_t tile, tiles;                 /* queries of a tile, tiles                     */
    int64_t parts;                       /* forward: pieces a head is shared out in      */
    float scale;
} geometry;

static int64_t up16(int64_t n) { return fd_round_up(n, 16); }

static geometry geometry_of(const fd_call *c, const fd_buf *qkv) {
    geometry s = {.f = fd_cpu_rows(), .N = qkv->s.n, .heads = c->attr.heads, .hw = fd_pixels(qkv->s)};
    s.c = qkv->s.c / 3 / s.heads;
    s.cp = up16(s.c);
    s.hp = up16(s.hw);
    s.scale = (float)(1.0 / sqrt((double)s.c));
    s.tile = TILE_FLOATS / s.hp / 6 * 6;
    if (s.tile < 6) s.tile = 6;
    if (s.tile > MOST_ROWS) s.tile = MOST_ROWS;
    s.tiles = (s.hw + s.tile - 1) / s.tile;
    int64_t items = s.N * s.heads;
    s.parts = items >= c->threads ? 1 : fd_min64((c->threads + items - 1) / items, s.tiles);
    return s;
}

/* ---- panels ------------------------------------------------------------------------------------------------------- */

static int64_t strip_width(int64_t cols, int64_t j) { return fd_min64(STRIP, cols - j); }
/* Where strip j/64 of a matrix of so many rows begins. */
static int64_t strip_at(int64_t rows, int64_t j) { return j * rows; }

/* to = panels of the transpose of x [rows][ld]: cols rows, up16(rows) columns. */
static void transpose(float *to, const float *x, int64_t ld, int64_t rows, int64_t cols) {
    const int64_t wide = up16(rows);
    for (int64_t j = 0; j < wide; j += STRIP) {
        const int64_t w = strip_width(wide, j), n = fd_min64(w, rows - j);
        float *strip = to + strip_at(cols, j);
        for (int64_t d = 0; d < cols; d += 16)
            for (int64_t i = 0; i < w; i++)
                for (int64_t k = d; k < fd_min64(d + 16, cols); k++) strip[k * w + i] = i < n ? x[(j + i) * ld + k] : 0;
    }
}
/* to = panels of x [rows][ld], cols columns (a multiple of 16) */
static void to_panels(float *to, const float *x, int64_t ld, int64_t rows, int64_t cols) {
    for (int64_t j = 0; j < cols; j += STRIP) {
        const int64_t w = strip_width(cols, j);
        for (int64_t i = 0; i < rows; i++) memcpy(to + strip_at(rows, j) + i * w, x + i * ld + j, (size_t)w * sizeof(float));
    }
}
/* c [m][ldc] (+)= a b, b panels of k rows and n columns */
static void product(const geometry *s, int64_t m, int64_t n, int64_t k, const float *a, int64_t ra, int64_t ca,
                    const float *b, float *c, int64_t ldc, int accumulate) {
    for (int64_t j = 0; j < n; j += STRIP) {
        const int64_t w = strip_width(n, j);
        s->f->gemm(m, w, k, a, ra, ca, b + strip_at(k, j), w, c + j, ldc, accumulate);
    }
}

/* ---- gathering and spreading ------------------------------------------------------------------------------------- */

static void *at(const fd_buf *b, int64_t i) { return (char *)b->p + i * (int64_t)fd_dtype_bytes(b->dt); }

/* Three vectors of consecutive channels never cross a block. */
static bool whole_vectors(const geometry *s, const fd_buf *qkv) {
    return s->c % s->f->lanes == 0 && qkv->block % s->f->lanes == 0;
}

/* q, k, v [hw][cp] of one head; those that are NULL are left out. */
static void gather_qkv(const geometry *s, float *const to[3], const fd_buf *qkv, int64_t n, int64_t head) {
    const int64_t base = head * 3 * s->c, vl = s->f->lanes;
    const bool whole = whole_vectors(s, qkv);
    for (int64_t d = 0; d < s->cp; d += whole ? vl : 1) {
        if (whole && d < s->c) {
            int64_t from[3], ld[3] = {s->cp, s->cp, s->cp};
            float *dst[3];
            for (int w = 0; w < 3; w++) {
                from[w] = fd_at(qkv, n, base + 3 * d + w * vl, 0, 0);
                dst[w] = to[w] ? to[w] + d : NULL;
            }
            s->f->split3(dst, ld, qkv->p, qkv->dt, qkv->block, from, s->hw);
            continue;
        }
        for (int w = 0; w < 3; w++) {
            if (!to[w]) continue;
            for (int64_t k = d; k < d + (whole ? vl : 1); k++) {
                int64_t from = k < s->c ? fd_at(qkv, n, base + 3 * k + w, 0, 0) : 0;
                for (int64_t i = 0; i < s->hw; i++)
                    to[w][i * s->cp + k] = k < s->c ? fd_get(qkv, from + i * qkv->block) : 0;
            }
        }
    }
}
static void spread_qkv(const geometry *s, const fd_buf *qkv, int64_t n, int64_t head, const float *const from[3]) {
    const int64_t base = head * 3 * s->c, vl = s->f->lanes;
    if (whole_vectors(s, qkv)) {
        for (int64_t d = 0; d < s->c; d += vl) {
            int64_t to[3], ld[3] = {s->cp, s->cp, s->cp};
            const float *src[3] = {from[0] + d, from[1] + d, from[2] + d};
            for (int w = 0; w < 3; w++) to[w] = fd_at(qkv, n, base + 3 * d + w * vl, 0, 0);
            s->f->join3(qkv->p, qkv->dt, qkv->block, to, src, ld, s->hw);
        }
        return;
    }
    for (int64_t d = 0; d < s->c; d++)
        for (int w = 0; w < 3; w++) {
            int64_t to = fd_at(qkv, n, base + 3 * d + w, 0, 0);
            for (int64_t i = 0; i < s->hw; i++) fd_put(qkv, to + i * qkv->block, from[w][i * s->cp + d]);
        }
}
/* Channels of the head in y, run by run of one block: pixels [i0, i0 + rows). */
static void spread_y(const geometry *s, const fd_buf *y, int64_t n, int64_t head, int64_t i0, int64_t rows, const float *x,
                     const float *factor) {
    for (int64_t d = 0; d < s->c;) {
        int64_t ch = head * s->c + d, run = fd_min64(y->block - ch % y->block, s->c - d);
        s->f->copy_rows(at(y, fd_at(y, n, ch, 0, 0) + i0 * y->block), y->dt, y->block, x + d, FD_F32, s->cp, factor, rows, run);
        d += run;
    }
}
static void gather_y(const geometry *s, float *to, const fd_buf *y, int64_t n, int64_t head, int64_t i0, int64_t rows) {
    for (int64_t d = 0; d < s->c;) {
        int64_t ch = head * s->c + d, run = fd_min64(y->block - ch % y->block, s->c - d);
        s->f->copy_rows(to + d, FD_F32, s->cp, at(y, fd_at(y, n, ch, 0, 0) + i0 * y->block), y->dt, y->block, NULL, rows, run);
        d += run;
    }
    for (int64_t i = 0; s->cp > s->c && i < rows; i++)
        memset(to + i * s->cp + s->c, 0, (size_t)(s->cp - s->c) * sizeof(float));
}

/* Pieces of a thread's workspace. */
static float *take(float **work, int64_t count) {
    float *p = *work;
    *work += up16(count);
    return p;
}

/* ---- forward ------------------------------------------------------------------------------------------------------ */

static int64_t forward_floats(const geometry *s) {
    return 4 * s->hp * s->cp + s->tile * (s->hp + s->cp) + up16(s->tile) + 64;
}

static fd_status prepare(fd_ctx *ctx, fd_call *c) {
    geometry s = geometry_of(c, &c->in[0]);
    c->work_bytes = (size_t)(forward_floats(&s) * (c->threads > 0 ? c->threads : 1)) * sizeof(float);
    return FD_OK;
}

static void forward_part(const fd_call *c, const geometry *s, int64_t n, int64_t head, int64_t part, float *work) {
    const int64_t size = s->hp * s->cp;
    float *q = take(&work, size), *v = take(&work, size), *kt = take(&work, size), *vp = take(&work, size);
    float *k = vp;      /* k is transposed before v needs its panels */
    float *logits = take(&work, s->tile * s->hp), *y = take(&work, s->tile * s->cp), *inverse = take(&work, s->tile);
    gather_qkv(s, (float *[]){q, k, v}, &c->in[0], n, head);
    transpose(kt, k, s->cp, s->hw, s->c);
    to_panels(vp, v, s->cp, s->hw, s->cp);
    float *lse = (float *)c->out[1].p + (n * s->heads + head) * s->hw;
    for (int64_t t = part * s->tiles / s->parts; t < (part + 1) * s->tiles / s->parts; t++) {
        const int64_t i0 = t * s->tile, m = fd_min64(s->tile, s->hw - i0);
        product(s, m, s->hp, s->c, q + i0 * s->cp, s->cp, 1, kt, logits, s->hp, 0);
        for (int64_t i = 0; i < m; i++) {
            float sum, l = s->f->softmax(logits + i * s->hp, s->hw, s->scale, &sum);
            inverse[i] = 1.0f / sum;
            if (c->out[1].p) lse[i0 + i] = l;
        }
        product(s, m, s->cp, s->hw, logits, s->hp, 1, vp, y, s->cp, 0);
        spread_y(s, &c->out[0], n, head, i0, m, y, inverse);
    }
}

static fd_status run(fd_ctx *ctx, const fd_call *c) {
    const geometry s = geometry_of(c, &c->in[0]);
    const int64_t items = s.N * s.heads * s.parts;
#pragma omp parallel num_threads(fd_team(c, items, s.hw * s.hw * s.c))
    {
        float *mine = (float *)c->work + forward_floats(&s) * omp_get_thread_num();
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < items; i++) {
            int64_t item = i / s.parts;
            forward_part(c, &s, item / s.heads, item % s.heads, i % s.parts, mine);
        }
    }
    return FD_OK;
}

const fd_kernel fd_cpu_attention = {prepare, run, NULL};

/* ---- backward ----------------------------------------------------------------------------------------------------- */

static int64_t backward_floats(const geometry *s) {
    return 10 * s->hp * s->cp + 2 * s->tile * s->hp + 3 * s->tile * s->cp + 64;
}

static fd_status prepare_bwd(fd_ctx *ctx, fd_call *c) {
    geometry s = geometry_of(c, &c->in[1]);
    c->work_bytes = (size_t)(backward_floats(&s) * (c->threads > 0 ? c->threads : 1)) * sizeof(float);
    return FD_OK;
}

static void backward_head(const fd_call *c, const geometry *s, int64_t n, int64_t head, float *work) {
    const int64_t size = s->hp * s->cp;
    float *q = take(&work, size), *k = take(&work, size), *v = take(&work, size), *dy = take(&work, size);
    float *kp = take(&work, size), *kt = take(&work, size), *vt = take(&work, size);
    float *dq = take(&work, size), *dk = take(&work, size), *dv = take(&work, size);
    float *p = take(&work, s->tile * s->hp), *ds = take(&work, s->tile * s->hp);
    float *y = take(&work, s->tile * s->cp), *qp = take(&work, s->tile * s->cp), *dyp = take(&work, s->tile * s->cp);
    gather_qkv(s, (float *[]){q, k, v}, &c->in[1], n, head);
    gather_y(s, dy, &c->in[0], n, head, 0, s->hw);
    to_panels(kp, k, s->cp, s->hw, s->cp);
    transpose(kt, k, s->cp, s->hw, s->c);
    transpose(vt, v, s->cp, s->hw, s->c);
    const float *lse = (const float *)c->in[3].p + (n * s->heads + head) * s->hw;
    for (int64_t i0 = 0; i0 < s->hw; i0 += s->tile) {
        const int64_t m = fd_min64(s->tile, s->hw - i0);
        const float *qt = q + i0 * s->cp, *dyt = dy + i0 * s->cp;
        gather_y(s, y, &c->in[2], n, head, i0, m);
        to_panels(qp, qt, s->cp, m, s->cp);
        to_panels(dyp, dyt, s->cp, m, s->cp);
        product(s, m, s->hp, s->c, qt, s->cp, 1, kt, p, s->hp, 0);
        product(s, m, s->hp, s->c, dyt, s->cp, 1, vt, ds, s->hp, 0);
        for (int64_t i = 0; i < m; i++) {
            float d = s->f->dot(dyt + i * s->cp, y + i * s->cp, s->cp);
            s->f->exp_minus(p + i * s->hp, s->hw, s->scale, lse[i0 + i]);
            s->f->softmax_bwd(ds + i * s->hp, p + i * s->hp, d, s->scale, s->hw);
        }
        product(s, s->hw, s->cp, m, p, 1, s->hp, dyp, dv, s->cp, i0 > 0);
        product(s, s->hw, s->cp, m, ds, 1, s->hp, qp, dk, s->cp, i0 > 0);
        product(s, m, s->cp, s->hw, ds, s->hp, 1, kp, dq + i0 * s->cp, s->cp, 0);
    }
    spread_qkv(s, &c->out[0], n, head, (const float *[]){dq, dk, dv});
}

static fd_status run_bwd(fd_ctx *ctx, const fd_call *c) {
    const geometry s = geometry_of(c, &c->in[1]);
    const int64_t items = s.N * s.heads;
#pragma omp parallel num_threads(fd_team(c, items, s.hw * s.hw * s.c))
    {
        float *mine = (float *)c->work + backward_floats(&s) * omp_get_thread_num();
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < items; i++) backward_head(c, &s, i / s.heads, i % s.heads, mine);
    }
    return FD_OK;
}

const fd_kernel fd_cpu_attention_bwd = {prepare_bwd, run_bwd, NULL};
