/* Small dense products and softmax rows (attention, linear). */
#include <math.h>

#include "cpu/isa/parts.h"

/* C (+)= A B for rows x cols vectors of C in registers: a sum over k first, then what was there. */
ALWAYS void tile(int rows, int cols, int64_t k, const float *a, int64_t ra, int64_t ca, const float *b, int64_t ldb,
                 float *c, int64_t ldc, int accumulate) {
    vf acc[12][4];
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < cols; j++) acc[i][j] = (vf){0};
    for (int64_t p = 0; p < k; p++) {
        vf bv[4];
#pragma GCC unroll 4
        for (int j = 0; j < cols; j++) bv[j] = vload(b + p * ldb + j * VL);
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++) {
            vf av = vset(a[i * ra + p * ca]);
#pragma GCC unroll 4
            for (int j = 0; j < cols; j++) acc[i][j] += av * bv[j];
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < cols; j++) {
            float *to = c + i * ldc + j * VL;
            vstore(to, accumulate ? vload(to) + acc[i][j] : acc[i][j]);
        }
}

/* Tiles that use most of the registers, and all lower ones for the last rows. */
#define ROWS(n, cols) case n: tile(n, cols, k, a, ra, ca, b, ldb, c, ldc, accumulate); break;
#define ROWS6(cols) ROWS(1, cols) ROWS(2, cols) ROWS(3, cols) ROWS(4, cols) ROWS(5, cols) ROWS(6, cols)
#define ROWS8(cols) ROWS6(cols) ROWS(7, cols) ROWS(8, cols)
#define ROWS12(cols) ROWS8(cols) ROWS(9, cols) ROWS(10, cols) ROWS(11, cols) ROWS(12, cols)
#define TILE(cols, some)                                                                                    \
    static void tile##cols(int rows, int64_t k, const float *a, int64_t ra, int64_t ca, const float *b,      \
                           int64_t ldb, float *c, int64_t ldc, int accumulate) {                             \
        switch (rows) { some(cols) }                                                                         \
    }
#if VL == 16
enum { WIDEST = 4 };
static const int most_rows[] = {0, 12, 12, 8, 6};
TILE(1, ROWS12)
TILE(2, ROWS12)
TILE(3, ROWS8)
TILE(4, ROWS6)
#else
enum { WIDEST = 2 };
static const int most_rows[] = {0, 6, 6};
TILE(1, ROWS6)
TILE(2, ROWS6)
#endif

/* Columns beyond the last whole vector. */
static void edge(int64_t m, int64_t n, int64_t k, const float *a, int64_t ra, int64_t ca, const float *b, int64_t ldb,
                 float *c, int64_t ldc, int accumulate) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            float s = 0;
            for (int64_t p = 0; p < k; p++) s += a[i * ra + p * ca] * b[p * ldb + j];
            c[i * ldc + j] = accumulate ? c[i * ldc + j] + s : s;
        }
}

void FD_ISA(gemm)(int64_t m, int64_t n, int64_t k, const float *a, int64_t ra, int64_t ca, const float *b, int64_t ldb,
                  float *c, int64_t ldc, int accumulate) {
    const int64_t vectors = n / VL, strips = (vectors + WIDEST - 1) / WIDEST;
    for (int64_t s = 0; s < strips; s++) {           /* columns, then rows, shared out as evenly as possible */
        const int64_t j = vectors * s / strips;
        const int cols = (int)(vectors * (s + 1) / strips - j);
        const int64_t parts = (m + most_rows[cols] - 1) / most_rows[cols];
        for (int64_t q = 0; q < parts; q++) {
            const int64_t i = m * q / parts;
            const int rows = (int)(m * (q + 1) / parts - i);
            const float *ai = a + i * ra, *bj = b + j * VL;
            float *to = c + i * ldc + j * VL;
            switch (cols) {
            case 1: tile1(rows, k, ai, ra, ca, bj, ldb, to, ldc, accumulate); break;
            case 2: tile2(rows, k, ai, ra, ca, bj, ldb, to, ldc, accumulate); break;
#if VL == 16
            case 3: tile3(rows, k, ai, ra, ca, bj, ldb, to, ldc, accumulate); break;
            case 4: tile4(rows, k, ai, ra, ca, bj, ldb, to, ldc, accumulate); break;
#endif
            }
        }
    }
    if (vectors * VL < n)
        edge(m, n - vectors * VL, k, a, ra, ca, b + vectors * VL, ldb, c + vectors * VL, ldc, accumulate);
}

float FD_ISA(softmax)(float *x, int64_t n, float scale, float *sum) {
    int64_t i = 0;
    float top = -INFINITY;
    if (n >= VL) {
        vf m = vload(x);
        for (i = VL; i + VL <= n; i += VL) m = vmax(vload(x + i), m);
        float lane[VL];
        vstore(lane, m);
        for (int l = 0; l < VL; l++) top = lane[l] > top ? lane[l] : top;
    }
    for (; i < n; i++) top = x[i] > top ? x[i] : top;
    top *= scale;
    vf s = {0};
    for (i = 0; i + VL <= n; i += VL) {
        vf e = vexp(vload(x + i) * scale - top);
        vstore(x + i, e);
        s += e;
    }
    float total = vsum(s);
    for (; i < n; i++) {
        x[i] = vexp(vset(x[i] * scale - top))[0];
        total += x[i];
    }
    *sum = total;
    return top + logf(total);
}

void FD_ISA(exp_minus)(float *x, int64_t n, float scale, float lse) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) vstore(x + i, vexp(vload(x + i) * scale - lse));
    for (; i < n; i++) x[i] = vexp(vset(x[i] * scale - lse))[0];
}

void FD_ISA(softmax_bwd)(float *dp, const float *p, float d, float scale, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) vstore(dp + i, vload(p + i) * (vload(dp + i) - d) * scale);
    for (; i < n; i++) dp[i] = p[i] * (dp[i] - d) * scale;
}

float FD_ISA(dot)(const float *a, const float *b, int64_t n) {
    vf s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    int64_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) {
        s0 += vload(a + i) * vload(b + i);
        s1 += vload(a + i + VL) * vload(b + i + VL);
        s2 += vload(a + i + 2 * VL) * vload(b + i + 2 * VL);
        s3 += vload(a + i + 3 * VL) * vload(b + i + 3 * VL);
    }
    for (; i + VL <= n; i += VL) s0 += vload(a + i) * vload(b + i);
    float s = vsum((s0 + s1) + (s2 + s3));
    for (; i < n; i++) s += a[i] * b[i];
    return s;
}
