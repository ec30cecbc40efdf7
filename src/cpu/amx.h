/* amx.h — products of bf16 tiles by AMX, summed in f32. Only where fd_cpu_has_amx(). */
#ifndef FD_CPU_AMX_H
#define FD_CPU_AMX_H

#include <stdint.h>

enum { FD_AMX_CHUNK = 32,                      /* inputs of a product: 64 bytes                         */
       FD_AMX_ROWS = 16,                       /* positions of a tile                                   */
       FD_AMX_OUT = 32 };                      /* outputs of a block: two tiles                         */

/* A convolution's sum over inputs and filter at consecutive positions of a picture with its padding.
 *
 *   x  [chunk][part][position][32 inputs]     part 0: bf16, or with `split` the high half of f32 and part 1 the low one
 *   w  [chunk][kh][kw][part][2 tiles][16 pairs of inputs][16 outputs][2]
 */
typedef struct fd_amx_block {
    const uint16_t *x, *w;
    int64_t chunk, part;                       /* of x: elements from chunk to chunk, from part to part */
    int64_t row;                               /* positions from one row of the picture to the next     */
    int chunks, kh, kw;
    int split;                                 /* low times high and high times low are summed too      */
    const float *start;                        /* [32]: what the sums begin with                        */
} fd_amx_block;

/* The configuration of the tiles that was there before, to be put back: oneDNN has its own. */
typedef struct fd_amx_tiles { uint8_t bytes[64]; } __attribute__((aligned(64))) fd_amx_tiles;

/* Around all calls of a thread. */
void fd_amx_begin(fd_amx_tiles *before);
void fd_amx_end(const fd_amx_tiles *before);

/* to [16 tiles][32]: the sums at 16 (tiles 1) or 32 (2) positions. Each is one sum in the order of w, wherever it lies. */
void fd_amx_multiply(const fd_amx_block *b, int tiles, float *to);

/* The weights' gradient: outputs by inputs, summed over positions.
 *
 *   dy  [step of 32 positions][part][2 tiles][16 outputs][32 positions]
 *   x   [part][2 tiles of inputs][pair of positions][16 inputs][2], its first pair that of position 0
 */
typedef struct fd_amx_gradient {
    const uint16_t *dy, *x;
    int64_t tile, part;                        /* of x: elements from tile to tile, part to part */
    int64_t steps;
    int split;
} fd_amx_gradient;

/* sums [2][2][16 outputs][16 inputs] += */
void fd_amx_multiply_positions(const fd_amx_gradient *g, float *sums);

/* n times four products of tiles that stay in registers; returns the operations done, 2 for each multiply-add. */
double fd_amx_multiply_adds(int64_t n);

/* The kernel lets this process use the tiles. */
int fd_amx_allowed(void);

#endif
