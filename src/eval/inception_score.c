#include "eval/inception_score.h"

#include <math.h>

#include "base/arena.h"

/* Log-softmax of one row in double. */
static void log_softmax(const float *z, int c, double *out) {
    double top = z[0], sum = 0;
    for (int k = 1; k < c; k++) top = fmax(top, z[k]);
    for (int k = 0; k < c; k++) sum += exp(z[k] - top);
    for (int k = 0; k < c; k++) out[k] = z[k] - top - log(sum);
}

/* exp( mean over rows of  sum_k p_k log p_k  -  sum_k q_k log q_k ),  q the mean of p: one pass is enough */
static double split_score(const float *z, int64_t rows, int c, double *lp, double *q) {
    double plogp = 0, qlogq = 0;
    for (int k = 0; k < c; k++) q[k] = 0;
    for (int64_t i = 0; i < rows; i++) {
        log_softmax(z + i * c, c, lp);
        for (int k = 0; k < c; k++) {
            double p = exp(lp[k]);
            q[k] += p / (double)rows;
            plogp += p * lp[k] / (double)rows;
        }
    }
    for (int k = 0; k < c; k++)
        if (q[k] > 0) qlogq += q[k] * log(q[k]);
    return exp(plogp - qlogq);
}

fd_status fd_inception_score(fd_ctx *ctx, const float *logits, int64_t n, int classes, int splits, double *mean,
                             double *std, double *values) {
    if (splits < 1 || splits > n || classes < 1 || classes > 65536)
        return FD_FAIL(ctx, FD_E_ARG, "inception score: %d splits of %lld samples with %d classes", splits,
                       (long long)n, classes);
    for (int64_t i = 0; i < n * classes; i++)
        if (!isfinite(logits[i]))
            return FD_FAIL(ctx, FD_E_NUMERIC, "inception score: sample %lld, logit %d is %g",
                           (long long)(i / classes), (int)(i % classes), logits[i]);
    double *lp = fd_alloc(ctx, (size_t)(2 * (int64_t)classes + splits) * sizeof *lp);
    if (!lp) return FD_E_NOMEM;
    double *q = lp + classes, *v = q + classes, sum = 0, sq = 0;
    for (int s = 0; s < splits; s++) {
        int64_t from = s * n / splits, to = (s + 1) * n / splits;
        v[s] = split_score(logits + from * classes, to - from, classes, lp, q);
        sum += v[s];
        if (values) values[s] = v[s];
    }
    *mean = sum / splits;
    for (int s = 0; s < splits; s++) sq += (v[s] - *mean) * (v[s] - *mean);
    *std = sqrt(sq / splits);
    fd_free(lp);
    return FD_OK;
}
