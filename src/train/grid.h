/* grid.h — pictures of fixed seeds, the same from the first tick to the last.
 *
 * side x side pictures, seeds 0, 1, …; with classes, row r shows class r modulo the number of classes.
 */
#ifndef FD_TRAIN_GRID_H
#define FD_TRAIN_GRID_H

#include "train/sampler.h"

/* The picture file. images: uint8 [side*side][c][h][w]; small images are enlarged. */
fd_status fd_grid_save(fd_ctx *ctx, const char *path, const uint8_t *images, int side, int c, int h, int w);
/* Generates and saves: w (may be NULL) are weights to use instead of the network's own, in its layout. */
fd_status fd_grid_generate(fd_ctx *ctx, const char *path, const fd_sampler *s, fd_denoiser *d, fd_params *params, float *w,
                           int side);
/* The class of picture i; -1 without classes. */
int fd_grid_class(int i, int side, int label_dim);

#endif
