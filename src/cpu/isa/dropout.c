/* Philox4x32-10 (base/rng.h) of a vector of blocks at a time, and the masks made of it. */
#include "cpu/isa/parts.h"

/* The four words of blocks (block, counter[0..2]). The vector is worked on as its even and its odd lanes, each in the low
 * half of a 64-bit lane; what is in the high halves is never looked at. */
ALWAYS void philox(vu block, const fd_drop *m, vu word[4]) {
    v64 c[4][2];
    for (int h = 0; h < 2; h++) {
        c[0][h] = h ? (v64)block >> 32 : (v64)block;
        for (int k = 1; k < 4; k++) c[k][h] = m->counter[k - 1] + (v64){0};
    }
    v64 m0 = 0xD2511F53u + (v64){0}, m1 = 0xCD9E8D57u + (v64){0};
    uint32_t k0 = m->key[0], k1 = m->key[1];
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
        for (int h = 0; h < 2; h++) {
            v64 a = vmul_low(c[0][h], m0), b = vmul_low(c[2][h], m1);
            c[0][h] = (b >> 32) ^ c[1][h] ^ (k0 + (v64){0});
            c[2][h] = (a >> 32) ^ c[3][h] ^ (k1 + (v64){0});
            c[1][h] = b;
            c[3][h] = a;
        }
    for (int k = 0; k < 4; k++) word[k] = (vu)((c[k][0] & 0xffffffffu) | c[k][1] << 32);
}
ALWAYS vf drop(vf x, vu word, const fd_drop *m) {
    vi keep = (vi)(word >= m->least);
    return (vf)((vi)(x * m->factor) & keep);
}

ALWAYS void rows(void *y, const void *x, int bf, int64_t step, int64_t n, int width, uint32_t first, uint32_t stride,
                 const fd_drop *m) {
    uint32_t lane[VL];
    vu block, word[4];
    for (int l = 0; l < VL; l++) lane[l] = first + (uint32_t)l * stride;
    memcpy(&block, lane, sizeof block);
    for (int64_t i = 0; i < n; i += 4, block += 1) {
        philox(block, m, word);
        for (int k = 0; k < 4; k++) {
            if (width == VL) vput(y, (i + k) * step, bf, drop(vget(x, (i + k) * step, bf), word[k], m));
            else vput_part(y, (i + k) * step, width, bf, drop(vget_part(x, (i + k) * step, width, bf), word[k], m));
        }
    }
}
void FD_ISA(dropout_rows)(void *y, const void *x, fd_dtype dt, int64_t step, int64_t n, int width, uint32_t first, uint32_t stride,
                          const fd_drop *m) {
    switch ((dt == FD_BF16) * 2 + (width < VL)) {
    case 0: rows(y, x, 0, step, n, VL, first, stride, m); return;
    case 1: rows(y, x, 0, step, n, VL / 2, first, stride, m); return;
    case 2: rows(y, x, 1, step, n, VL, first, stride, m); return;
    default: rows(y, x, 1, step, n, VL / 2, first, stride, m); return;
    }
}

ALWAYS void flat(void *y, const void *x, int bf, int64_t n, uint32_t first, const fd_drop *m) {
    uint32_t lane[VL], in_order[4 * VL];
    vu block, word[4];
    for (int l = 0; l < VL; l++) lane[l] = first + (uint32_t)l;
    memcpy(&block, lane, sizeof block);
    for (int64_t i = 0; i < n; i += 4 * VL, block += VL) {
        philox(block, m, word);
        for (int k = 0; k < 4; k++) {
            memcpy(lane, &word[k], sizeof lane);
            for (int l = 0; l < VL; l++) in_order[4 * l + k] = lane[l];
        }
        for (int64_t j = i; j < i + 4 * VL && j < n; j += VL) {
            vu w;
            memcpy(&w, in_order + (j - i), sizeof w);
            if (j + VL <= n) vput(y, j, bf, drop(vget(x, j, bf), w, m));
            else vput_part(y, j, n - j, bf, drop(vget_part(x, j, n - j, bf), w, m));
        }
    }
}
void FD_ISA(dropout_flat)(void *y, const void *x, fd_dtype dt, int64_t n, uint32_t first, const fd_drop *m) {
    if (dt == FD_BF16) flat(y, x, 1, n, first, m);
    else flat(y, x, 0, n, first, m);
}
