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

/* 16 bits to 32 and back, the compiler splits these conversions in halves. */
#if defined(__AVX512BW__)
ALWAYS vu from_half(vh h) { return (vu)_mm512_cvtepu16_epi32((__m256i)h); }
ALWAYS vh to_half(vu u) { return (vh)_mm512_cvtepi32_epi16((__m512i)u); }
#elif defined(__AVX2__)
ALWAYS vu from_half(vh h) { return (vu)_mm256_cvtepu16_epi32((__m128i)h); }
ALWAYS vh to_half(vu u) {      /* all below 2^16 */
    return (vh)_mm_packus_epi32(_mm256_castsi256_si128((__m256i)u), _mm256_extracti128_si256((__m256i)u, 1));
}
#else
ALWAYS vu from_half(vh h) { return __builtin_convertvector(h, vu); }
ALWAYS vh to_half(vu u) { return __builtin_convertvector(u, vh); }
#endif
ALWAYS vf widen(vh h) { return (vf)(from_half(h) << 16); }
#if defined(__AVX512BF16__)
/* Numbers too small for a normal bf16 become 0. */
ALWAYS vh narrow(vf v) {
    const __m256bh h = _mm512_cvtneps_pbh((__m512)v);
    vh out;
    memcpy(&out, &h, sizeof out);
    return out;
}
#elif defined(__AVX512BW__)
/* As fd_f32_to_bf16, with masks: 1 more for odd, nothing added to NaN but its quiet bit. */
ALWAYS vh narrow(vf v) {
    __m512i u = (__m512i)v;
    __mmask16 number = _mm512_cmp_ps_mask((__m512)v, (__m512)v, _CMP_ORD_Q);
    u = _mm512_mask_or_epi32(u, _knot_mask16(number), u, _mm512_set1_epi32(0x400000));
    __mmask16 odd = _mm512_mask_test_epi32_mask(number, u, _mm512_set1_epi32(0x10000));
    u = _mm512_mask_add_epi32(u, number, u, _mm512_set1_epi32(0x7fff));
    u = _mm512_mask_add_epi32(u, odd, u, _mm512_set1_epi32(1));
    return to_half((vu)u >> 16);
}
#else
ALWAYS vh narrow(vf v) {
    vu u = (vu)v, high = u >> 16, nan = (vu)(v != v);
    vu rounded = (u + ((high & 1) + 0x7fffu)) >> 16;
    return to_half((nan & (high | 0x40)) | (~nan & rounded));
}
#endif
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

/* a0 b0 a1 b1 ... of the first and of the second halves of a and b. */
#if VL == 16
#define ZIP_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif VL == 8
#define ZIP_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
#define ZIP_LOW 0, 4, 1, 5
#define ZIP_HIGH 2, 6, 3, 7
#endif
#ifdef __clang__
ALWAYS vf vzip_low(vf a, vf b) { return __builtin_shufflevector(a, b, ZIP_LOW); }
ALWAYS vf vzip_high(vf a, vf b) { return __builtin_shufflevector(a, b, ZIP_HIGH); }
#else
ALWAYS vf vzip_low(vf a, vf b) { return __builtin_shuffle(a, b, (vi){ZIP_LOW}); }
ALWAYS vf vzip_high(vf a, vf b) { return __builtin_shuffle(a, b, (vi){ZIP_HIGH}); }
#endif

/* Turns a square of VL vectors over: rows j and j + VL/2 are zipped to rows 2j and 2j + 1, as often as VL has bits. */
ALWAYS void turn_over(vf v[VL]) {
    for (int round = 1; round < VL; round *= 2) {
        vf next[VL];
        for (int j = 0; j < VL / 2; j++) {
            next[2 * j] = vzip_low(v[j], v[j + VL / 2]);
            next[2 * j + 1] = vzip_high(v[j], v[j + VL / 2]);
        }
        for (int j = 0; j < VL; j++) v[j] = next[j];
    }
}

/* The first n < VL floats, 0 behind them; what lies there is not read. */
#if defined(__AVX512F__)
ALWAYS vf vload_part(const float *p, int n) { return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
#elif defined(__AVX2__)
ALWAYS vf vload_part(const float *p, int n) {
    const vi lane = {0, 1, 2, 3, 4, 5, 6, 7};
    return (vf)_mm256_maskload_ps(p, (__m256i)(lane < n));
}
#else
ALWAYS vf vload_part(const float *p, int n) {
    vf v = {0};
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}
#endif

/* Sum of the lanes, always in the order of a binary tree. */
ALWAYS float vsum(vf v) {
    float a[VL];
    vstore(a, v);
    for (int half = VL / 2; half; half /= 2)
        for (int i = 0; i < half; i++) a[i] += a[i + half];
    return a[0];
}

/* Several vectors at a time, step by step: the steps of one depend on each other, and the processor does not look far
 * enough ahead to fill the gaps from the next turn of a loop. */
#define MANY (VL == 16 ? 4 : 2)
#define EACH(j, n) _Pragma("GCC unroll 4") for (int j = 0; j < (n); j++)

/* exp(x), relative error below 2 units in the last place; clamped to [2^-126, 2^127.99].
 * x = k ln 2 + r with |r| <= ln(2)/2, 1 + r + r^2 q(r) with q of degree 4 (minimax: 3e-9), exponent added as an integer.
 * NaN in, NaN out: its exponent turns to nothing added. */
ALWAYS void vexp_each(vf *x, int n) {
    const vf magic = vset(12582912.0f);                /* 1.5 * 2^23: adding it rounds to an integer */
    vf m[MANY], r[MANY], p[MANY];
    EACH(j, n) x[j] = vmin(vset(88.3762589f), vmax(vset(-87.3365447f), x[j]));      /* NaN stays: it is b */
    EACH(j, n) m[j] = x[j] * 1.44269504f + magic;
    EACH(j, n) r[j] = x[j] - (m[j] - magic) * 0.693359375f;
    EACH(j, n) r[j] = r[j] + (m[j] - magic) * 2.12194440e-4f;
    EACH(j, n) p[j] = r[j] * 1.381461328e-3f + 8.368710018e-3f;
    EACH(j, n) p[j] = p[j] * r[j] + 4.1668387375e-2f;
    EACH(j, n) p[j] = p[j] * r[j] + 1.66665206882e-1f;
    EACH(j, n) p[j] = p[j] * r[j] + 4.99999934516e-1f;
    EACH(j, n) p[j] = p[j] * r[j] + 1.0f;
    EACH(j, n) p[j] = p[j] * r[j] + 1.0f;
    EACH(j, n) x[j] = (vf)((vi)p[j] + ((vi)m[j] << 23));        /* the integer is in the low bits of m */
}
ALWAYS vf vexp(vf x) {
    vexp_each(&x, 1);
    return x;
}
/* 1 / x to one unit in the last place for x in [1, 2^126]: a division takes as long as the whole of exp. */
#if defined(__AVX512F__)
ALWAYS vf vinverse(vf x) {
    vf r = (vf)_mm512_rcp14_ps((__m512)x);
    return r + r * (1.0f - x * r);
}
#else
ALWAYS vf vinverse(vf x) { return 1.0f / x; }
#endif
/* x <- 1 / (1 + exp(-x)) */
ALWAYS void vsigmoid_each(vf *x, int n) {
    EACH(j, n) x[j] = -x[j];
    vexp_each(x, n);
    EACH(j, n) x[j] = vinverse(1.0f + x[j]);
}
ALWAYS vf vsigmoid(vf x) {
    vsigmoid_each(&x, 1);
    return x;
}

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
