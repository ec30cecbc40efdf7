/* transform.h — what makes pictures of any size into those of a set, by the names of EDM's and EDM2's dataset tools.
 *
 *   none                  nothing
 *   scale                 Lanczos to the size; the sides are squeezed
 *   center-crop           the middle square, then Lanczos
 *   center-crop-wide      the middle of that shape, Lanczos, black bars above and below; pictures that are too small are left out
 *   center-crop-dhariwal  halved by averages while twice too large, bicubic to the short side, then the middle square: what ADM's
 *                         ImageNet references were made with
 *
 * The crops make gray pictures RGB, as EDM's do. Pixels are Pillow's.
 */
#ifndef FD_IO_TRANSFORM_H
#define FD_IO_TRANSFORM_H

#include "io/image.h"

typedef enum {
    FD_TRANSFORM_NONE, FD_TRANSFORM_SCALE, FD_TRANSFORM_CROP, FD_TRANSFORM_CROP_WIDE, FD_TRANSFORM_CROP_DHARIWAL
} fd_transform;
extern const char *const fd_transform_names[];         /* ends with NULL */

/* *image is replaced; it becomes w x w, with w >= h, which differ for center-crop-wide only. *left_out: it is too small.
 * ARG for impossible sizes. */
fd_status fd_transform_image(fd_ctx *ctx, fd_transform t, int w, int h, fd_image *image, bool *left_out);

#endif
