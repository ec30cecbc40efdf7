/* vec.h — vectors of the width this file is being compiled for.
 *
 * Every .c of src/cpu/isa is compiled once per instruction set (CMakeLists.txt) with FD_ISA_SUFFIX set; all its
 * functions are static or carry the suffix, and fd_cpu_rows() hands out the table that fits the machine. GCC's vector
 * types keep the source almost free of intrinsics. A bf16 row is widened on load and rounded to nearest even on store.
 */
#ifndef FD_CPU_ISA_VEC_H
#define FD_CPU_ISA_VEC_H

#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "graph/tensor.h"

#define FD_PASTE2(a, b) a##_##b
#define FD_PASTE(a, b) FD_PASTE2(a, b)
#define FD_ISA(name) FD_PASTE(name, FD_ISA_SUFFIX)

#if defined(__AVX512F__)
#define VL 16
#elif defined(__AVX2__)
#define VL 8
#else
#define VL 4
#endif

typedef float vf __attribute__((vector_size(4 * VL)));
typedef int32_t vi __attribute__((vector_size(4 * VL)));
typedef uint32_t vu __attribute__((vector_size(4 * VL)));
typedef uint16_t vh __attribute__((vector_size(2 * VL)));
typedef vf vf_anywhere __attribute__((aligned(4), may_alias));
typedef vu vu_anywhere __attribute__((aligned(4), may_alias));
typedef vh vh_anywhere __attribute__((aligned(2), may_alias));

#define ALWAYS static inline __attribute__((always_inline))

ALWAYS vf vload(const float *p) { return *(const vf_anywhere *)p; }
ALWAYS void vstore(float *p, vf v) { *(vf_anywhere *)p = v; }
ALWAYS vf vset(float x) { return x - (vf){0}; }       /* x in every lane; 0 - 0 keeps the sign of x */

ALWAYS vf widen(vh h) { return (vf)(__builtin_convertvector(h, vu) << 16); }
ALWAYS vh narrow(vf v) {
    vu u = (vu)v, odd = (u >> 16) & 1;
    vu rounded = (u + 0x7fffu + odd) >> 16, quiet = (u >> 16) | 0x40;
    vu nan = (vu)((u & 0x7fffffffu) > 0x7f800000u);
    return __builtin_convertvector((nan & quiet) | (~nan & rounded), vh);
}
/* Element i.. of a row of floats or of bf16. */
ALWAYS vf vget(const void *p, int64_t i, int bf16) {
    if (bf16) return widen(*(const vh_anywhere *)((const uint16_t *)p + i));
    return vload((const float *)p + i);
}
ALWAYS void vput(void *p, int64_t i, int bf16, vf v) {
    if (bf16) *(vh_anywhere *)((uint16_t *)p + i) = narrow(v);
    else vstore((float *)p + i, v);
}

/* Products of the low halves of the 64-bit lanes. */
typedef uint64_t v64 __attribute__((vector_size(4 * VL)));
#if defined(__AVX512F__)
ALWAYS v64 vmul_low(v64 a, v64 b) { return (v64)_mm512_mul_epu32((__m512i)a, (__m512i)b); }
#elif defined(__AVX2__)
ALWAYS v64 vmul_low(v64 a, v64 b) { return (v64)_mm256_mul_epu32((__m256i)a, (__m256i)b); }
#elif defined(__SSE2__)
ALWAYS v64 vmul_low(v64 a, v64 b) { return (v64)_mm_mul_epu32((__m128i)a, (__m128i)b); }
#else
ALWAYS v64 vmul_low(v64 a, v64 b) { return (a & 0xffffffffu) * (b & 0xffffffffu); }
#endif

ALWAYS vf vselect(vi mask, vf yes, vf no) { return (vf)(((vi)yes & mask) | ((vi)no & ~mask)); }
/* The larger, the smaller; b where either is NaN, as the instructions have it. */
#if defined(__AVX512F__)
ALWAYS vf vmax(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
ALWAYS vf vmin(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
#elif defined(__AVX2__)
ALWAYS vf vmax(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
ALWAYS vf vmin(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
#elif defined(__SSE2__)
ALWAYS vf vmax(vf a, vf b) { return (vf)_mm_max_ps((__m128)a, (__m128)b); }
ALWAYS vf vmin(vf a, vf b) { return (vf)_mm_min_ps((__m128)a, (__m128)b); }
#else
ALWAYS vf vmax(vf a, vf b) { return vselect(a > b, a, b); }
ALWAYS vf vmin(vf a, vf b) { return vselect(a < b, a, b); }
#endif

/* Sum of the lanes, always in the order of a binary tree. */
ALWAYS float vsum(vf v) {
    float a[VL];
    vstore(a, v);
    for (int half = VL / 2; half; half /= 2)
        for (int i = 0; i < half; i++) a[i] += a[i + half];
    return a[0];
}

/* exp(x), relative error below 2 units in the last place; clamped to [2^-126, 2^127.99].
 * x = k ln 2 + r with |r| <= ln(2)/2, Taylor series to r^7 (next term below 6e-9), exponent added as an integer.
 * NaN in, NaN out: its exponent turns to nothing added. */
ALWAYS vf vexp(vf x) {
    const vf magic = vset(12582912.0f);                /* 1.5 * 2^23: adding it rounds to an integer */
    x = vmin(vset(88.3762589f), vmax(vset(-87.3365447f), x));      /* NaN stays: it is b */
    vf k = (x * 1.44269504f + magic) - magic;
    vf r = x - k * 0.693359375f;
    r = r + k * 2.12194440e-4f;
    vf p = r * (1.0f / 5040) + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    vi e = __builtin_convertvector(k, vi) << 23;
    return (vf)((vi)p + e);
}
ALWAYS vf vsigmoid(vf x) { return 1.0f / (1.0f + vexp(-x)); }

/* Elements i .. i+n-1 with n < VL: the last ones of a row, in a vector of their own. */
ALWAYS vf vget_part(const void *p, int64_t i, int64_t n, int bf16) {
    uint32_t raw[VL] = {0};
    if (bf16) memcpy(raw, (const uint16_t *)p + i, (size_t)n * 2);
    else memcpy(raw, (const float *)p + i, (size_t)n * 4);
    return vget(raw, 0, bf16);
}
ALWAYS void vput_part(void *p, int64_t i, int64_t n, int bf16, vf v) {
    uint32_t raw[VL];
    vput(raw, 0, bf16, v);
    if (bf16) memcpy((uint16_t *)p + i, raw, (size_t)n * 2);
    else memcpy((float *)p + i, raw, (size_t)n * 4);
}

#endif
