/* Winograd's F(4x4, 3x3): transforms of one tile for 16 channels, and the products in between.
 *
 *   Y = A' [ (G g G') . (B' d B) ] A      g 3x3 weights, d 6x6 inputs, Y 4x4 outputs, . element by element
 *
 * from interpolation at 0, +-a, +-b and infinity. With a = 11/16, b = 3/2 (found by trying; their squares are exact)
 * the error of a convolution is 2.5 times smaller than with the usual 1 and 2.
 */
#include "cpu/isa/columns.h"
#include "cpu/isa/parts.h"

#define PA 0.6875f
#define PB 1.5f
#define PA2 (PA * PA)
#define PB2 (PB * PB)

/* Rows 0..2 (part 0) or 3..5 (part 1) of B' d: half of a transform at a time keeps everything in registers. */
ALWAYS void in3(vf t[3], const vf d[6], int part) {
    if (part == 0) {
        vf e = d[4] - PB2 * d[2], o = d[3] - PB2 * d[1];
        t[0] = (d[4] - (PA2 + PB2) * d[2]) + PA2 * PB2 * d[0];
        t[1] = e + PA * o;
        t[2] = e - PA * o;
    } else {
        vf e = d[4] - PA2 * d[2], o = d[3] - PA2 * d[1];
        t[0] = e + PB * o;
        t[1] = e - PB * o;
        t[2] = (d[5] - (PA2 + PB2) * d[3]) + PA2 * PB2 * d[1];
    }
}

/* t = G g */
ALWAYS void weight6(vf t[6], const vf g[3]) {
    const float n0 = 1 / (PA2 * PB2), na = 1 / (2 * PA2 * (PA2 - PB2)), nb = 1 / (2 * PB2 * (PB2 - PA2));
    vf ea = (g[0] + PA2 * g[2]) * na, eb = (g[0] + PB2 * g[2]) * nb;
    t[0] = g[0] * n0;
    t[1] = ea + g[1] * (na * PA);
    t[2] = ea - g[1] * (na * PA);
    t[3] = eb + g[1] * (nb * PB);
    t[4] = eb - g[1] * (nb * PB);
    t[5] = g[2];
}

/* y = A' m */
ALWAYS void out4(vf y[4], const vf m[6]) {
    vf sa = m[1] + m[2], da = m[1] - m[2], sb = m[3] + m[4], db = m[3] - m[4];
    y[0] = (m[0] + sa) + sb;
    y[1] = PA * da + PB * db;
    y[2] = PA2 * sa + PB2 * sb;
    y[3] = (m[5] + PA2 * PA * da) + PB2 * PB * db;
}

/* t = A y, the transpose of out4 */
ALWAYS void grad6(vf t[6], const vf y[4]) {
    vf ea = y[0] + PA2 * y[2], oa = PA * y[1] + PA2 * PA * y[3], eb = y[0] + PB2 * y[2], ob = PB * y[1] + PB2 * PB * y[3];
    t[0] = y[0];
    t[1] = ea + oa;
    t[2] = ea - oa;
    t[3] = eb + ob;
    t[4] = eb - ob;
    t[5] = y[3];
}

/* g = G' m, the transpose of weight6 */
ALWAYS void weight3(vf g[3], const vf m[6]) {
    const float n0 = 1 / (PA2 * PB2), na = 1 / (2 * PA2 * (PA2 - PB2)), nb = 1 / (2 * PB2 * (PB2 - PA2));
    vf sa = (m[1] + m[2]) * na, da = (m[1] - m[2]) * (na * PA), sb = (m[3] + m[4]) * nb, db = (m[3] - m[4]) * (nb * PB);
    g[0] = m[0] * n0 + (sa + sb);
    g[1] = da + db;
    g[2] = m[5] + (PA2 * sa + PB2 * sb);
}

/* ---- 16 channels of a pixel -------------------------------------------------------------------------------------- */

/* How they lie: 16 in a row, two rows of 8 (the second may be missing), or each in a plane of its own. */
enum { ROW, HALVES, PLANES };

ALWAYS float number(const void *p, int64_t at, int bf16) {
    return bf16 ? fd_bf16_to_f32(((const uint16_t *)p)[at]) : ((const float *)p)[at];
}

#if VL == 16
typedef float v8 __attribute__((vector_size(32)));
typedef v8 v8_anywhere __attribute__((aligned(4), may_alias));
typedef uint32_t v8u __attribute__((vector_size(32)));
typedef uint16_t v8h __attribute__((vector_size(16)));
typedef v8h v8h_anywhere __attribute__((aligned(2), may_alias));

ALWAYS v8 get8(const void *p, int64_t at, int bf16) {
    if (!bf16) return *(const v8_anywhere *)((const float *)p + at);
    return (v8)(__builtin_convertvector(*(const v8h_anywhere *)((const uint16_t *)p + at), v8u) << 16);
}
#endif

/* Part `part` (VL of them) of the 16. */
ALWAYS vf pixel_get(const fd_tile *t, int64_t pixel, int bf16, int layout, int part) {
    const int64_t at = pixel * t->step;
    if (layout == PLANES) {
        float lane[VL] = {0};
        for (int i = 0; i < VL && part * VL + i < t->channels; i++)
            lane[i] = number(t->p, at + (part * VL + i) * t->plane, bf16);
        return vload(lane);
    }
    if (layout == ROW) return vget(t->p, at + part * VL, bf16);
#if VL == 16
    v8 high = {0};
    if (t->half) high = get8(t->p, at + t->half, bf16);
    return __builtin_shufflevector(get8(t->p, at, bf16), high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#else
    if (part * VL < 8) return vget(t->p, at + part * VL, bf16);
    return t->half ? vget(t->p, at + t->half + part * VL - 8, bf16) : (vf){0};
#endif
}

ALWAYS void pixel_put(const fd_tile *t, int64_t pixel, int bf16, int layout, int part, vf v) {
    const int64_t at = pixel * t->step;
    void *p = (void *)t->p;
    if (layout == PLANES) {
        float lane[VL];
        vstore(lane, v);
        for (int i = 0; i < VL && part * VL + i < t->channels; i++) {
            int64_t to = at + (part * VL + i) * t->plane;
            if (bf16) ((uint16_t *)p)[to] = fd_f32_to_bf16(lane[i]);
            else ((float *)p)[to] = lane[i];
        }
    } else if (layout == ROW) {
        vput(p, at + part * VL, bf16, v);
    } else {
#if VL == 16
        uint16_t half[16];
        if (bf16) vput(half, 0, 1, v);
        const size_t bytes = bf16 ? 16 : 32;
        const char *from = bf16 ? (const char *)half : (const char *)&v;
        memcpy((char *)p + at * (bf16 ? 2 : 4), from, bytes);
        if (t->half) memcpy((char *)p + (at + t->half) * (bf16 ? 2 : 4), from + bytes, bytes);
#else
        if (part * VL < 8) vput(p, at + part * VL, bf16, v);
        else if (t->half) vput(p, at + t->half + part * VL - 8, bf16, v);
#endif
    }
}

/* Calls one of the bodies below with constants it can be specialised for. */
#define FOR_LAYOUT(body, ...)                                                                   \
    do {                                                                                        \
        if (t->plane) body(__VA_ARGS__, t->dt == FD_BF16, PLANES);                              \
        else if (t->half != 8) body(__VA_ARGS__, t->dt == FD_BF16, HALVES);                     \
        else if (t->dt == FD_BF16) body(__VA_ARGS__, 1, ROW);                                   \
        else body(__VA_ARGS__, 0, ROW);                                                         \
    } while (0)

/* ---- tiles ------------------------------------------------------------------------------------------------------- */

/* The pixel at row y, column x of the picture, zero outside it. */
ALWAYS vf pixel_or_zero(const fd_tile *t, int y, int x, int inside, int bf16, int layout, int part) {
    if (!inside && (y < 0 || y >= t->h || x < 0 || x >= t->w)) return (vf){0};
    return pixel_get(t, (int64_t)y * t->w + x, bf16, layout, part);
}

ALWAYS void input(float *v, int64_t fs, const fd_tile *t, int inside, int bf16, int layout) {
    for (int part = 0; part < 16 / VL; part++)
        for (int half = 0; half < 2; half++) {
            vf mid[3][6];
#pragma GCC unroll 6
            for (int j = 0; j < 6; j++) {
                vf d[6], r[3];
#pragma GCC unroll 6
                for (int i = 0; i < 6; i++)
                    d[i] = pixel_or_zero(t, t->y - 1 + i, t->x - 1 + j, inside, bf16, layout, part);
                in3(r, d, half);
#pragma GCC unroll 3
                for (int i = 0; i < 3; i++) mid[i][j] = r[i];
            }
#pragma GCC unroll 3
            for (int i = 0; i < 3; i++) {
                vf r[6];
                in3(r, mid[i], 0);
                in3(r + 3, mid[i], 1);
#pragma GCC unroll 6
                for (int j = 0; j < 6; j++) vstore(v + (6 * (3 * half + i) + j) * fs + part * VL, r[j]);
            }
        }
}

void FD_ISA(wino_input)(float *v, int64_t fs, const fd_tile *t) {
    const int inside = t->y >= 1 && t->x >= 1 && t->y + 5 <= t->h && t->x + 5 <= t->w;
    if (inside) FOR_LAYOUT(input, v, fs, t, 1);
    else FOR_LAYOUT(input, v, fs, t, 0);
}

ALWAYS void output(const fd_tile *t, const float *m, int64_t fs, const float *bias, int relu, int inside, int bf16,
                   int layout) {
    const vf least = vset(relu ? 0 : -__builtin_inff());
    for (int part = 0; part < 16 / VL; part++) {
        vf mid[4][6], b = vload(bias + part * VL);
#pragma GCC unroll 6
        for (int j = 0; j < 6; j++) {
            vf d[6], r[4];
#pragma GCC unroll 6
            for (int i = 0; i < 6; i++) d[i] = vload(m + (6 * i + j) * fs + part * VL);
            out4(r, d);
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) mid[i][j] = r[i];
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            vf r[4];
            if (!inside && t->y + i >= t->h) break;
            out4(r, mid[i]);
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++)
                if (inside || t->x + j < t->w)
                    pixel_put(t, (int64_t)(t->y + i) * t->w + t->x + j, bf16, layout, part, vmax(least, r[j] + b));
        }
    }
}

void FD_ISA(wino_output)(const fd_tile *t, const float *m, int64_t fs, const float *bias, int relu) {
    if (t->y + 4 <= t->h && t->x + 4 <= t->w) FOR_LAYOUT(output, t, m, fs, bias, relu, 1);
    else FOR_LAYOUT(output, t, m, fs, bias, relu, 0);
}

ALWAYS void gradient(float *v, int64_t fs, const fd_tile *t, float *sum, int inside, int bf16, int layout) {
    for (int part = 0; part < 16 / VL; part++) {
        vf mid[6][4], total = vload(sum + part * VL);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            vf y[4], r[6];
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) y[i] = pixel_or_zero(t, t->y + i, t->x + j, inside, bf16, layout, part);
            total += (y[0] + y[1]) + (y[2] + y[3]);
            grad6(r, y);
#pragma GCC unroll 6
            for (int i = 0; i < 6; i++) mid[i][j] = r[i];
        }
        vstore(sum + part * VL, total);
#pragma GCC unroll 6
        for (int i = 0; i < 6; i++) {
            vf r[6];
            grad6(r, mid[i]);
#pragma GCC unroll 6
            for (int j = 0; j < 6; j++) vstore(v + (6 * i + j) * fs + part * VL, r[j]);
        }
    }
}

void FD_ISA(wino_gradient)(float *v, int64_t fs, const fd_tile *t, float *sum) {
    if (t->y + 4 <= t->h && t->x + 4 <= t->w) FOR_LAYOUT(gradient, v, fs, t, sum, 1);
    else FOR_LAYOUT(gradient, v, fs, t, sum, 0);
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

enum { INPUTS = 16 };        /* at a time: their filters for 16 outputs are 9 KiB */

void FD_ISA(wino_weights)(float *u, int64_t fs, int64_t ldu, const float *w, int64_t from_out, int64_t from_in, int outs, int64_t n,
                          int turned) {
    float t[INPUTS * 9 * 16] __attribute__((aligned(64)));
    for (int64_t i = 0; i < n; i += INPUTS) {
        const int64_t now = n - i < INPUTS ? n - i : INPUTS;
        if (from_in == 9) columns(t, w + i * 9, from_out, outs, now * 9);
        else
            for (int64_t q = 0; q < now; q++) columns(t + q * 9 * 16, w + (i + q) * from_in, from_out, outs, 9);
        for (int64_t q = 0; q < now; q++)
            for (int k = 0; k < 16; k += VL) {
                const float *g = t + (q * 9 + (turned ? 8 : 0)) * 16 + k;
                const int64_t ld = turned ? -16 : 16;
                vf mid[6][3];
                for (int j = 0; j < 3; j++) {
                    vf r[6];
                    weight6(r, (vf[]){vload(g + j * ld), vload(g + (3 + j) * ld), vload(g + (6 + j) * ld)});
                    for (int a = 0; a < 6; a++) mid[a][j] = r[a];
                }
                for (int a = 0; a < 6; a++) {
                    vf r[6];
                    weight6(r, mid[a]);
                    for (int j = 0; j < 6; j++) vstore(u + (6 * a + j) * fs + (i + q) * ldu + k, r[j]);
                }
            }
    }
}

void FD_ISA(wino_weights_gradient)(float *dw, const float *m, int64_t fs, int64_t n) {
    for (int64_t c = 0; c < n; c += VL) {
        vf mid[3][6];
        float lane[9][VL], turned[VL * 9];
        for (int j = 0; j < 6; j++) {
            vf d[6], r[3];
            for (int i = 0; i < 6; i++) d[i] = vload(m + (6 * i + j) * fs + c);
            weight3(r, d);
            for (int i = 0; i < 3; i++) mid[i][j] = r[i];
        }
        for (int i = 0; i < 3; i++) {
            vf r[3];
            weight3(r, mid[i]);
            for (int j = 0; j < 3; j++) vstore(lane[3 * i + j], r[j]);
        }
        for (int l = 0; l < VL; l++)
            for (int k = 0; k < 9; k++) turned[9 * l + k] = lane[k][l];
        const int64_t count = 9 * (n - c < VL ? n - c : VL);
        for (int64_t i = 0; i < count; i++) dw[9 * c + i] += turned[i];
    }
}
