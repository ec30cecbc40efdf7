/* Between channel blocks and the plain matrices [pixel][channel] of the attention. */
#include "cpu/isa/parts.h"

#if defined(__clang__)
/* Clang has no shuffle with a variable mask. */
ALWAYS vf pick(vf a, vf b, vi from) {
    float in[2 * VL], out[VL];
    int32_t index[VL];
    vstore(in, a);
    vstore(in + VL, b);
    memcpy(index, &from, sizeof index);
    for (int l = 0; l < VL; l++) out[l] = in[index[l]];
    return vload(out);
}
#else
ALWAYS vf pick(vf a, vf b, vi from) { return __builtin_shuffle(a, b, from); }
#endif

/* Lane l of q, k, v (w = 0, 1, 2) is number 3l + w of three vectors; `first` picks it from the first two of them, `last`
 * from that and the third. */
ALWAYS void split_masks(vi first[3], vi last[3]) {
    int32_t a[VL], b[VL];
    for (int w = 0; w < 3; w++) {
        for (int l = 0; l < VL; l++) {
            int s = 3 * l + w;
            a[l] = s < 2 * VL ? s : 0;
            b[l] = s < 2 * VL ? l : VL + s - 2 * VL;
        }
        memcpy(&first[w], a, sizeof a);
        memcpy(&last[w], b, sizeof b);
    }
}
ALWAYS void split_rows(float *const to[3], const int64_t ld[3], const void *x, int bf, int64_t step, const int64_t at[3], int64_t n) {
    vi first[3], last[3];
    split_masks(first, last);
    for (int64_t i = 0; i < n; i++) {
        vf a = vget(x, at[0] + i * step, bf), b = vget(x, at[1] + i * step, bf), c = vget(x, at[2] + i * step, bf);
        for (int w = 0; w < 3; w++)
            if (to[w]) vstore(to[w] + i * ld[w], pick(pick(a, b, first[w]), c, last[w]));
    }
}
void FD_ISA(split3)(float *const to[3], const int64_t ld[3], const void *x, fd_dtype dt, int64_t step, const int64_t at[3], int64_t n) {
    if (dt == FD_BF16) split_rows(to, ld, x, 1, step, at, n);
    else split_rows(to, ld, x, 0, step, at, n);
}

/* Lane l of vector r is number s = r VL + l of the stream q0 k0 v0 q1 ... */
ALWAYS void join_masks(vi first[3], vi last[3]) {
    int32_t a[VL], b[VL];
    for (int r = 0; r < 3; r++) {
        for (int l = 0; l < VL; l++) {
            int s = r * VL + l;
            a[l] = (s % 3 == 1 ? VL : 0) + s / 3;
            b[l] = s % 3 == 2 ? VL + s / 3 : l;
        }
        memcpy(&first[r], a, sizeof a);
        memcpy(&last[r], b, sizeof b);
    }
}
ALWAYS void join_rows(void *y, int bf, int64_t step, const int64_t at[3], const float *const from[3], const int64_t ld[3], int64_t n) {
    vi first[3], last[3];
    join_masks(first, last);
    for (int64_t i = 0; i < n; i++) {
        vf q = vload(from[0] + i * ld[0]), k = vload(from[1] + i * ld[1]), v = vload(from[2] + i * ld[2]);
        for (int r = 0; r < 3; r++) vput(y, at[r] + i * step, bf, pick(pick(q, k, first[r]), v, last[r]));
    }
}
void FD_ISA(join3)(void *y, fd_dtype dt, int64_t step, const int64_t at[3], const float *const from[3], const int64_t ld[3], int64_t n) {
    if (dt == FD_BF16) join_rows(y, 1, step, at, from, ld, n);
    else join_rows(y, 0, step, at, from, ld, n);
}

ALWAYS void matrix(void *y, int yb, int64_t ystep, const void *x, int xb, int64_t xstep, const float *factor, int64_t rows,
                   int64_t n) {
    for (int64_t i = 0; i < rows; i++) {
        float f = factor ? factor[i] : 1.0f;
        int64_t k = 0;
        for (; k + VL <= n; k += VL) vput(y, i * ystep + k, yb, f * vget(x, i * xstep + k, xb));
        for (; k < n; k++) {
            float v = xb ? fd_bf16_to_f32(((const uint16_t *)x)[i * xstep + k]) : ((const float *)x)[i * xstep + k];
            if (yb) ((uint16_t *)y)[i * ystep + k] = fd_f32_to_bf16(f * v);
            else ((float *)y)[i * ystep + k] = f * v;
        }
    }
}
void FD_ISA(copy_rows)(void *y, fd_dtype yt, int64_t ystep, const void *x, fd_dtype xt, int64_t xstep, const float *factor,
                       int64_t rows, int64_t n) {
    switch ((yt == FD_BF16) * 2 + (xt == FD_BF16)) {
    case 0: matrix(y, 0, ystep, x, 0, xstep, factor, rows, n); return;
    case 1: matrix(y, 0, ystep, x, 1, xstep, factor, rows, n); return;
    case 2: matrix(y, 1, ystep, x, 0, xstep, factor, rows, n); return;
    default: matrix(y, 1, ystep, x, 1, xstep, factor, rows, n); return;
    }
}
