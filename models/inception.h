/* inception.h — the feature network of FID: recording it, and folding its batch norms away. */
#ifndef FD_MODELS_INCEPTION_H
#define FD_MODELS_INCEPTION_H

#include "nn/nn.h"

#define FD_INCEPTION_SIDE 299
#define FD_INCEPTION_FEATURES 2048
#define FD_INCEPTION_CLASSES 1008
/* sFID compares the first channels of Mixed_6d, which are those of its 1x1 branch, pixel by pixel: [17][17][7]. */
#define FD_INCEPTION_SPATIAL_CHANNELS 7
#define FD_INCEPTION_SPATIAL_SIDE 17
#define FD_INCEPTION_SPATIAL (FD_INCEPTION_SPATIAL_SIDE * FD_INCEPTION_SPATIAL_SIDE * FD_INCEPTION_SPATIAL_CHANNELS)

/* Places whose values tests compare: outputs of the two first pools and of every block. */
typedef enum {
    FD_INCEPTION_POOL1, FD_INCEPTION_POOL2, FD_INCEPTION_5B, FD_INCEPTION_5C, FD_INCEPTION_5D, FD_INCEPTION_6A,
    FD_INCEPTION_6B, FD_INCEPTION_6C, FD_INCEPTION_6D, FD_INCEPTION_6E, FD_INCEPTION_7A, FD_INCEPTION_7B,
    FD_INCEPTION_7C, FD_INCEPTION_TAPS
} fd_inception_tap;
typedef struct { fd_val v[FD_INCEPTION_TAPS]; } fd_inception_taps;

/* x [N,3,299,299] f32 in [-1, 1] → features [N,2048,1,1] f32 and, folded, logits [N,1008,1,1] = fc.weight · features:
 * without fc.bias, as the Inception score has always been computed. taps may be NULL.
 * folded: the set holds <module>.conv.weight and <module>.conv.bias, filled by fd_inception_fold. Else it holds the tensors
 * of the file, and the recorded graph serves only to declare them: it has no batch norms and no logits. */
fd_status fd_inception_build(fd_nn *nn, bool folded, fd_val x, fd_val *features, fd_val *logits,
                             fd_inception_taps *taps);
/* from: the file's tensors, to: the folded set, frozen. NUMERIC if a variance is negative or no number. */
fd_status fd_inception_fold(fd_ctx *ctx, const fd_params *from, fd_params *to);

#endif
