/* group_norm, group_norm_bwd: statistics and result of a piece that fits the second-level cache, so that memory is
 * read once and written once.
 *
 * A piece ("unit") is the least number of channel blocks of one sample whose edges are edges of groups: one block of 16
 * for groups of 4, three for groups of 6. It is contiguous. Where values lie pixel by pixel, 64 channels take the place
 * of a block, so that what a thread reads and writes of a pixel are whole cache lines. A unit's panels are vectors whose
 * lanes are channels: `rows` vectors `step` elements apart. Where a block is narrower than a vector, several pixels share
 * one, and what is left at the end of a block (`tail` elements) is computed in a vector of its own. With z = x + e (ADD)
 * or x:
 *
 *   forward   y = act(a x + b)        a = rstd gamma scale, b = the rest
 *   backward  h = r x + q             (z - mu) rstd
 *             du = dy act'(a x + b)   sums over the pixels of h, du and du h are all that is needed of this pass
 *             dx = k du + r' x + q'
 */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/isa/rows.h"

enum { MAX_LANES = 16 };

typedef struct {
    const fd_rows *f;
    int64_t C, G, per, hw, block;
    bool last;                        /* channels last: a block is a whole pixel */
    int64_t unit, units;              /* channels of a unit, units of a sample */
    int64_t width;                    /* channels of a panel                   */
    int64_t rows, step, tail;
    fd_dtype dt;
} geometry;

static int64_t gcd(int64_t a, int64_t b) { return b ? gcd(b, a % b) : a; }

static geometry geometry_of(const fd_call *c, const fd_buf *x) {
    geometry s = {.f = fd_cpu_rows(), .C = x->s.c, .G = c->attr.groups, .hw = fd_pixels(x->s), .block = x->block, .dt = x->dt};
    int64_t lanes = s.f->lanes;
    s.per = s.C / s.G;
    s.last = s.block > MAX_LANES;
    const int64_t piece = !s.last ? s.block : s.C % 64 == 0 ? 64 : s.C % 32 == 0 ? 32 : 16;
    s.unit = piece / gcd(piece, s.per) * s.per;
    s.units = s.C / s.unit;
    s.width = s.block < lanes ? s.block : lanes;
    s.step = s.block < lanes ? lanes : s.block;
    s.rows = s.block < lanes ? s.hw * s.block / lanes : s.hw;
    s.tail = s.block < lanes ? s.hw * s.block % lanes : 0;
    return s;
}

/* Where the unit of sample n that begins with channel `first` lies, and in it the panel of channels ch.., in elements. */
static int64_t unit_at(const geometry *s, int64_t n, int64_t first) {
    return n * s->C * s->hw + (s->last ? first : first * s->hw);
}
static int64_t panel_at(const geometry *s, int64_t ch) {
    return s->last ? ch : ch / s->block * s->block * s->hw + ch % s->block;
}
static void *at(const void *p, int64_t i, fd_dtype dt) { return (char *)p + i * (int64_t)fd_dtype_bytes(dt); }

/* Coefficients of the channels ch.. as lanes. */
static const float *lanes_of(const geometry *s, const float *coefficient, int64_t ch, float out[MAX_LANES]) {
    if (s->width == s->f->lanes) return coefficient + ch;
    for (int l = 0; l < s->f->lanes; l++) out[l] = coefficient[ch + l % s->width];
    return out;
}

/* Scratch of one thread: rows of numbers, one per channel of a unit. */
enum { ROW_A, ROW_B, ROW_R, ROW_Q, ROW_K, ROW_R2, ROW_Q2, FLOAT_ROWS };
enum { ROW_MEAN, ROW_M2, ROW_H, ROW_DU, ROW_DUH, DOUBLE_ROWS };
static size_t row_bytes(const geometry *s) {
    size_t b = (size_t)s->unit * (FLOAT_ROWS * sizeof(float) + DOUBLE_ROWS * sizeof(double));
    return (b + 63) / 64 * 64;
}
typedef struct { double *d[DOUBLE_ROWS]; float *f[FLOAT_ROWS]; } scratch;
static scratch scratch_at(const geometry *s, char *work) {
    scratch t;
    for (int i = 0; i < DOUBLE_ROWS; i++) t.d[i] = (double *)work + i * s->unit;
    for (int i = 0; i < FLOAT_ROWS; i++) t.f[i] = (float *)(t.d[0] + DOUBLE_ROWS * s->unit) + i * s->unit;
    return t;
}

/* What channel c of sample n does to x on its way to u. */
typedef struct { double add, gamma, beta, scale, shift; } channel;

static channel channel_of(const fd_call *c, const fd_buf *gamma, const fd_buf *e, int64_t n, int64_t ch) {
    const fd_buf *beta = gamma + 1;
    const int64_t C = fd_count(gamma->s);
    channel k = {0, ((const float *)gamma->p)[ch], ((const float *)beta->p)[ch], 1, 0};
    if (c->attr.mode == FD_NORM_ADD) k.add = fd_get(e, n * C + ch);
    if (c->attr.mode == FD_NORM_SCALE_SHIFT) {
        k.scale = 1.0 + fd_get(e, n * 2 * C + ch);
        k.shift = fd_get(e, n * 2 * C + C + ch);
    }
    return k;
}

/* ---- forward ------------------------------------------------------------------------------------------------------ */

static fd_status prepare(fd_ctx *ctx, fd_call *c) {
    if (!fd_alike(&c->in[0], &c->out[0])) return FD_E_UNSUPPORTED;
    geometry s = geometry_of(c, &c->in[0]);
    c->work_bytes = row_bytes(&s) * (size_t)(c->threads > 0 ? c->threads : 1);
    return FD_OK;
}

/* Mean and squared deviations of numbers seen in two parts. */
static void merge(double *count, double *mean, double *m2, double n, double m, double v) {
    double total = *count + n, d = m - *mean;
    *mean += d * (n / total);
    *m2 += v + d * d * (*count * n / total);
    *count = total;
}

/* Mean and sum of squared deviations of every channel of the unit. */
static void channel_stats(const geometry *s, const void *x, double *mean, double *m2) {
    float m[MAX_LANES], v[MAX_LANES], rest[MAX_LANES];
    for (int64_t ch = 0; ch < s->unit; ch += s->width) {
        const void *panel = at(x, panel_at(s, ch), s->dt);
        if (s->rows) s->f->norm_stats(panel, s->dt, s->rows, s->step, m, v);
        if (s->tail) s->f->axpby(rest, FD_F32, at(panel, s->rows * s->step, s->dt), s->dt, 1, NULL, s->dt, 0, s->tail);
        for (int64_t k = 0; k < s->width; k++) {
            double count = 0;
            mean[ch + k] = m2[ch + k] = 0;
            for (int64_t l = k; s->rows && l < s->f->lanes; l += s->width)
                merge(&count, &mean[ch + k], &m2[ch + k], (double)s->rows, m[l], v[l]);
            for (int64_t l = k; l < s->tail; l += s->width) merge(&count, &mean[ch + k], &m2[ch + k], 1, rest[l], 0);
        }
    }
}

static void apply(const geometry *s, void *y, const void *x, const float *a, const float *b, int act) {
    float la[MAX_LANES], lb[MAX_LANES];
    for (int64_t ch = 0; ch < s->unit; ch += s->width) {
        int64_t from = panel_at(s, ch), rest = from + s->rows * s->step;
        const float *va = lanes_of(s, a, ch, la), *vb = lanes_of(s, b, ch, lb);
        s->f->norm_apply(at(y, from, s->dt), at(x, from, s->dt), s->dt, s->rows, s->step, va, vb, act);
        if (!s->tail) continue;
        float part[MAX_LANES] = {0};
        size_t bytes = (size_t)s->tail * fd_dtype_bytes(s->dt);
        memcpy(part, at(x, rest, s->dt), bytes);
        s->f->norm_apply(part, part, s->dt, 1, s->step, va, vb, act);
        memcpy(at(y, rest, s->dt), part, bytes);
    }
}

static void forward_unit(const fd_call *c, const geometry *s, int64_t n, int64_t first, const scratch *t) {
    const fd_buf *e = &c->in[3];
    const int64_t from = unit_at(s, n, first);
    const void *x = at(c->in[0].p, from, s->dt);
    double *mean = t->d[ROW_MEAN], *m2 = t->d[ROW_M2];
    channel_stats(s, x, mean, m2);
    for (int64_t g = 0; g < s->unit; g += s->per) {
        double mu = 0, var = 0;
        for (int64_t ch = g; ch < g + s->per; ch++) {
            if (c->attr.mode == FD_NORM_ADD) mean[ch] += fd_get(e, n * s->C + first + ch);
            mu += mean[ch];
        }
        mu /= (double)s->per;
        for (int64_t ch = g; ch < g + s->per; ch++)
            var += m2[ch] + (double)s->hw * (mean[ch] - mu) * (mean[ch] - mu);
        double rstd = 1.0 / sqrt(var / (double)(s->per * s->hw) + c->attr.eps);
        for (int64_t ch = g; ch < g + s->per; ch++) {
            channel k = channel_of(c, &c->in[1], e, n, first + ch);
            t->f[ROW_A][ch] = (float)(k.gamma * rstd * k.scale);
            t->f[ROW_B][ch] = (float)(((k.add - mu) * rstd * k.gamma + k.beta) * k.scale + k.shift);
        }
        int64_t stat = n * s->G + (first + g) / s->per;
        if (c->out[1].p) ((float *)c->out[1].p)[stat] = (float)mu;
        if (c->out[2].p) ((float *)c->out[2].p)[stat] = (float)rstd;
    }
    apply(s, at(c->out[0].p, from, s->dt), x, t->f[ROW_A], t->f[ROW_B], c->attr.act);
}

static fd_status run(fd_ctx *ctx, const fd_call *c) {
    const geometry s = geometry_of(c, &c->in[0]);
    const int64_t items = c->in[0].s.n * s.units;
#pragma omp parallel num_threads(fd_team(c, items, 4 * s.unit * s.hw))
    {
        scratch t = scratch_at(&s, (char *)c->work + row_bytes(&s) * (size_t)omp_get_thread_num());
#pragma omp for schedule(static)
        for (int64_t i = 0; i < items; i++) forward_unit(c, &s, i / s.units, i % s.units * s.unit, &t);
    }
    return FD_OK;
}

const fd_kernel fd_cpu_group_norm = {prepare, run, NULL};

/* ---- backward ----------------------------------------------------------------------------------------------------- */

/* du is kept in dx, unless dx is in bf16 or lies on x; then in a place of its own, panel by panel where channels are last. */
static bool du_in_dx(const fd_call *c) {
    return c->out[0].dt == FD_F32 && c->out[0].p != c->in[1].p;
}
static size_t du_bytes(const geometry *s) { return ((size_t)(s->unit * s->hw) * sizeof(float) + 63) / 64 * 64; }
/* Sums over the pixels of every sample, for dgamma and dbeta: added up over the samples in their order at the end. */
static size_t sums_bytes(const fd_call *c) {
    return ((size_t)(c->in[1].s.n * c->in[1].s.c) * 2 * sizeof(double) + 63) / 64 * 64;
}

static fd_status prepare_bwd(fd_ctx *ctx, fd_call *c) {
    if (!fd_alike(&c->in[0], &c->in[1])) return FD_E_UNSUPPORTED;
    if (fd_has(&c->out[0]) && !fd_alike(&c->in[1], &c->out[0])) return FD_E_UNSUPPORTED;
    geometry s = geometry_of(c, &c->in[1]);
    size_t each = row_bytes(&s) + (fd_has(&c->out[0]) ? du_bytes(&s) : 0);
    c->work_bytes = sums_bytes(c) + each * (size_t)(c->threads > 0 ? c->threads : 1);
    return FD_OK;
}

/* Adds the lanes of a panel to its channels. */
static void gather(const geometry *s, double *sum, int64_t ch, const float *lane, int64_t lanes) {
    for (int64_t l = 0; l < lanes; l++) sum[ch + l % s->width] += lane[l];
}

typedef struct { float *p; int64_t step; bool packed; } kept_du;
static float *du_at(const geometry *s, const kept_du *du, int64_t ch) {
    if (!du->p) return NULL;
    return du->p + (du->packed ? ch * s->hw : panel_at(s, ch));
}

static void sums(const geometry *s, const kept_du *du, const void *dy, const void *x, int act, const scratch *t) {
    float la[MAX_LANES], lb[MAX_LANES], lr[MAX_LANES], lq[MAX_LANES], h[MAX_LANES], d[MAX_LANES], dh[MAX_LANES];
    for (int i = ROW_H; i <= ROW_DUH; i++) memset(t->d[i], 0, (size_t)s->unit * sizeof(double));
    for (int64_t ch = 0; ch < s->unit; ch += s->width) {
        int64_t from = panel_at(s, ch), rest = from + s->rows * s->step;
        const float *a = lanes_of(s, t->f[ROW_A], ch, la), *b = lanes_of(s, t->f[ROW_B], ch, lb);
        const float *r = lanes_of(s, t->f[ROW_R], ch, lr), *q = lanes_of(s, t->f[ROW_Q], ch, lq);
        float *to = du_at(s, du, ch);
        s->f->norm_bwd_sums(to, du->step, at(dy, from, s->dt), at(x, from, s->dt), s->dt, s->rows, s->step, a, b,
                            r, q, act, h, d, dh);
        for (int part = 0; part < (s->tail ? 2 : 1); part++) {
            int64_t lanes = part ? s->tail : s->f->lanes;
            if (part) {
                float xs[MAX_LANES] = {0}, dys[MAX_LANES] = {0}, dus[MAX_LANES];
                memcpy(xs, at(x, rest, s->dt), (size_t)s->tail * fd_dtype_bytes(s->dt));
                memcpy(dys, at(dy, rest, s->dt), (size_t)s->tail * fd_dtype_bytes(s->dt));
                s->f->norm_bwd_sums(dus, 0, dys, xs, s->dt, 1, s->step, a, b, r, q, act, h, d, dh);
                if (to) memcpy(to + s->rows * s->step, dus, (size_t)s->tail * sizeof(float));
            }
            gather(s, t->d[ROW_H], ch, h, lanes);
            gather(s, t->d[ROW_DU], ch, d, lanes);
            gather(s, t->d[ROW_DUH], ch, dh, lanes);
        }
    }
}

static void apply_bwd(const geometry *s, void *dx, const kept_du *du, const void *x, const scratch *t) {
    float lk[MAX_LANES], lr[MAX_LANES], lq[MAX_LANES];
    for (int64_t ch = 0; ch < s->unit; ch += s->width) {
        int64_t from = panel_at(s, ch), rest = from + s->rows * s->step;
        const float *k = lanes_of(s, t->f[ROW_K], ch, lk), *r = lanes_of(s, t->f[ROW_R2], ch, lr);
        const float *q = lanes_of(s, t->f[ROW_Q2], ch, lq);
        const float *kept = du_at(s, du, ch);
        s->f->norm_bwd_apply(at(dx, from, s->dt), kept, du->step, at(x, from, s->dt), s->dt, s->rows, s->step, k, r, q);
        if (!s->tail) continue;
        float xs[MAX_LANES] = {0}, dus[MAX_LANES] = {0};
        size_t bytes = (size_t)s->tail * fd_dtype_bytes(s->dt);
        memcpy(xs, at(x, rest, s->dt), bytes);
        memcpy(dus, kept + s->rows * s->step, (size_t)s->tail * sizeof(float));
        s->f->norm_bwd_apply(xs, dus, 0, xs, s->dt, 1, s->step, k, r, q);
        memcpy(at(dx, rest, s->dt), xs, bytes);
    }
}

/* Gradients of what is per channel, and the coefficients of dx, from the sums of one group. */
static void finish_group(const fd_call *c, const geometry *s, int64_t n, int64_t first, int64_t g, const scratch *t, double *total) {
    const fd_buf *e = &c->in[4], *de = &c->out[3];
    const int64_t C = s->C, stat = n * s->G + (first + g) / s->per;
    const double mu = ((const float *)c->in[5].p)[stat], rstd = ((const float *)c->in[6].p)[stat];
    double s1 = 0, s2 = 0;
    for (int64_t ch = g; ch < g + s->per; ch++) {
        channel k = channel_of(c, &c->in[2], e, n, first + ch);
        double du = t->d[ROW_DU][ch], duh = t->d[ROW_DUH][ch];
        total[2 * ch] = k.scale * duh;
        total[2 * ch + 1] = k.scale * du;
        s1 += k.gamma * k.scale * du;
        s2 += k.gamma * k.scale * duh;
        if (de->p && c->attr.mode == FD_NORM_SCALE_SHIFT) {
            fd_put(de, n * 2 * C + first + ch, (float)(k.gamma * duh + k.beta * du));
            fd_put(de, n * 2 * C + C + first + ch, (float)du);
        }
    }
    s1 /= (double)(s->per * s->hw);
    s2 /= (double)(s->per * s->hw);
    for (int64_t ch = g; ch < g + s->per; ch++) {
        channel k = channel_of(c, &c->in[2], e, n, first + ch);
        t->f[ROW_K][ch] = (float)(rstd * k.gamma * k.scale);
        t->f[ROW_R2][ch] = (float)(-rstd * s2 * rstd);
        t->f[ROW_Q2][ch] = (float)(-rstd * (s1 + s2 * (k.add - mu) * rstd));
        if (de->p && c->attr.mode == FD_NORM_ADD)
            fd_put(de, n * C + first + ch, (float)(rstd * (k.gamma * k.scale * t->d[ROW_DU][ch] - (double)s->hw * s1 -
                                                           t->d[ROW_H][ch] * s2)));
    }
}

static void backward_unit(const fd_call *c, const geometry *s, int64_t n, int64_t first, const scratch *t, float *kept) {
    const int64_t from = unit_at(s, n, first);
    const void *dy = at(c->in[0].p, from, s->dt), *x = at(c->in[1].p, from, s->dt);
    void *dx = c->out[0].p ? at(c->out[0].p, from, s->dt) : NULL;
    const bool packed = s->last && !du_in_dx(c);
    const kept_du du = {!dx ? NULL : du_in_dx(c) ? dx : kept, packed ? s->f->lanes : s->step, packed};
    for (int64_t ch = 0; ch < s->unit; ch++) {
        channel k = channel_of(c, &c->in[2], &c->in[4], n, first + ch);
        int64_t stat = n * s->G + (first + ch) / s->per;
        double mu = ((const float *)c->in[5].p)[stat], rstd = ((const float *)c->in[6].p)[stat];
        t->f[ROW_R][ch] = (float)rstd;
        t->f[ROW_Q][ch] = (float)((k.add - mu) * rstd);
        t->f[ROW_A][ch] = (float)(k.gamma * rstd * k.scale);
        t->f[ROW_B][ch] = (float)(((k.add - mu) * rstd * k.gamma + k.beta) * k.scale + k.shift);
    }
    sums(s, &du, dy, x, c->attr.act, t);
    double *total = (double *)c->work + 2 * (n * s->C + first);
    for (int64_t g = 0; g < s->unit; g += s->per) finish_group(c, s, n, first, g, t, total);
    if (dx) apply_bwd(s, dx, &du, x, t);
}

static fd_status run_bwd(fd_ctx *ctx, const fd_call *c) {
    const geometry s = geometry_of(c, &c->in[1]);
    const int64_t N = c->in[1].s.n, items = N * s.units;
    const size_t each = row_bytes(&s) + (c->out[0].p ? du_bytes(&s) : 0);
#pragma omp parallel num_threads(fd_team(c, items, 8 * s.unit * s.hw))
    {
        char *mine = (char *)c->work + sums_bytes(c) + each * (size_t)omp_get_thread_num();
        scratch t = scratch_at(&s, mine);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < items; i++)
            backward_unit(c, &s, i / s.units, i % s.units * s.unit, &t, (float *)(mine + row_bytes(&s)));
    }
    const double *total = c->work;
    float *dgamma = c->out[1].p, *dbeta = c->out[2].p;
    for (int64_t ch = 0; ch < s.C; ch++) {
        double sum_dth = 0, sum_dt = 0;
        for (int64_t n = 0; n < N; n++) {
            sum_dth += total[2 * (n * s.C + ch)];
            sum_dt += total[2 * (n * s.C + ch) + 1];
        }
        if (dgamma) dgamma[ch] += (float)sum_dth;
        if (dbeta) dbeta[ch] += (float)sum_dt;
    }
    return FD_OK;
}

const fd_kernel fd_cpu_group_norm_bwd = {prepare_bwd, run_bwd, NULL};
