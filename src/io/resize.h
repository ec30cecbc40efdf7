/* resize.h — pictures to another size, for making sets: the middle square, and Lanczos as Pillow computes it.
 *
 * Sets made by EDM's tool went through Pillow's 8-bit resampling: separable, horizontal first, window of three source
 * or target pixels whichever is wider, weights rounded to 22 fractional bits, a uint8 picture between the two passes.
 * The same steps here give the same pixels.
 */
#ifndef FD_IO_RESIZE_H
#define FD_IO_RESIZE_H

#include "io/image.h"

/* Owner of *out in both: the caller (fd_image_free). */
/* The largest centred square; an odd margin puts the extra row or column at the end. */
fd_status fd_image_centre_square(fd_ctx *ctx, const fd_image *in, fd_image *out);
/* ARG unless 1 <= w, h <= FD_IMAGE_MAX_SIDE. */
fd_status fd_image_resize(fd_ctx *ctx, const fd_image *in, int w, int h, fd_image *out);

#endif
