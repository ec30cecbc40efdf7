/* Compiled for AVX-512 with bf16, which every processor with AMX has; elsewhere nobody calls it. */
#include "cpu/amx_data.h"

#include "cpu/isa/columns.h"

/* n: a multiple of 16 */
ALWAYS void halves(uint16_t *high, uint16_t *low, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i += VL) {
        const vf v = vload(x + i);
        const vh h = narrow(v);
        *(vh_anywhere *)(high + i) = h;
        *(vh_anywhere *)(low + i) = narrow(v - widen(h));
    }
}
void fd_amx_to_chunks(uint16_t *to, int64_t chunk, int64_t part, const void *x, fd_dtype dt, int64_t step, int64_t c,
                      int64_t pixels) {
    const int64_t size = (int64_t)fd_dtype_bytes(dt);
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t k = 0; k < c; k += 32) {
            if (c <= 32 && step > 64)        /* pixels so far apart are fetched by nobody else */
                for (int64_t b = 0; b < c * size; b += 64) __builtin_prefetch((const char *)x + (i + 8) * step * size + b);
            uint16_t *at = to + k / 32 * chunk + i * 32;
            const int64_t n = c - k < 32 ? c - k : 32;
            if (n < 32) memset(at, 0, 32 * sizeof *at);
            if (dt == FD_BF16) {
                const uint16_t *from = (const uint16_t *)x + i * step + k;
                if (n == 32) memcpy(at, from, 64);
                else memcpy(at, from, (size_t)n * sizeof *at);
                continue;
            }
            if (n < 32) memset(at + part, 0, 32 * sizeof *at);
            if (n == 32) halves(at, at + part, (const float *)x + i * step + k, 32);
            else halves(at, at + part, (const float *)x + i * step + k, n);
        }
}

ALWAYS void rows_above(void *y, int bf, int64_t step, const float *x, vf least, int64_t rows, int64_t n) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < n; k += VL) vput(y, i * step + k, bf, vmax(least, vload(x + i * 32 + k)));
}
void fd_amx_rows_above(void *y, fd_dtype dt, int64_t step, const float *x, float least, int64_t rows, int64_t n) {
    if (dt == FD_BF16) rows_above(y, 1, step, x, vset(least), rows, n);
    else rows_above(y, 0, step, x, vset(least), rows, n);
}

/* 16 numbers of two rows: a0 b0 a1 b1 ... */
ALWAYS void zip16(uint32_t *to, const uint16_t *a, const uint16_t *b) {
    for (int l = 0; l < 16; l += VL)
        *(vu_anywhere *)(to + l) = from_half(*(const vh_anywhere *)(a + l)) | from_half(*(const vh_anywhere *)(b + l)) << 16;
}
void fd_amx_zip_pixels(uint16_t *to, const uint16_t *x, int64_t pairs) {
    for (int64_t i = 0; i < pairs; i++) zip16((uint32_t *)to + 16 * i, x + 64 * i, x + 64 * i + 32);
}

void fd_amx_turn_pixels(uint16_t *to, const uint16_t *x) {
    uint32_t pair[16][16];
    for (int i = 0; i < 16; i++) zip16(pair[i], x + 64 * i, x + 64 * i + 32);
#if VL == 16
    vf v[16];
    for (int i = 0; i < 16; i++) v[i] = vload((const float *)pair[i]);
    turn_over(v);
    for (int k = 0; k < 16; k++) vstore((float *)((uint32_t *)to + 16 * k), v[k]);
#else
    for (int k = 0; k < 16; k++)
        for (int i = 0; i < 16; i++) ((uint32_t *)to)[16 * k + i] = pair[i][k];
#endif
}

ALWAYS void sum_pixels(float *sum, const void *x, int bf, int64_t step, int64_t n) {
    for (int64_t k = 0; k < 16; k += VL) {
        vf total = vload(sum + k);
        for (int64_t i = 0; i < n;) {
            const int64_t end = i + 64 < n ? i + 64 : n;       /* short sums first: less rounding */
            vf s = {0};
            for (; i < end; i++) s += vget(x, i * step + k, bf);
            total += s;
        }
        vstore(sum + k, total);
    }
}
void fd_amx_sum_pixels(float *sum, const void *x, fd_dtype dt, int64_t step, int64_t n) {
    if (dt == FD_BF16) sum_pixels(sum, x, 1, step, n);
    else sum_pixels(sum, x, 0, step, n);
}

/* Two rows of 16 numbers as [16][2] halves of them. */
ALWAYS void zip_halves(uint32_t *high, uint32_t *low, const float *a, const float *b, int split) {
    for (int l = 0; l < 16; l += VL) {
        const vf x = vload(a + l), y = vload(b + l);
        const vh hx = narrow(x), hy = narrow(y);
        *(vu_anywhere *)(high + l) = from_half(hx) | from_half(hy) << 16;
        if (split) *(vu_anywhere *)(low + l) = from_half(narrow(x - widen(hx))) | from_half(narrow(y - widen(hy))) << 16;
    }
}
ALWAYS void tile(uint16_t *to, const float *t, int64_t r, int64_t n, int64_t inputs, int split) {
    const float zero[16] = {0};
    for (int64_t p = 0; p < 16; p++) {
        const float *a = 2 * p < inputs ? t + (2 * p * n + r) * 16 : zero;
        const float *b = 2 * p + 1 < inputs ? t + ((2 * p + 1) * n + r) * 16 : zero;
        zip_halves((uint32_t *)to + 16 * p, (uint32_t *)(to + 1024) + 16 * p, a, b, split);
    }
}
void fd_amx_weights(uint16_t *to, int64_t step, float *t, const float *w, int64_t from_out, int64_t from_in, int outs,
                    int64_t inputs, int64_t n, int turned, int split) {
    if (from_in == n) columns(t, w, from_out, outs, inputs * n);
    else
        for (int64_t i = 0; i < inputs; i++) columns(t + i * n * 16, w + i * from_in, from_out, outs, n);
    for (int64_t r = 0; r < n; r++, to += step) {
        const int64_t at = turned ? n - 1 - r : r;
        if (split) tile(to, t, at, n, inputs, 1);
        else tile(to, t, at, n, inputs, 0);
    }
}
