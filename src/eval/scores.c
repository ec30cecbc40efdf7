#include "eval/scores.h"

#include <string.h>

#include "eval/inception_score.h"

static const struct { const char *word; fd_score score; } words[] = {
    {"fd", FD_SCORE_FD}, {"fid", FD_SCORE_FD}, {"kid", FD_SCORE_KID}, {"prdc", FD_SCORE_PRDC}, {"is", FD_SCORE_IS},
    {"fd-infinity", FD_SCORE_FD_INFINITY}, {"fid-infinity", FD_SCORE_FD_INFINITY}, {"sfd", FD_SCORE_SPATIAL},
    {"sfid", FD_SCORE_SPATIAL}};

fd_status fd_score_parse(fd_ctx *ctx, const char *list, unsigned *out) {
    *out = 0;
    for (const char *at = list;;) {
        size_t n = strcspn(at, ","), i = 0;
        while (i < FD_COUNT(words) && (strlen(words[i].word) != n || strncmp(words[i].word, at, n))) i++;
        if (i == FD_COUNT(words))
            return FD_FAIL(ctx, FD_E_ARG, "--metrics: '%.*s' is none; there are " FD_SCORE_WORDS, (int)(n < 40 ? n : 40),
                           at);
        *out |= words[i].score;
        if (!at[n]) return FD_OK;
        at += n + 1;
    }
}

static fd_status check(fd_ctx *ctx, unsigned which, const fd_measured *mine, const fd_reference *ref) {
    if (fd_score_needs_reference(which) && !ref) return FD_FAIL(ctx, FD_E_ARG, "scores: a reference is needed");
    if ((fd_score_needs_features(which) && !mine->stats.features) || (which & FD_SCORE_IS && !mine->logits) ||
        (fd_score_needs_real_features(which) && !ref->features))
        return FD_FAIL(ctx, FD_E_ARG, "scores: the features or logits of the single pictures are needed");
    if (ref && ref->d != mine->stats.d)
        return FD_FAIL(ctx, FD_E_SHAPE, "scores: %d features against %d", mine->stats.d, ref->d);
    if (which & FD_SCORE_SPATIAL && (!mine->stats.ds || mine->stats.ds != ref->ds))
        return FD_FAIL(ctx, FD_E_ARG, "scores: %d spatial features against %d", mine->stats.ds, ref->ds);
    return FD_OK;
}

fd_status fd_scores_compute(fd_ctx *ctx, const fd_score_spec *spec, const fd_measured *mine, const fd_reference *ref,
                            fd_scores *out) {
    const fd_reference *m = &mine->stats;
    const unsigned which = spec->which;
    const float *fake = m->features, *real = ref ? ref->features : NULL;
    const int64_t n = m->nfeatures, nreal = ref ? ref->nfeatures : 0;
    *out = (fd_scores){.kid = 0};
    FD_TRY(check(ctx, which, mine, ref));
    if (which & FD_SCORE_FD) FD_TRY(fd_frechet(ctx, m->d, m->mu, m->sigma, ref->mu, ref->sigma, &out->fd));
    if (which & FD_SCORE_SPATIAL)
        FD_TRY(fd_frechet(ctx, m->ds, m->mu_s, m->sigma_s, ref->mu_s, ref->sigma_s, &out->spatial));
    if (which & FD_SCORE_KID) {
        FD_TRY(fd_kid(ctx, real, nreal, fake, n, m->d, &out->kid));
        FD_TRY(fd_kid_random(ctx, real, nreal, fake, n, m->d, spec->kid_subsets, spec->kid_size, spec->seed,
                             &out->kid_subsets));
    }
    if (which & FD_SCORE_PRDC)
        FD_TRY(fd_prdc(ctx, real, nreal, fake, n, m->d, spec->nearest, false, &out->prdc));
    if (which & FD_SCORE_IS)
        FD_TRY(fd_inception_score(ctx, mine->logits, m->from.n, mine->classes, spec->splits, &out->is_mean,
                                  &out->is_std, NULL));
    if (which & FD_SCORE_FD_INFINITY) FD_TRY(fd_infinity(ctx, fake, n, ref, spec->seed, &out->infinity));
    return FD_OK;
}
