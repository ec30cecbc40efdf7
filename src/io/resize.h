/* resize.h — pictures cut and brought to another size as Pillow does it, for making sets.
 *
 * Sets made by EDM's tool went through Pillow's 8-bit resampling: separable, horizontal first, window as wide as
 * the filter in source or target pixels, whichever are wider, weights rounded to 22 fractional bits, a uint8 picture between the two passes.
 * The same steps here give the same pixels.
 */
#ifndef FD_IO_RESIZE_H
#define FD_IO_RESIZE_H

#include "io/image.h"
#include "io/window.h"

/* Owner of *out in all: the caller (fd_image_free). */
fd_status fd_image_new(fd_ctx *ctx, int w, int h, int c, fd_image *out);               /* black */
/* ARG if that part is not within the picture. */
fd_status fd_image_crop(fd_ctx *ctx, const fd_image *in, int x, int y, int w, int h, fd_image *out);
/* ARG unless 1 <= w, h <= FD_IMAGE_MAX_SIDE. */
fd_status fd_image_resize(fd_ctx *ctx, const fd_image *in, fd_filter filter, int w, int h, fd_image *out);

#endif
