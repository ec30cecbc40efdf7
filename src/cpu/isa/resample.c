/* The two passes of the separable filter of factor two: see src/op/resample.c for the sums. */
#include "cpu/isa/parts.h"

ALWAYS void rows_pass(float *t, const void *x, int bf, int taps, const int64_t *at, const float *f, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf s = {0};
        for (int k = 0; k < taps; k++) s += f[k] * vget(x, at[k] + i, bf);
        vstore(t + i, s);
    }
    for (; i < n; i++) {
        float s = 0;
        for (int k = 0; k < taps; k++)
            s += f[k] * (bf ? fd_bf16_to_f32(((const uint16_t *)x)[at[k] + i]) : ((const float *)x)[at[k] + i]);
        t[i] = s;
    }
}
void FD_ISA(resample_rows)(float *t, const void *x, fd_dtype dt, int taps, const int64_t *at, const float *f, int64_t n) {
    const int bf = dt == FD_BF16;
    switch (taps) {
    case 0: memset(t, 0, (size_t)n * sizeof *t); return;
    case 1: bf ? rows_pass(t, x, 1, 1, at, f, n) : rows_pass(t, x, 0, 1, at, f, n); return;
    case 2: bf ? rows_pass(t, x, 1, 2, at, f, n) : rows_pass(t, x, 0, 2, at, f, n); return;
    case 3: bf ? rows_pass(t, x, 1, 3, at, f, n) : rows_pass(t, x, 0, 3, at, f, n); return;
    default: bf ? rows_pass(t, x, 1, 4, at, f, n) : rows_pass(t, x, 0, 4, at, f, n); return;
    }
}

/* One pixel of `block` channels: sum of f[k] times the pixel k*step pixels after t. A vector longer than the block reads
 * into the next pixels and stores its first half. */
ALWAYS void pixel(void *y, int bf, const float *t, int64_t step, int taps, const float *f, int block) {
    if (block == 1) {
        float s = 0;
        for (int k = 0; k < taps; k++) s += f[k] * t[k * step];
        if (bf) *(uint16_t *)y = fd_f32_to_bf16(s);
        else *(float *)y = s;
        return;
    }
    for (int l = 0; l < block; l += VL) {
        vf s = {0};
        for (int k = 0; k < taps; k++) s += f[k] * vload(t + k * step * block + l);
        if (block >= VL) {
            vput(y, l, bf, s);
        } else if (bf) {
            vh half = narrow(s);
            memcpy(y, &half, (size_t)block * 2);
        } else {
            memcpy(y, &s, (size_t)block * 4);
        }
    }
}

/* down: y[j] = sum_k f[k] t[2j + k - pad]. up: y[q] = sum over the k of the parity of q + pad of f[k] t[(q + pad - k)/2]. */
ALWAYS void cols_pass(void *y, int bf, const float *t, int64_t n, int up, int taps, int pad, const float *f, int block) {
    const int64_t size = (bf ? 2 : 4) * block;
    if (!up) {
        for (int64_t j = 0; j < n; j++) pixel((char *)y + j * size, bf, t + (2 * j - pad) * block, 1, taps, f, block);
        return;
    }
    float phase[2][2] = {{f[0], taps == 4 ? f[2] : 0}, {f[1], taps == 4 ? f[3] : 0}};
    for (int64_t q = 0; q < n; q++) {
        int odd = (int)(q + pad) & 1;
        const float *from = t + (q + pad - odd) / 2 * block;
        if (taps == 4) pixel((char *)y + q * size, bf, from, -1, 2, phase[odd], block);
        else pixel((char *)y + q * size, bf, from, 1, 1, phase[odd], block);
    }
}
ALWAYS void cols_block(void *y, int bf, const float *t, int64_t n, int up, int taps, int pad, const float *f, int block) {
    switch (up * 2 + (taps == 4)) {
    case 0: cols_pass(y, bf, t, n, 0, 2, pad, f, block); return;
    case 1: cols_pass(y, bf, t, n, 0, 4, pad, f, block); return;
    case 2: cols_pass(y, bf, t, n, 1, 2, pad, f, block); return;
    default: cols_pass(y, bf, t, n, 1, 4, pad, f, block); return;
    }
}
void FD_ISA(resample_cols)(void *y, fd_dtype dt, const float *t, int64_t n, int up, int taps, int pad, const float *f, int block) {
    const int bf = dt == FD_BF16;
    switch (block) {
    case 1: bf ? cols_block(y, 1, t, n, up, taps, pad, f, 1) : cols_block(y, 0, t, n, up, taps, pad, f, 1); return;
    case 8: bf ? cols_block(y, 1, t, n, up, taps, pad, f, 8) : cols_block(y, 0, t, n, up, taps, pad, f, 8); return;
    case 16: bf ? cols_block(y, 1, t, n, up, taps, pad, f, 16) : cols_block(y, 0, t, n, up, taps, pad, f, 16); return;
    default: bf ? cols_block(y, 1, t, n, up, taps, pad, f, block) : cols_block(y, 0, t, n, up, taps, pad, f, block); return;
    }
}
