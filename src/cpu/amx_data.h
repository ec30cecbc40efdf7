/* amx_data.h — between pictures and weights as they lie and the tiles that AMX multiplies (amx.h). Only where fd_cpu_has_amx().
 */
#ifndef FD_CPU_AMX_DATA_H
#define FD_CPU_AMX_DATA_H

#include "graph/tensor.h"

/* Tiles of weights for AMX (cpu/amx.h): those of 16 outputs, of which `outs` are there, and up to 32 inputs; the n of output k
 * for input i at w[k from_out + i from_in ...], turned: in reverse order. For each of the n a tile [16 pairs of
 * inputs][16 outputs][2] at to, `step` apart; with `split` the high halves there and the low ones 1024 elements on. t: 16 floats
 * for each weight of an output */
void fd_amx_weights(uint16_t *to, int64_t step, float *t, const float *w, int64_t from_out, int64_t from_in, int outs,
                    int64_t inputs, int64_t n, int turned, int split);
/* c channels, a multiple of 16, of pixels that lie `step` apart, to chunks of 32 (zeros behind the last): channel k of pixel i to
 * to[k/32 chunk + 32 i + k%32], of f32 the high half there and the low one (x = high
 * + low to a relative 2^-17) `part` further */
void fd_amx_to_chunks(uint16_t *to, int64_t chunk, int64_t part, const void *x, fd_dtype dt, int64_t step, int64_t c,
                  int64_t pixels);
/* of a chunk, pixels 32 elements apart: 16 channels of pixels 2i and 2i + 1 to [i][16][2]; of 32 pixels to [16][32] */
void fd_amx_zip_pixels(uint16_t *to, const uint16_t *x, int64_t pairs);
void fd_amx_turn_pixels(uint16_t *to, const uint16_t *x);
/* sum[16] += 16 channels of n pixels */
void fd_amx_sum_pixels(float *sum, const void *x, fd_dtype dt, int64_t step, int64_t n);
/* y = max(least, x), rows of n elements, a multiple of 16: step apart in y, 32 in x */
void fd_amx_rows_above(void *y, fd_dtype dt, int64_t step, const float *x, float least, int64_t rows, int64_t n);

#endif
