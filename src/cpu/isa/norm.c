/* Panels of the group norm: see group_norm.c for what is computed. */
#include "cpu/isa/parts.h"

/* Sums of x - s and of its square over a chunk of rows, s being the mean so far (of the first rows, at first), so that
 * nothing cancels however large the mean is. Chunks are merged as by Chan, Golub, LeVeque 1979. */
#define CHUNK 64

ALWAYS vf first_rows(const void *x, int bf, int64_t n, int64_t step) {
    if (n < 4) return vget(x, 0, bf);
    return ((vget(x, 0, bf) + vget(x, step, bf)) + (vget(x, 2 * step, bf) + vget(x, 3 * step, bf))) * 0.25f;
}
ALWAYS void stats_panel(const void *x, int bf, int64_t n, int64_t step, float *mean, float *m2) {
    vf m = first_rows(x, bf, n, step), s = {0};
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t rows = n - at < CHUNK ? n - at : CHUNK, i = 0;
        vf a0 = {0}, a1 = {0}, b0 = {0}, b1 = {0};
        for (; i + 2 <= rows; i += 2) {
            vf d0 = vget(x, (at + i) * step, bf) - m, d1 = vget(x, (at + i + 1) * step, bf) - m;
            a0 += d0;
            a1 += d1;
            b0 += d0 * d0;
            b1 += d1 * d1;
        }
        if (i < rows) {
            vf d = vget(x, (at + i) * step, bf) - m;
            a0 += d;
            b0 += d * d;
        }
        float now = (float)rows, before = (float)at, total = before + now;
        vf d = (a0 + a1) * (1.0f / now);                 /* mean of the chunk, less m */
        s += ((b0 + b1) - d * d * now) + d * d * (before * now / total);
        m += d * (now / total);
    }
    vstore(mean, m);
    vstore(m2, vmax(vset(0), s));
}
void FD_ISA(norm_stats)(const void *x, fd_dtype dt, int64_t n, int64_t step, float *mean, float *m2) {
    if (dt == FD_BF16) stats_panel(x, 1, n, step, mean, m2);
    else stats_panel(x, 0, n, step, mean, m2);
}

ALWAYS void apply_each(void *y, const void *x, int bf, int64_t at, int64_t step, vf a, vf b, int act, int n) {
    vf u[MANY], s[MANY];
    EACH(j, n) s[j] = u[j] = a * vget(x, at + j * step, bf) + b;
    if (act) vsigmoid_each(s, n);
    EACH(j, n) vput(y, at + j * step, bf, act ? u[j] * s[j] : u[j]);
}
ALWAYS void apply_panel(void *y, const void *x, int bf, int64_t n, int64_t step, const float *a, const float *b, int act) {
    vf va = vload(a), vb = vload(b);
    int64_t i = 0;
    for (; i + MANY <= n; i += MANY) apply_each(y, x, bf, i * step, step, va, vb, act, MANY);
    for (; i < n; i++) apply_each(y, x, bf, i * step, step, va, vb, act, 1);
}
void FD_ISA(norm_apply)(void *y, const void *x, fd_dtype dt, int64_t n, int64_t step, const float *a, const float *b, int act) {
    switch ((dt == FD_BF16) * 2 + (act != 0)) {
    case 0: apply_panel(y, x, 0, n, step, a, b, 0); return;
    case 1: apply_panel(y, x, 0, n, step, a, b, 1); return;
    case 2: apply_panel(y, x, 1, n, step, a, b, 0); return;
    default: apply_panel(y, x, 1, n, step, a, b, 1); return;
    }
}

typedef struct { vf a, b, r, q, h, d, dh; } sums;

ALWAYS void bwd_sums_each(sums *t, float *du, int64_t ds, const void *dy, const void *x, int bf, int64_t i, int64_t step, int act,
                          int n) {
    const int64_t at = i * step;
    vf v[MANY], u[MANY], s[MANY], g[MANY];
    EACH(j, n) v[j] = vget(x, at + j * step, bf);
    EACH(j, n) s[j] = u[j] = t->a * v[j] + t->b;
    if (act) vsigmoid_each(s, n);
    EACH(j, n) g[j] = vget(dy, at + j * step, bf);
    if (act) EACH(j, n) g[j] *= s[j] * (1.0f + u[j] * (1.0f - s[j]));
    if (du) EACH(j, n) vstore(du + (i + j) * ds, g[j]);
    EACH(j, n) {
        vf hat = t->r * v[j] + t->q;
        t->h += hat;
        t->d += g[j];
        t->dh += g[j] * hat;
    }
}
ALWAYS void bwd_sums_panel(float *du, int64_t ds, const void *dy, const void *x, int bf, int64_t n, int64_t step, const float *a,
                           const float *b, const float *r, const float *q, int act, float *s_h, float *s_du, float *s_duh) {
    sums t = {.a = vload(a), .b = vload(b), .r = vload(r), .q = vload(q)};
    vf h = {0}, d = {0}, dh = {0};
    for (int64_t at = 0; at < n; at += CHUNK) {          /* short sums first: less rounding */
        int64_t end = at + CHUNK < n ? at + CHUNK : n, i = at;
        t.h = t.d = t.dh = vset(0);
        for (; i + MANY <= end; i += MANY) bwd_sums_each(&t, du, ds, dy, x, bf, i, step, act, MANY);
        for (; i < end; i++) bwd_sums_each(&t, du, ds, dy, x, bf, i, step, act, 1);
        h += t.h;
        d += t.d;
        dh += t.dh;
    }
    vstore(s_h, h);
    vstore(s_du, d);
    vstore(s_duh, dh);
}
void FD_ISA(norm_bwd_sums)(float *du, int64_t ds, const void *dy, const void *x, fd_dtype dt, int64_t n, int64_t step, const float *a,
                           const float *b, const float *r, const float *q, int act, float *s_h, float *s_du, float *s_duh) {
    switch ((du != NULL) * 4 + (dt == FD_BF16) * 2 + (act != 0)) {
    case 0: bwd_sums_panel(NULL, 0, dy, x, 0, n, step, a, b, r, q, 0, s_h, s_du, s_duh); return;
    case 1: bwd_sums_panel(NULL, 0, dy, x, 0, n, step, a, b, r, q, 1, s_h, s_du, s_duh); return;
    case 2: bwd_sums_panel(NULL, 0, dy, x, 1, n, step, a, b, r, q, 0, s_h, s_du, s_duh); return;
    case 3: bwd_sums_panel(NULL, 0, dy, x, 1, n, step, a, b, r, q, 1, s_h, s_du, s_duh); return;
    case 4: bwd_sums_panel(du, ds, dy, x, 0, n, step, a, b, r, q, 0, s_h, s_du, s_duh); return;
    case 5: bwd_sums_panel(du, ds, dy, x, 0, n, step, a, b, r, q, 1, s_h, s_du, s_duh); return;
    case 6: bwd_sums_panel(du, ds, dy, x, 1, n, step, a, b, r, q, 0, s_h, s_du, s_duh); return;
    default: bwd_sums_panel(du, ds, dy, x, 1, n, step, a, b, r, q, 1, s_h, s_du, s_duh); return;
    }
}

ALWAYS void bwd_apply_panel(void *dx, const float *du, int64_t ds, const void *x, int bf, int64_t n, int64_t step, const float *k,
                            const float *r, const float *q) {
    vf vk = vload(k), vr = vload(r), vq = vload(q);
    for (int64_t i = 0; i < n; i++)
        vput(dx, i * step, bf, vk * vload(du + i * ds) + (vr * vget(x, i * step, bf) + vq));
}
void FD_ISA(norm_bwd_apply)(void *dx, const float *du, int64_t ds, const void *x, fd_dtype dt, int64_t n, int64_t step, const float *k,
                            const float *r, const float *q) {
    if (dt == FD_BF16) bwd_apply_panel(dx, du, ds, x, 1, n, step, k, r, q);
    else bwd_apply_panel(dx, du, ds, x, 0, n, step, k, r, q);
}
