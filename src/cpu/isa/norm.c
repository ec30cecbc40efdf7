/* Panels of the group norm: see group_norm.c for what is computed. */
#include "cpu/isa/parts.h"

/* Chunks of rows that stay in the first-level cache: the mean of a chunk, then the deviations from it, then both are
 * merged with what came before (Chan, Golub, LeVeque 1979). No cancellation however large the mean is. */
#define CHUNK 64

ALWAYS void stats_panel(const void *x, int bf, int64_t n, int64_t step, float *mean, float *m2) {
    vf m = {0}, s = {0};
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t rows = n - at < CHUNK ? n - at : CHUNK, i = 0;
        vf a0 = {0}, a1 = {0}, a2 = {0}, a3 = {0};
        for (; i + 4 <= rows; i += 4) {
            a0 += vget(x, (at + i) * step, bf);
            a1 += vget(x, (at + i + 1) * step, bf);
            a2 += vget(x, (at + i + 2) * step, bf);
            a3 += vget(x, (at + i + 3) * step, bf);
        }
        for (; i < rows; i++) a0 += vget(x, (at + i) * step, bf);
        vf cm = ((a0 + a1) + (a2 + a3)) * (1.0f / (float)rows);
        a0 = a1 = a2 = a3 = vset(0);
        for (i = 0; i + 4 <= rows; i += 4) {
            vf d0 = vget(x, (at + i) * step, bf) - cm, d1 = vget(x, (at + i + 1) * step, bf) - cm;
            vf d2 = vget(x, (at + i + 2) * step, bf) - cm, d3 = vget(x, (at + i + 3) * step, bf) - cm;
            a0 += d0 * d0;
            a1 += d1 * d1;
            a2 += d2 * d2;
            a3 += d3 * d3;
        }
        for (; i < rows; i++) {
            vf d = vget(x, (at + i) * step, bf) - cm;
            a0 += d * d;
        }
        vf d = cm - m;
        float total = (float)(at + rows), before = (float)at, now = (float)rows;
        s += ((a0 + a1) + (a2 + a3)) + d * d * (before * now / total);
        m += d * (now / total);
    }
    vstore(mean, m);
    vstore(m2, s);
}
void FD_ISA(norm_stats)(const void *x, fd_dtype dt, int64_t n, int64_t step, float *mean, float *m2) {
    if (dt == FD_BF16) stats_panel(x, 1, n, step, mean, m2);
    else stats_panel(x, 0, n, step, mean, m2);
}

ALWAYS void apply_panel(void *y, const void *x, int bf, int64_t n, int64_t step, const float *a, const float *b, int act) {
    vf va = vload(a), vb = vload(b);
    for (int64_t i = 0; i < n; i++) {
        vf u = va * vget(x, i * step, bf) + vb;
        vput(y, i * step, bf, act ? u * vsigmoid(u) : u);
    }
}
void FD_ISA(norm_apply)(void *y, const void *x, fd_dtype dt, int64_t n, int64_t step, const float *a, const float *b, int act) {
    switch ((dt == FD_BF16) * 2 + (act != 0)) {
    case 0: apply_panel(y, x, 0, n, step, a, b, 0); return;
    case 1: apply_panel(y, x, 0, n, step, a, b, 1); return;
    case 2: apply_panel(y, x, 1, n, step, a, b, 0); return;
    default: apply_panel(y, x, 1, n, step, a, b, 1); return;
    }
}

ALWAYS void bwd_sums_panel(float *du, const void *dy, const void *x, int bf, int64_t n, int64_t step, const float *a,
                           const float *b, const float *r, const float *q, int act, float *s_h, float *s_du, float *s_duh) {
    vf va = vload(a), vb = vload(b), vr = vload(r), vq = vload(q), h = {0}, d = {0}, dh = {0};
    for (int64_t at = 0; at < n; at += CHUNK) {          /* short sums first: less rounding */
        int64_t end = at + CHUNK < n ? at + CHUNK : n;
        vf h1 = {0}, d1 = {0}, dh1 = {0};
        for (int64_t i = at; i < end; i++) {
            vf v = vget(x, i * step, bf), g = vget(dy, i * step, bf), hat = vr * v + vq;
            if (act) {
                vf u = va * v + vb, sig = vsigmoid(u);
                g *= sig * (1.0f + u * (1.0f - sig));
            }
            if (du) vstore(du + i * step, g);
            h1 += hat;
            d1 += g;
            dh1 += g * hat;
        }
        h += h1;
        d += d1;
        dh += dh1;
    }
    vstore(s_h, h);
    vstore(s_du, d);
    vstore(s_duh, dh);
}
void FD_ISA(norm_bwd_sums)(float *du, const void *dy, const void *x, fd_dtype dt, int64_t n, int64_t step, const float *a,
                           const float *b, const float *r, const float *q, int act, float *s_h, float *s_du, float *s_duh) {
    switch ((du != NULL) * 4 + (dt == FD_BF16) * 2 + (act != 0)) {
    case 0: bwd_sums_panel(NULL, dy, x, 0, n, step, a, b, r, q, 0, s_h, s_du, s_duh); return;
    case 1: bwd_sums_panel(NULL, dy, x, 0, n, step, a, b, r, q, 1, s_h, s_du, s_duh); return;
    case 2: bwd_sums_panel(NULL, dy, x, 1, n, step, a, b, r, q, 0, s_h, s_du, s_duh); return;
    case 3: bwd_sums_panel(NULL, dy, x, 1, n, step, a, b, r, q, 1, s_h, s_du, s_duh); return;
    case 4: bwd_sums_panel(du, dy, x, 0, n, step, a, b, r, q, 0, s_h, s_du, s_duh); return;
    case 5: bwd_sums_panel(du, dy, x, 0, n, step, a, b, r, q, 1, s_h, s_du, s_duh); return;
    case 6: bwd_sums_panel(du, dy, x, 1, n, step, a, b, r, q, 0, s_h, s_du, s_duh); return;
    default: bwd_sums_panel(du, dy, x, 1, n, step, a, b, r, q, 1, s_h, s_du, s_duh); return;
    }
}

ALWAYS void bwd_apply_panel(void *dx, const float *du, const void *x, int bf, int64_t n, int64_t step, const float *k,
                            const float *r, const float *q) {
    vf vk = vload(k), vr = vload(r), vq = vload(q);
    for (int64_t i = 0; i < n; i++)
        vput(dx, i * step, bf, vk * vload(du + i * step) + (vr * vget(x, i * step, bf) + vq));
}
void FD_ISA(norm_bwd_apply)(void *dx, const float *du, const void *x, fd_dtype dt, int64_t n, int64_t step, const float *k,
                            const float *r, const float *q) {
    if (dt == FD_BF16) bwd_apply_panel(dx, du, x, 1, n, step, k, r, q);
    else bwd_apply_panel(dx, du, x, 0, n, step, k, r, q);
}
