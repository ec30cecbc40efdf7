/* One output row of a pooling: the rows of the windows are joined to a line of f32, then the line along itself, so that a pixel
 * is read once per row of windows. */
#include "cpu/isa/parts.h"

ALWAYS vf join(vf a, vf b, int mean) { return mean ? a + b : vmax(a, b); }
ALWAYS float join_one(float a, float b, int mean) { return mean ? a + b : a > b ? a : b; }

ALWAYS void rows_to_line(float *line, const void *x, int bf, const fd_pool_row *p, int mean) {
    const int64_t n = p->w * p->block;
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf s = vget(x, i, bf);
        for (int r = 1; r < p->rows; r++) s = join(vget(x, r * n + i, bf), s, mean);
        vstore(line + i, s);
    }
    if (i == n) return;
    vf s = vget_part(x, i, n - i, bf);
    for (int r = 1; r < p->rows; r++) s = join(vget_part(x, r * n + i, n - i, bf), s, mean);
    vstore(line + i, s);
}

/* A pixel of `block` channels. A vector longer than the block reads into the pixels behind and stores its first half. */
ALWAYS void pixel(void *y, int bf, const float *t, int64_t columns, int block, int mean, float share) {
    if (block == 1) {
        float s = t[0];
        for (int64_t q = 1; q < columns; q++) s = join_one(t[q], s, mean);
        if (mean) s *= share;
        if (bf) *(uint16_t *)y = fd_f32_to_bf16(s);
        else *(float *)y = s;
        return;
    }
    for (int l = 0; l < block; l += VL) {
        vf s = vload(t + l);
        for (int64_t q = 1; q < columns; q++) s = join(vload(t + q * block + l), s, mean);
        if (mean) s *= share;
        if (block >= VL) vput(y, l, bf, s);
        else vput_part(y, 0, block, bf, s);
    }
}

ALWAYS void line_to_pixels(void *y, int bf, const float *line, const fd_pool_row *p, int block, int mean) {
    const int64_t size = (bf ? 2 : 4) * block;
    for (int64_t j = 0; j < p->n; j++) {
        int64_t from = j * p->stride - p->pad, to = from + p->window;
        if (from < 0) from = 0;
        if (to > p->w) to = p->w;
        pixel((char *)y + j * size, bf, line + from * block, to - from, block, mean, 1.0f / (float)(p->rows * (to - from)));
    }
}

ALWAYS void pool(void *y, const void *x, int bf, float *line, const fd_pool_row *p, int mean) {
    rows_to_line(line, x, bf, p, mean);
    switch (p->block) {
    case 16: line_to_pixels(y, bf, line, p, 16, mean); return;
    case 8: line_to_pixels(y, bf, line, p, 8, mean); return;
    case 1: line_to_pixels(y, bf, line, p, 1, mean); return;
    default: line_to_pixels(y, bf, line, p, p->block, mean); return;
    }
}
void FD_ISA(pool_row)(void *y, const void *x, fd_dtype dt, float *line, const fd_pool_row *p) {
    switch ((dt == FD_BF16) * 2 + p->mean) {
    case 0: pool(y, x, 0, line, p, 0); return;
    case 1: pool(y, x, 0, line, p, 1); return;
    case 2: pool(y, x, 1, line, p, 0); return;
    default: pool(y, x, 1, line, p, 1); return;
    }
}
