/* rows.h — the inner loops of the CPU backend, one table per instruction set.
 *
 * n counts elements. Types are those of the rows; bf16 rows are computed on in f32. Panels belong to the group norm:
 * n vectors of `lanes` elements, `step` elements apart; every lane is one channel with coefficients of its own.
 */
#ifndef FD_CPU_ISA_ROWS_H
#define FD_CPU_ISA_ROWS_H

#include "graph/tensor.h"

/* 16 channels of a 4x4 tile of a picture (6x6 with its margin). */
typedef struct fd_tile {
    const void *p;          /* channel 0 of pixel (0,0) */
    int64_t step;           /* elements from pixel to pixel */
    int64_t half, plane;    /* ... to channel 8 (8: all in a row; 0: there are only 8); from channel to channel if not 0 */
    int channels;           /* if plane is not 0: how many there are */
    int h, w, y, x;         /* size of the picture, first pixel of the tile: without the margin */
    fd_dtype dt;
} fd_tile;

/* The random stream of a dropout: key and the upper words of the counter of Philox4x32-10 (base/rng.h). An element is kept
 * when its word is at least `least`, and multiplied by `factor`. */
typedef struct fd_drop { uint32_t key[2], counter[3], least; float factor; } fd_drop;

/* A row of windows: `rows` rows of w pixels of `block` channels (1, 8 or a multiple of 16) give n pixels; pixel j joins the columns
 * j stride - pad ... + window - 1 that are there. */
typedef struct fd_pool_row { int64_t w, n; int block, window, stride, pad, rows, mean; } fd_pool_row;

typedef struct fd_rows {
    int lanes;
    /* z = a x + b y; y = NULL: z = a x (a = 1 converts types, exactly when they agree) */
    void (*axpby)(void *z, fd_dtype zt, const void *x, fd_dtype xt, float a, const void *y, fd_dtype yt, float b, int64_t n);
    void (*silu)(void *y, const void *x, fd_dtype dt, int64_t n);
    void (*silu_bwd)(void *dx, const void *dy, const void *x, fd_dtype dt, int64_t n);
    /* y = log(1 + exp(a x)), dx = dy a sigmoid(a x) */
    void (*softplus)(void *y, const void *x, fd_dtype dt, float a, int64_t n);
    void (*softplus_bwd)(void *dx, const void *dy, const void *x, fd_dtype dt, float a, int64_t n);
    /* z = a (x - y), z in the type of x */
    void (*diff)(void *z, const void *x, fd_dtype xt, const void *y, fd_dtype yt, float a, int64_t n);
    /* y = x factor or 0. Rows: n vectors (a multiple of 4) of `width` channels; channel l of vectors 4j..4j+3 is decided by
     * the words of random block first + l stride + j. Flat: elements 4j..4j+3 by those of block first + j. */
    void (*dropout_rows)(void *y, const void *x, fd_dtype dt, int64_t step, int64_t n, int width, uint32_t first, uint32_t stride,
                         const fd_drop *m);
    void (*dropout_flat)(void *y, const void *x, fd_dtype dt, int64_t n, uint32_t first, const fd_drop *m);
    double (*sum)(const void *x, fd_dtype dt, int64_t n);
    double (*sum_sq_diff)(const void *x, fd_dtype xt, const void *y, fd_dtype yt, int64_t n);

    /* mean and sum of squared deviations of every lane */
    void (*norm_stats)(const void *x, fd_dtype dt, int64_t n, int64_t step, float *mean, float *m2);
    /* y = act(a x + b) */
    void (*norm_apply)(void *y, const void *x, fd_dtype dt, int64_t n, int64_t step, const float *a, const float *b, int act);
    /* u = a x + b, h = r x + q, du = dy act'(u), kept unless du is NULL; sums over the panel of h, du and du h. The
     * vectors of du are ds elements apart; it may be where dy is. */
    void (*norm_bwd_sums)(float *du, int64_t ds, const void *dy, const void *x, fd_dtype dt, int64_t n, int64_t step, const float *a,
                          const float *b, const float *r, const float *q, int act, float *s_h, float *s_du, float *s_duh);
    /* dx = k du + r x + q; dx may be where du or x is */
    void (*norm_bwd_apply)(void *dx, const float *du, int64_t ds, const void *x, fd_dtype dt, int64_t n, int64_t step, const float *k,
                           const float *r, const float *q);

    /* t = sum of f[k] times the n elements from at[k], k < taps <= 4 */
    void (*resample_rows)(float *t, const void *x, fd_dtype dt, int taps, const int64_t *at, const float *f, int64_t n);
    /* n pixels of a row of y from the line t, readable to both sides; block 1, 8 or a
     * multiple of 16 */
    void (*resample_cols)(void *y, fd_dtype dt, const float *t, int64_t n, int up, int taps, int pad, const float *f, int block);

    /* line: w * block floats, and 16 more to be written and read */
    void (*pool_row)(void *y, const void *x, fd_dtype dt, float *line, const fd_pool_row *p);

    /* C[m][n] (+)= A B, A element (i,k) at a[i*ra + k*ca], B row-major with row length ldb, C with ldc. An element is
     * one sum in the order of k, wherever it lies. Fastest for n a multiple of 16. */
    void (*gemm)(int64_t m, int64_t n, int64_t k, const float *a, int64_t ra, int64_t ca, const float *b, int64_t ldb,
                 float *c, int64_t ldc, int accumulate);
    /* n rows of 3 vectors, at[0..2] elements from x and `step` from row to row, hold q0 k0 v0 q1 k1 v1 ...: apart to three
     * matrices with row lengths ld (NULL: not wanted), and together again */
    void (*split3)(float *const to[3], const int64_t ld[3], const void *x, fd_dtype dt, int64_t step, const int64_t at[3], int64_t n);
    void (*join3)(void *y, fd_dtype dt, int64_t step, const int64_t at[3], const float *const from[3], const int64_t ld[3], int64_t n);
    /* rows of n elements, row i times factor[i] (NULL: 1) */
    void (*copy_rows)(void *y, fd_dtype yt, int64_t ystep, const void *x, fd_dtype xt, int64_t xstep, const float *factor,
                      int64_t rows, int64_t n);
    /* x <- exp(scale x - max), returns max + log(sum): one row of a softmax before its division by the sum */
    float (*softmax)(float *x, int64_t n, float scale, float *sum);
    /* x <- exp(scale x - lse) */
    void (*exp_minus)(float *x, int64_t n, float scale, float lse);
    /* ds = p (dp - d) scale, in place of dp */
    void (*softmax_bwd)(float *dp, const float *p, float d, float scale, int64_t n);
    float (*dot)(const float *a, const float *b, int64_t n);

    int strip;      /* columns that gemm takes at a time */

    /* Winograd (isa/winograd.c): transforms to and from the 36 numbers of a tile, which lie fs apart, each for 16
     * channels in a row. Input tile to v; m + bias[16], with relu what is positive of it, to the tile; tile of the
     * output gradient to v, its 16 pixels added to sum[16]. */
    void (*wino_input)(float *v, int64_t fs, const fd_tile *t);
    void (*wino_output)(const fd_tile *t, const float *m, int64_t fs, const float *bias, int relu);
    void (*wino_gradient)(float *v, int64_t fs, const fd_tile *t, float *sum);
    /* filters of 16 outputs, of which `outs` are there, and n inputs: that of output k for input i at
     * w[k from_out + i from_in ...+8], turned: by half a turn; to u[i ldu + k] and fs apart */
    void (*wino_weights)(float *u, int64_t fs, int64_t ldu, const float *w, int64_t from_out, int64_t from_in, int outs, int64_t n,
                         int turned);
    /* dw[n][9] += from m (n rounded up to a multiple of 16) */
    void (*wino_weights_gradient)(float *dw, const float *m, int64_t fs, int64_t n);

    /* n times a number of multiply-adds in registers; returns the operations done, 2 for each */
    double (*multiply_adds)(int64_t n, float *keep);
} fd_rows;

/* The table for fd_cpu_isa(). */
const fd_rows *fd_cpu_rows(void);

#endif
