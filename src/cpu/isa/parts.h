/* parts.h — the functions of one instruction set, gathered by table.c. */
#ifndef FD_CPU_ISA_PARTS_H
#define FD_CPU_ISA_PARTS_H

#include "cpu/isa/rows.h"
#include "cpu/isa/vec.h"

void FD_ISA(axpby)(void *z, fd_dtype zt, const void *x, fd_dtype xt, float a, const void *y, fd_dtype yt, float b, int64_t n);
void FD_ISA(silu)(void *y, const void *x, fd_dtype dt, int64_t n);
void FD_ISA(silu_bwd)(void *dx, const void *dy, const void *x, fd_dtype dt, int64_t n);
void FD_ISA(softplus)(void *y, const void *x, fd_dtype dt, float a, int64_t n);
void FD_ISA(softplus_bwd)(void *dx, const void *dy, const void *x, fd_dtype dt, float a, int64_t n);
void FD_ISA(diff)(void *z, const void *x, fd_dtype xt, const void *y, fd_dtype yt, float a, int64_t n);
void FD_ISA(dropout_rows)(void *y, const void *x, fd_dtype dt, int64_t step, int64_t n, int width, uint32_t first, uint32_t stride,
                          const fd_drop *m);
void FD_ISA(dropout_flat)(void *y, const void *x, fd_dtype dt, int64_t n, uint32_t first, const fd_drop *m);
double FD_ISA(sum)(const void *x, fd_dtype dt, int64_t n);
double FD_ISA(sum_sq_diff)(const void *x, fd_dtype xt, const void *y, fd_dtype yt, int64_t n);
void FD_ISA(norm_stats)(const void *x, fd_dtype dt, int64_t n, int64_t step, float *mean, float *m2);
void FD_ISA(norm_apply)(void *y, const void *x, fd_dtype dt, int64_t n, int64_t step, const float *a, const float *b, int act);
void FD_ISA(norm_bwd_sums)(float *du, int64_t ds, const void *dy, const void *x, fd_dtype dt, int64_t n, int64_t step, const float *a,
                           const float *b, const float *r, const float *q, int act, float *s_h, float *s_du, float *s_duh);
void FD_ISA(norm_bwd_apply)(void *dx, const float *du, int64_t ds, const void *x, fd_dtype dt, int64_t n, int64_t step, const float *k,
                            const float *r, const float *q);
void FD_ISA(resample_rows)(float *t, const void *x, fd_dtype dt, int taps, const int64_t *at, const float *f, int64_t n);
void FD_ISA(resample_cols)(void *y, fd_dtype dt, const float *t, int64_t n, int up, int taps, int pad, const float *f, int block);
void FD_ISA(pool_row)(void *y, const void *x, fd_dtype dt, float *line, const fd_pool_row *p);
void FD_ISA(gemm)(int64_t m, int64_t n, int64_t k, const float *a, int64_t ra, int64_t ca, const float *b, int64_t ldb,
                  float *c, int64_t ldc, int accumulate);
void FD_ISA(split3)(float *const to[3], const int64_t ld[3], const void *x, fd_dtype dt, int64_t step, const int64_t at[3], int64_t n);
void FD_ISA(join3)(void *y, fd_dtype dt, int64_t step, const int64_t at[3], const float *const from[3], const int64_t ld[3], int64_t n);
void FD_ISA(copy_rows)(void *y, fd_dtype yt, int64_t ystep, const void *x, fd_dtype xt, int64_t xstep, const float *factor,
                       int64_t rows, int64_t n);
float FD_ISA(softmax)(float *x, int64_t n, float scale, float *sum);
void FD_ISA(exp_minus)(float *x, int64_t n, float scale, float lse);
void FD_ISA(softmax_bwd)(float *dp, const float *p, float d, float scale, int64_t n);
float FD_ISA(dot)(const float *a, const float *b, int64_t n);
void FD_ISA(wino_input)(float *v, int64_t fs, const fd_tile *t);
void FD_ISA(wino_weights)(float *u, int64_t fs, int64_t ldu, const float *w, int64_t from_out, int64_t from_in, int outs, int64_t n,
                          int turned);
void FD_ISA(wino_gradient)(float *v, int64_t fs, const fd_tile *t, float *sum);
void FD_ISA(wino_weights_gradient)(float *dw, const float *m, int64_t fs, int64_t n);
void FD_ISA(wino_output)(const fd_tile *t, const float *m, int64_t fs, const float *bias, int relu);
double FD_ISA(multiply_adds)(int64_t n, float *keep);
extern const fd_rows FD_ISA(fd_rows);

#endif
