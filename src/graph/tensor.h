/* tensor.h — shapes, number types and the one layout family.
 *
 * Dimensions are N samples, C channels, H, W pixels; vectors per sample are [N,C,1,1], per-sample numbers [N,1,1,1].
 * A tensor lies in memory as [N][C/b][H*W][b], b dividing C ("channel blocks"): b = 1 is NCHW, b = C is NHWC, b = 16 is
 * what AVX-512 convolutions want. With H = W = 1 every b is the same memory.
 */
#ifndef FD_GRAPH_TENSOR_H
#define FD_GRAPH_TENSOR_H

#include <stdint.h>
#include <string.h>

#include "base/err.h"

typedef enum { FD_F32 = 0, FD_BF16, FD_I32 } fd_dtype;

typedef struct { int64_t n, c, h, w; } fd_shape;

static inline int64_t fd_count(fd_shape s) { return s.n * s.c * s.h * s.w; }
static inline int64_t fd_pixels(fd_shape s) { return s.h * s.w; }
static inline bool fd_same_shape(fd_shape a, fd_shape b) {
    return a.n == b.n && a.c == b.c && a.h == b.h && a.w == b.w;
}
static inline size_t fd_dtype_bytes(fd_dtype d) { return d == FD_BF16 ? 2 : 4; }
static inline size_t fd_tensor_bytes(fd_shape s, fd_dtype d) { return (size_t)fd_count(s) * fd_dtype_bytes(d); }

/* A tensor as a kernel sees it. p = NULL: an optional operand that is absent. */
typedef struct fd_buf {
    void *p;
    fd_shape s;
    int block;       /* b of the layout above; parameters are plain row-major (block 1) */
    fd_dtype dt;
} fd_buf;

/* Flat position of element (n,c,y,x). */
static inline int64_t fd_at(const fd_buf *t, int64_t n, int64_t c, int64_t y, int64_t x) {
    int64_t b = t->block, hw = t->s.h * t->s.w;
    return ((n * (t->s.c / b) + c / b) * hw + y * t->s.w + x) * b + c % b;
}

static inline float fd_bf16_to_f32(uint16_t v) {
    uint32_t u = (uint32_t)v << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}
/* Round to nearest even; NaN stays NaN. */
static inline uint16_t fd_f32_to_bf16(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((u >> 16) | 0x40);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1)) >> 16);
}
/* Element access for reference code; fast kernels convert whole rows instead. */
static inline float fd_get(const fd_buf *t, int64_t i) {
    return t->dt == FD_BF16 ? fd_bf16_to_f32(((const uint16_t *)t->p)[i]) : ((const float *)t->p)[i];
}
static inline void fd_put(const fd_buf *t, int64_t i, float v) {
    if (t->dt == FD_BF16) ((uint16_t *)t->p)[i] = fd_f32_to_bf16(v);
    else ((float *)t->p)[i] = v;
}

#endif
