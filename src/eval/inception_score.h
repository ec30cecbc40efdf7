/* inception_score.h — exp of the mean KL between each prediction and the mean prediction. Salimans et al. 2016. */
#ifndef FD_EVAL_INCEPTION_SCORE_H
#define FD_EVAL_INCEPTION_SCORE_H

#include <stdint.h>

#include "base/err.h"

/* logits [n][classes] before the softmax. Split i holds rows i*n/splits … (i+1)*n/splits - 1; mean and population
 * standard deviation over the splits; values [splits] or NULL. 1 <= splits <= n, classes <= 65536.
 * NUMERIC if a logit is not finite. */
fd_status fd_inception_score(fd_ctx *ctx, const float *logits, int64_t n, int classes, int splits, double *mean,
                             double *std, double *values);

#endif
