/* augment.h — EDM's non-leaking augmentation: geometric changes of a training image, and the vector that tells the
 * network what was done. A network that is given the vector in training and none afterwards makes unchanged images.
 *
 *   what                 applied with    size                                     told to the network
 *   mirror left-right    1/2             —                                        0 or 1
 *   mirror up-down       p/2             —                                        0 or 1
 *   scale                p               2^(0.2 s), s ~ N(0,1)                    s
 *   rotation             p               a ~ U(-pi, pi)                           cos a - 1, sin a
 *   stretch              p               2^(0.2 w) along the axis b, the inverse  w cos b, w sin b
 *                                        across it; w ~ N(0,1), b ~ U(-pi, pi)
 *                                        half of the time, else 0
 *   shift                p               side/8 (tx, ty), both ~ N(0,1)           tx, ty
 *
 * Images are mirrored exactly and, when one of the other four applies, resampled once through all of them: reflected
 * at the border, doubled with the sym6 wavelet's low-pass filter, read bilinearly at the mapped points, halved with
 * the same filter. The identity passes through unchanged because the filter is orthogonal to its even shifts.
 * Source: Karras et al. 2022, appendix F.2; EDM augment.py, the pipe of its training runs, at a batch of one (there
 * the reflected margin is that of the batch's widest map, here each image's own, so nothing depends on the batch).
 */
#ifndef FD_TRAIN_AUGMENT_H
#define FD_TRAIN_AUGMENT_H

#include "base/arena.h"

#define FD_AUGMENT_DIM 9       /* entries of the vector */

/* What happens to one image; all zero: nothing. */
typedef struct fd_augment {
    bool xflip, yflip;
    double scale;              /* log2 of the factor, in units of 0.2            */
    double angle;              /* radians, counter-clockwise as seen             */
    double stretch, axis;      /* log2 of the factor in units of 0.2; as angle   */
    double tx, ty;             /* in units of an eighth of the side; right, down */
} fd_augment;

/* Sample number `index` of a run: depends on (seed, index) and p alone. p in [0, 1]; 0 gives nothing. */
fd_augment fd_augment_draw(double p, uint64_t seed, uint64_t index);
void fd_augment_vector(const fd_augment *a, float out[FD_AUGMENT_DIM]);
/* Where the pixel at (x, y) of the result comes from, mirrors apart: source = m (x, y, 1), measured from the centre of
 * the image in pixels, x to the right, y down. */
void fd_augment_map(const fd_augment *a, int side, double m[2][3]);

/* Changes one image [channels][side][side] in place. work: fd_augment_work floats. */
void fd_augment_apply(const fd_augment *a, int channels, int side, float *image, float *work);
size_t fd_augment_work(int side);

/* Samples first … first+n-1 in place: images [n][channels][side][side], vectors [n][FD_AUGMENT_DIM].
 * work: fd_augment_work floats for each of `threads` threads. */
void fd_augment_images(double p, uint64_t seed, uint64_t first, int n, int channels, int side, float *images,
                       float *vectors, float *work, int threads);

#endif
