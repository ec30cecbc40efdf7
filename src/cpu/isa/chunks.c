/* Between pixels with all their channels and the chunks of 32 that AMX multiplies. */
#include "cpu/isa/parts.h"

ALWAYS void halves(uint16_t *high, uint16_t *low, const float *x, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        const vf v = vload(x + i);
        const vh h = narrow(v);
        *(vh_anywhere *)(high + i) = h;
        *(vh_anywhere *)(low + i) = narrow(v - widen(h));
    }
    for (; i < n; i++) {
        high[i] = fd_f32_to_bf16(x[i]);
        low[i] = fd_f32_to_bf16(x[i] - fd_bf16_to_f32(high[i]));
    }
}
void FD_ISA(halves)(uint16_t *high, uint16_t *low, const float *x, int64_t n) { halves(high, low, x, n); }

void FD_ISA(to_chunks)(uint16_t *to, int64_t chunk, int64_t part, const void *x, fd_dtype dt, int64_t c, int64_t pixels) {
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t k = 0; k < c; k += 32) {
            uint16_t *at = to + k / 32 * chunk + i * 32;
            const int64_t n = c - k < 32 ? c - k : 32;
            if (n < 32) memset(at, 0, 32 * sizeof *at);
            if (dt == FD_BF16) {
                const uint16_t *from = (const uint16_t *)x + i * c + k;
                if (n == 32) memcpy(at, from, 64);
                else memcpy(at, from, (size_t)n * sizeof *at);
                continue;
            }
            if (n < 32) memset(at + part, 0, 32 * sizeof *at);
            if (n == 32) halves(at, at + part, (const float *)x + i * c + k, 32);
            else halves(at, at + part, (const float *)x + i * c + k, n);
        }
}

ALWAYS void rows_above(void *y, int bf, int64_t step, const float *x, vf least, int64_t rows, int64_t n) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < n; k += VL) vput(y, i * step + k, bf, vmax(least, vload(x + i * 32 + k)));
}
void FD_ISA(rows_above)(void *y, fd_dtype dt, int64_t step, const float *x, float least, int64_t rows, int64_t n) {
    if (dt == FD_BF16) rows_above(y, 1, step, x, vset(least), rows, n);
    else rows_above(y, 0, step, x, vset(least), rows, n);
}
