#include "train/sampler.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "fdiv/sigma.h"
#include "train/feed.h"

fd_sampler fd_sampler_defaults(void) {
    return (fd_sampler){.steps = 18, .sigma_min = 0.002, .sigma_max = 80, .rho = 7, .s_max = INFINITY, .s_noise = 1};
}

bool fd_is_student(const fd_net *net) { return !strcmp(net->meta.kind, "student") || net->meta.sigma_init > 0; }

fd_sampler fd_sampler_for(const fd_net *net, int steps) {
    const fd_net_meta *m = &net->meta;
    bool student = fd_is_student(net);
    fd_sampler s = fd_sampler_defaults();
    s.steps = steps ? steps : student ? 1 : s.steps;
    if (m->sigma_min > 0) s.sigma_min = m->sigma_min;
    if (m->sigma_max > 0) s.sigma_max = m->sigma_max;
    if (m->rho > 0) s.rho = m->rho;
    if (student && s.steps == 1 && m->sigma_init > 0) s.sigma_max = m->sigma_init;
    return s;
}

int fd_sampler_evaluations(const fd_sampler *s) { return s->solver == FD_HEUN ? 2 * s->steps - 1 : s->steps; }

/* Buffers of one call; all [n][C][R][R]. */
typedef struct {
    fd_denoiser *d;
    const fd_net_config *config;
    const float *labels;
    int n;
    int64_t pixels, total;
    float *in, *out;          /* network's side, float */
    double *slope, *next, *sigma;
    float *before;            /* FD_DPMPP_2M: out of the step before */
} work;

static fd_status denoise(fd_ctx *ctx, work *w, const double *x, double sigma) {
    for (int64_t i = 0; i < w->total; i++) w->in[i] = (float)x[i];
    for (int i = 0; i < w->n; i++) w->sigma[i] = sigma;
    return fd_denoiser_run(ctx, w->d, w->in, w->sigma, w->labels, NULL, w->out);
}

static fd_status slope_at(fd_ctx *ctx, work *w, const double *x, double sigma, double *slope) {
    FD_TRY(denoise(ctx, w, x, sigma));
    for (int64_t i = 0; i < w->total; i++) slope[i] = (x[i] - (double)w->out[i]) / sigma;
    return FD_OK;
}

/* One step of algorithm 2 from level t0 to t1 (t1 = 0: the last, which stays first order). */
static fd_status step(fd_ctx *ctx, const fd_sampler *s, work *w, double t0, double t1, const float *noise, double *x) {
    const double limit = sqrt(2) - 1;
    double gamma = t0 >= s->s_min && t0 <= s->s_max ? fmin(s->s_churn / s->steps, limit) : 0, hat = t0 + gamma * t0;
    if (gamma > 0) {
        hat = fd_precond_round(w->config, hat);
        double add = sqrt(fmax(hat * hat - t0 * t0, 0)) * s->s_noise;
        for (int64_t i = 0; i < w->total; i++) x[i] += add * (double)noise[i];
    }
    FD_TRY(slope_at(ctx, w, x, hat, w->slope));
    double h = t1 - hat;
    for (int64_t i = 0; i < w->total; i++) w->next[i] = x[i] + h * w->slope[i];
    if (t1 > 0 && s->solver == FD_HEUN) {
        double *second = w->next + w->total;
        FD_TRY(slope_at(ctx, w, w->next, t1, second));
        for (int64_t i = 0; i < w->total; i++) w->next[i] = x[i] + h * 0.5 * (w->slope[i] + second[i]);
    }
    memcpy(x, w->next, (size_t)w->total * sizeof *x);
    return FD_OK;
}

/* The same of DPM-Solver++(2M), which integrates exactly in -log sigma what the network says of the image, carried on in a straight
 * line from the level before t0, before. The first step has none (before = 0) and is Euler's; so is the last, to level 0. */
static fd_status multistep(fd_ctx *ctx, work *w, double before, double t0, double t1, double *x) {
    FD_TRY(denoise(ctx, w, x, t0));
    const double left = t1 / t0;               /* of the state; the rest is the image's */
    const double carry = before > 0 && t1 > 0 ? 0.5 * log(t0 / t1) / log(before / t0) : 0;
    for (int64_t i = 0; i < w->total; i++) {
        const double D = (double)w->out[i];
        x[i] = left * x[i] + (1 - left) * (D + carry * (D - (double)w->before[i]));
    }
    memcpy(w->before, w->out, (size_t)w->total * sizeof *w->before);
    return FD_OK;
}

static fd_status sample(fd_ctx *ctx, const fd_sampler *s, work *w, fd_arena *a, const float *latents, const float *noises,
                        double *x, double *trajectory) {
    double *t;
    FD_NEW(ctx, a, w->in, w->total);
    FD_NEW(ctx, a, w->out, w->total);
    FD_NEW(ctx, a, w->slope, w->total);
    FD_NEW(ctx, a, w->next, 2 * w->total);
    FD_NEW(ctx, a, w->sigma, w->n);
    FD_NEW(ctx, a, w->before, w->total);
    FD_NEW(ctx, a, t, s->steps + 1);      /* t[steps] = 0 */
    fd_karras_grid(s->steps, s->sigma_min, s->sigma_max, s->rho, t);
    for (int i = 0; i < s->steps; i++) t[i] = fd_precond_round(w->config, t[i]);
    for (int64_t i = 0; i < w->total; i++) x[i] = (double)latents[i] * t[0];
    if (trajectory) memcpy(trajectory, x, (size_t)w->total * sizeof *x);
    for (int i = 0; i < s->steps; i++) {
        if (s->solver == FD_DPMPP_2M) FD_TRY(multistep(ctx, w, i ? t[i - 1] : 0, t[i], t[i + 1], x));
        else FD_TRY(step(ctx, s, w, t[i], t[i + 1], noises ? noises + i * w->total : NULL, x));
        if (trajectory) memcpy(trajectory + (i + 1) * w->total, x, (size_t)w->total * sizeof *x);
    }
    return FD_OK;
}

fd_status fd_sampler_check(fd_ctx *ctx, const fd_sampler *s) {
    if (s->steps < 1 || s->steps > 10000)
        return FD_FAIL(ctx, FD_E_ARG, "--steps: %d is not in 1…10000", s->steps);
    if (!(s->sigma_min > 0)) return FD_FAIL(ctx, FD_E_ARG, "--sigma_min: %g is not positive", s->sigma_min);
    if (!(s->sigma_max < 1e6)) return FD_FAIL(ctx, FD_E_ARG, "--sigma_max: %g is not below 1e6", s->sigma_max);
    if (!(s->sigma_min < s->sigma_max))
        return FD_FAIL(ctx, FD_E_ARG, "--sigma_min %g is not below --sigma_max %g", s->sigma_min, s->sigma_max);
    if (!(s->rho > 0)) return FD_FAIL(ctx, FD_E_ARG, "--rho: %g is not positive", s->rho);
    if (!(s->s_churn >= 0)) return FD_FAIL(ctx, FD_E_ARG, "--S_churn: %g is negative", s->s_churn);
    if (s->s_churn > 0 && s->solver == FD_DPMPP_2M)
        return FD_FAIL(ctx, FD_E_ARG, "--S_churn: dpmpp_2m draws no noise on its way; use --solver heun or euler");
    return FD_OK;
}

fd_status fd_sample(fd_ctx *ctx, const fd_sampler *s, fd_denoiser *d, const float *latents, const float *labels,
                    const float *noises, double *x, double *trajectory) {
    FD_TRY(fd_sampler_check(ctx, s));
    if (s->s_churn > 0 && !noises) return FD_FAIL(ctx, FD_E_ARG, "sampler: churn needs noise tensors");
    fd_arena a = {0};
    fd_shape shape = fd_denoiser_shape(d);
    work w = {.d = d, .config = &fd_denoiser_net(d)->config, .labels = labels, .n = (int)shape.n,
              .pixels = shape.c * shape.h * shape.w, .total = fd_count(shape)};
    fd_status status = sample(ctx, s, &w, &a, latents, noises, x, trajectory);
    fd_arena_free(&a);
    return status;
}

void fd_to_uint8(const double *x, int64_t n, uint8_t *out) {
    for (int64_t i = 0; i < n; i++) {
        double v = x[i] * 127.5 + 128;
        out[i] = v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)v;   /* a NaN fails both tests: caught by the caller's check */
    }
}

/* ---- seeds ------------------------------------------------------------------------------------------------------- */

typedef struct {
    float *latents, *labels, *noises;
    double *x;
    int *classes;
} batch;

static fd_status fill_batch(fd_ctx *ctx, const fd_sampler *s, const uint64_t *seeds, const int *classes, int n,
                            fd_shape shape, int label_dim, batch *b) {
    int64_t pixels = shape.c * shape.h * shape.w;
    for (int i = 0; i < shape.n; i++) {
        uint64_t seed = seeds[i < n ? i : n - 1];   /* the last batch is filled up with copies that are thrown away */
        int want = classes ? classes[i < n ? i : n - 1] : -1;
        fd_rng latent = {seed, FD_RNG_LATENT, 0}, label = {seed, FD_RNG_CLASS, 0};
        fd_rng_normals(&latent, 0, (size_t)pixels, b->latents + i * pixels);
        for (int k = 0; b->noises && k < s->steps; k++) {
            fd_rng churn = {seed, FD_RNG_CHURN, (uint64_t)k};
            fd_rng_normals(&churn, 0, (size_t)pixels, b->noises + (k * shape.n + i) * pixels);
        }
        if (!label_dim) continue;
        if (want >= label_dim)
            return FD_FAIL(ctx, FD_E_ARG, "--class: %d, but the network has classes 0…%d", want, label_dim - 1);
        b->classes[i] = want >= 0 ? want : (int)fd_rng_below(&label, 0, (uint64_t)label_dim);
        memset(b->labels + (int64_t)i * label_dim, 0, (size_t)label_dim * sizeof(float));
        b->labels[(int64_t)i * label_dim + b->classes[i]] = 1;
    }
    return FD_OK;
}

static fd_status check_finite(fd_ctx *ctx, const double *x, int64_t n, uint64_t seed) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return FD_FAIL(ctx, FD_E_NUMERIC, "seed %llu: the network gave non-finite pixels; are its weights good?",
                           (unsigned long long)seed);
    return FD_OK;
}

static fd_status sample_seeds(fd_ctx *ctx, fd_arena *a, const fd_sampler *s, fd_denoiser *d, const uint64_t *seeds,
                              const int *classes, int64_t n, uint8_t *images, int *used, fd_sample_progress done, void *user) {
    fd_shape shape = fd_denoiser_shape(d);
    int label_dim = fd_denoiser_label_dim(d);
    int64_t pixels = shape.c * shape.h * shape.w;
    batch b = {0};
    FD_NEW(ctx, a, b.latents, fd_count(shape));
    FD_NEW(ctx, a, b.x, fd_count(shape));
    FD_NEW(ctx, a, b.classes, shape.n);
    if (label_dim) FD_NEW(ctx, a, b.labels, shape.n * label_dim);
    if (s->s_churn > 0) FD_NEW(ctx, a, b.noises, fd_count(shape) * s->steps);
    for (int64_t at = 0; at < n; at += shape.n) {
        int m = (int)(n - at < shape.n ? n - at : shape.n);
        FD_TRY(fill_batch(ctx, s, seeds + at, classes ? classes + at : NULL, m, shape, label_dim, &b));
        FD_TRY(fd_sample(ctx, s, d, b.latents, b.labels, b.noises, b.x, NULL));
        for (int i = 0; i < m; i++) {
            FD_TRY(check_finite(ctx, b.x + i * pixels, pixels, seeds[at + i]));
            if (used) used[at + i] = label_dim ? b.classes[i] : -1;
        }
        fd_to_uint8(b.x, m * pixels, images + at * pixels);
        if (done && !done(user, at + m))
            return FD_FAIL(ctx, FD_E_CANCELLED, "generation stopped after %lld images", (long long)(at + m));
    }
    return FD_OK;
}

fd_status fd_sample_seeds(fd_ctx *ctx, const fd_sampler *s, fd_denoiser *d, const uint64_t *seeds, const int *classes,
                          int64_t n, uint8_t *images, int *classes_used, fd_sample_progress done, void *user) {
    fd_arena a = {0};
    fd_status status = sample_seeds(ctx, &a, s, d, seeds, classes, n, images, classes_used, done, user);
    fd_arena_free(&a);
    return status;
}
