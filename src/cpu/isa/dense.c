/* Small dense products and softmax rows (attention, linear). */
#include <math.h>

#include "cpu/isa/parts.h"

/* rows x cols vectors of C in registers. */
#define MR 6
#define NR (VL == 16 ? 4 : 2)

ALWAYS void tile(int rows, int cols, int64_t k, const float *a, int64_t ra, int64_t ca, const float *b, int64_t ldb, float *c,
                 int64_t ldc, int accumulate) {
    vf acc[MR][4];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) acc[i][j] = accumulate ? vload(c + i * ldc + j * VL) : vset(0);
    for (int64_t p = 0; p < k; p++) {
        vf bv[4];
        for (int j = 0; j < cols; j++) bv[j] = vload(b + p * ldb + j * VL);
        for (int i = 0; i < rows; i++) {
            vf av = vset(a[i * ra + p * ca]);
            for (int j = 0; j < cols; j++) acc[i][j] += av * bv[j];
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) vstore(c + i * ldc + j * VL, acc[i][j]);
}

/* Rows beyond the last whole tile. */
ALWAYS void rest(int64_t rows, int cols, int64_t k, const float *a, int64_t ra, int64_t ca, const float *b, int64_t ldb, float *c,
                 int64_t ldc, int accumulate) {
    switch (rows) {
    case 1: tile(1, cols, k, a, ra, ca, b, ldb, c, ldc, accumulate); return;
    case 2: tile(2, cols, k, a, ra, ca, b, ldb, c, ldc, accumulate); return;
    case 3: tile(3, cols, k, a, ra, ca, b, ldb, c, ldc, accumulate); return;
    case 4: tile(4, cols, k, a, ra, ca, b, ldb, c, ldc, accumulate); return;
    case 5: tile(5, cols, k, a, ra, ca, b, ldb, c, ldc, accumulate); return;
    default: return;
    }
}

/* Columns beyond the last whole vector. */
static void edge(int64_t m, int64_t n, int64_t k, const float *a, int64_t ra, int64_t ca, const float *b, int64_t ldb, float *c,
                 int64_t ldc, int accumulate) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            float s = accumulate ? c[i * ldc + j] : 0.0f;
            for (int64_t p = 0; p < k; p++) s += a[i * ra + p * ca] * b[p * ldb + j];
            c[i * ldc + j] = s;
        }
}

void FD_ISA(gemm)(int64_t m, int64_t n, int64_t k, const float *a, int64_t ra, int64_t ca, const float *b, int64_t ldb,
                  float *c, int64_t ldc, int accumulate) {
    int64_t j = 0;
    while (j + VL <= n) {
        int wide = j + NR * VL <= n;
        int64_t i = 0;
        for (; i + MR <= m; i += MR) {
            if (wide) tile(MR, NR, k, a + i * ra, ra, ca, b + j, ldb, c + i * ldc + j, ldc, accumulate);
            else tile(MR, 1, k, a + i * ra, ra, ca, b + j, ldb, c + i * ldc + j, ldc, accumulate);
        }
        if (wide) rest(m - i, NR, k, a + i * ra, ra, ca, b + j, ldb, c + i * ldc + j, ldc, accumulate);
        else rest(m - i, 1, k, a + i * ra, ra, ca, b + j, ldb, c + i * ldc + j, ldc, accumulate);
        j += wide ? NR * VL : VL;
    }
    if (j < n) edge(m, n - j, k, a, ra, ca, b + j, ldb, c + j, ldc, accumulate);
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
