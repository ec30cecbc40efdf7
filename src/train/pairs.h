/* pairs.h — noise, and the image that the teacher's own sampler makes of it.
 *
 * A student that is first drawn towards such images starts with the teacher's modes in the teacher's shares, which the
 * method corrects slowly; DMD and DMD2 (arXiv 2311.18828, 2405.14867) use pairs so. A pair is a seed: its latents and class are
 * those of generated images (base/rng.h), from seeds that nobody generates with. */
#ifndef FD_TRAIN_PAIRS_H
#define FD_TRAIN_PAIRS_H

#include "train/job.h"
#include "train/sampler.h"

typedef struct {
    int64_t rounds;               /* batches until they come again                             */
    int mine, label_dim;
    int64_t first, batch, pixels; /* this rank's are first … first + mine - 1 of every batch   */
    uint64_t seed;                /* of pair 0                                                 */
    uint8_t *images;              /* [rounds][mine][C][R][R]                                   */
    int *classes;                 /* [rounds][mine]                                            */
    fd_arena arena;
} fd_pairs;

/* At least n pairs, a whole number of batches; a rank makes its own. The same bits for any batch of the denoiser and any
 * number of ranks. CANCELLED after a signal. Owner: the caller, until _free, after a failure too. */
fd_status fd_pairs_make(fd_ctx *ctx, fd_denoiser *teacher, const fd_sampler *s, int64_t n, int batch, const fd_share *share,
                        uint64_t seed, fd_pairs *out);
void fd_pairs_free(fd_pairs *p);                     /* safe on {0} */
/* Batch `iteration` (they come again after the last): latents z and images in [-1, 1], [mine,C,R,R]; labels
 * [mine,label_dim] (NULL without). */
void fd_pairs_batch(const fd_pairs *p, int64_t iteration, float *z, float *labels, float *images);

#endif
