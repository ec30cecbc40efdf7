/* window.h — the weights of Pillow's resampling along one axis.
 *
 * Target pixel t covers the source around (t + 1/2) from/to; the filter is as wide as a target pixel when the picture
 * shrinks, as a source pixel when it grows; weights are divided by their sum. In double, in Pillow's order. */
#ifndef FD_IO_WINDOW_H
#define FD_IO_WINDOW_H

#include "base/arena.h"

typedef enum { FD_FILTER_BOX, FD_FILTER_BICUBIC /* a = -1/2 */, FD_FILTER_LANCZOS /* three lobes */ } fd_filter;

typedef struct {
    int reach;                    /* places per target pixel in `weight`; count never exceeds it */
    int *first, *count;           /* [to] the first source pixel, and how many                   */
    double *weight;               /* [to][reach]                                                 */
} fd_window;

/* In the arena. 1 <= from, to. */
fd_status fd_window_make(fd_ctx *ctx, fd_arena *a, fd_filter filter, int from, int to, fd_window *w);

#endif
