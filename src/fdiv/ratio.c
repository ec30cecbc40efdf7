#include "fdiv/ratio.h"

#include <math.h>
#include <string.h>

static const char *const spacing_names[] = {"sigma", "log-sigma", "quantile"};

fd_status fd_spacing_find(fd_ctx *ctx, const char *name, fd_spacing *out) {
    for (int i = 0; i < (int)FD_COUNT(spacing_names); i++)
        if (name && !strcmp(name, spacing_names[i])) {
            *out = (fd_spacing)i;
            return FD_OK;
        }
    return FD_FAIL(ctx, FD_E_ARG, "bin spacing '%s' is unknown: choose sigma, log-sigma or quantile",
                   name ? name : "");
}

const char *fd_spacing_name(fd_spacing s) {
    return (unsigned)s < FD_COUNT(spacing_names) ? spacing_names[s] : "?";
}

fd_ratio_config fd_ratio_defaults(void) {
    return (fd_ratio_config){.logit_clamp = 10, .r_min = 0.1, .r_max = 20, .bins = 10, .spacing = FD_SPACING_SIGMA,
                             .ema = 0, .t_min = 0.002, .t_max = 80, .rho = 7,
                             .normalise_bins = true, .normalise_h = true};
}

fd_status fd_ratio_init(fd_ctx *ctx, const fd_ratio_config *c, fd_ratio *r) {
    /* written as "not (good)", so that NaN is refused too */
    if (!(c->bins >= 1 && c->bins <= FD_RATIO_BINS_MAX))
        return FD_FAIL(ctx, FD_E_ARG, "ratio bins: %d is not in 1 … %d", c->bins, FD_RATIO_BINS_MAX);
    if (!(c->ema >= 0 && c->ema < 1))
        return FD_FAIL(ctx, FD_E_ARG, "ratio ema: %g is not in [0, 1)", c->ema);
    if (!(c->logit_clamp > 0 && c->logit_clamp <= 80))
        return FD_FAIL(ctx, FD_E_ARG, "ratio logit clamp: %g is not in (0, 80]", c->logit_clamp);
    if (!(c->r_min > 0 && c->r_min < c->r_max && isfinite(c->r_max)))
        return FD_FAIL(ctx, FD_E_ARG, "ratio clamp: need 0 < r_min < r_max, got %g and %g", c->r_min, c->r_max);
    if (!(c->t_min > 0 && c->t_min < c->t_max && isfinite(c->t_max)))
        return FD_FAIL(ctx, FD_E_ARG, "ratio bins: need 0 < t_min < t_max, got %g and %g", c->t_min, c->t_max);
    if (!(c->rho > 0))
        return FD_FAIL(ctx, FD_E_ARG, "ratio bins: rho must be above 0, got %g", c->rho);
    if ((unsigned)c->spacing >= FD_COUNT(spacing_names))
        return FD_FAIL(ctx, FD_E_ARG, "ratio bins: spacing %d is unknown", (int)c->spacing);

    *r = (fd_ratio){.config = *c};
    fd_polynomial p;
    if (c->spacing == FD_SPACING_QUANTILE) fd_polynomial_init(&p, c->t_min, c->t_max, c->rho);
    for (int k = 0; k <= c->bins; k++) {
        double q = (double)k / c->bins;
        r->edges[k] = c->spacing == FD_SPACING_SIGMA ? c->t_min + q * (c->t_max - c->t_min)
                      : c->spacing == FD_SPACING_LOG_SIGMA ? c->t_min * pow(c->t_max / c->t_min, q)
                                                           : fd_polynomial_quantile(&p, q);
    }
    for (int k = 0; k < c->bins; k++) r->bins[k] = 1;
    return FD_OK;
}

static int clamp_bin(double x, int bins) {
    return x < 0 ? 0 : x >= bins ? bins - 1 : (int)x;
}

int fd_ratio_bin(const fd_ratio *r, double t) {
    const fd_ratio_config *c = &r->config;
    /* the published arithmetic, so that a t on an edge falls as it does there */
    if (c->spacing == FD_SPACING_SIGMA)
        return clamp_bin(floor((t - c->t_min) / ((c->t_max - c->t_min) / c->bins)), c->bins);
    int k = 0;
    while (k < c->bins - 1 && t >= r->edges[k + 1]) k++;
    return k;
}

static float clampf(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

/* Mean over the heads, in the order of the heads. */
static float head_mean(const float *logits, int heads) {
    float s = 0;
    for (int k = 0; k < heads; k++) s += logits[k];
    return s / (float)heads;
}

fd_status fd_ratio_apply(fd_ctx *ctx, fd_ratio *r, const fd_divergence *d, const float *logits, int heads,
                         const double *t, int64_t n, float *h, const fd_ratio_stages *stages, fd_ratio_stats *stats) {
    const fd_ratio_config *c = &r->config;
    fd_ratio_stages none = {0}, s = stages ? *stages : none;
    if (n < 1 || heads < 1)
        return FD_FAIL(ctx, FD_E_SHAPE, "ratio: %lld samples and %d heads, need at least one of each", (long long)n,
                       heads);
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(head_mean(logits + i * heads, heads)) || !isfinite(t[i]))
            return FD_FAIL(ctx, FD_E_NUMERIC, "ratio: sample %lld has logit %g at t = %g: the discriminator has "
                           "diverged", (long long)i, head_mean(logits + i * heads, heads), t[i]);

    /* stage 1, sample by sample; h holds the clamped r for the moment */
    double sum[FD_RATIO_BINS_MAX] = {0}, logit_sum = 0, logit_sq = 0, r_sum = 0;
    int64_t count[FD_RATIO_BINS_MAX] = {0}, low = 0, high = 0;
    const float clamp = (float)c->logit_clamp, r_min = (float)c->r_min, r_max = (float)c->r_max;
    double shift = head_mean(logits, heads);               /* keeps the variance free of cancellation */
    for (int64_t i = 0; i < n; i++) {
        float mean = head_mean(logits + i * heads, heads);
        float l = clampf(mean, -clamp, clamp);
        float raw = expf(l), kept = clampf(raw, r_min, r_max);
        int k = fd_ratio_bin(r, t[i]);
        sum[k] += kept;
        count[k]++;
        r_sum += kept;
        low += raw < r_min || mean < -clamp;
        high += raw > r_max || mean > clamp;
        logit_sum += mean - shift;
        logit_sq += (mean - shift) * (mean - shift);
        h[i] = kept;
        if (s.l_mean) s.l_mean[i] = mean;
        if (s.l_clamped) s.l_clamped[i] = l;
        if (s.r_exp) s.r_exp[i] = raw;
        if (s.r_clamped) s.r_clamped[i] = kept;
        if (s.bin_index) s.bin_index[i] = k;
    }

    /* stage 2: bins without samples keep their average */
    for (int k = 0; k < c->bins; k++)
        if (count[k]) {
            r->bins[k] = (float)(c->ema * (double)r->bins[k] + (1.0 - c->ema) * sum[k] / ((double)count[k] + 1e-6));
            r->seen[k] += count[k];
        }

    /* stages 3 and 4 */
    double h_sum = 0;
    for (int64_t i = 0; i < n; i++) {
        float rn = c->normalise_bins ? h[i] / (r->bins[fd_ratio_bin(r, t[i])] + 1e-6f) : h[i];
        h[i] = d->constant ? 1.0f : d->weight_r(rn);
        h_sum += h[i];
        if (s.r_normalised) s.r_normalised[i] = rn;
        if (s.h_raw) s.h_raw[i] = h[i];
    }
    if (!d->constant && c->normalise_h) {
        float mean = (float)(h_sum / (double)n) + 1e-6f;
        for (int64_t i = 0; i < n; i++) h[i] /= mean;
    }

    if (stats) {
        double m = logit_sum / (double)n, hs = 0, hq = 0;
        *stats = (fd_ratio_stats){.h_min = h[0], .h_max = h[0], .r_mean = r_sum / (double)n,
                                  .clip_low = (double)low / (double)n, .clip_high = (double)high / (double)n,
                                  .logit_mean = shift + m,
                                  .logit_std = sqrt(fmax(0, logit_sq / (double)n - m * m))};
        for (int64_t i = 0; i < n; i++) {
            hs += h[i];
            stats->h_min = fmin(stats->h_min, h[i]);
            stats->h_max = fmax(stats->h_max, h[i]);
        }
        stats->h_mean = hs / (double)n;
        for (int64_t i = 0; i < n; i++) hq += (h[i] - stats->h_mean) * (h[i] - stats->h_mean);
        stats->h_std = sqrt(hq / (double)n);
        memcpy(stats->count, count, sizeof count);
    }
    return FD_OK;
}
