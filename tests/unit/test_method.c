/* The method without any network: on distributions whose scores and ratios are known in closed form, the weighting
 * path must give the gradient of every divergence, and following it must lower that divergence.
 *
 *   gradient of D_f(p||q) with respect to the generator = -E[ h(r) (score_p - score_q) dG ]
 *
 * Two kinds of check. By quadrature the only error is that of the sums (1e-6 is asked for). With samples drawn from
 * fd_rng and passed through fd_ratio_apply the error is a Monte-Carlo one: the estimate must lie within five of its
 * own standard errors, measured on the same samples, which a right gradient misses once in two million times; numbers
 * are counter-based, so a test that passes once passes always. Negative controls show that a wrong h does miss. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "fdiv/ratio.h"

#define SQRT_2PI 2.5066282746310002

static const fd_divergence *by_name(const char *name) {
    fd_ctx ctx = {0};
    const fd_divergence *d = NULL;
    assert_int_equal(fd_divergence_find(&ctx, name, &d), FD_OK);
    return d;
}

/* The whole weighting path as the trainer runs it, with clamps that do not bite and the normalisations off, so that
 * what comes out is h up to the constant that the training weight leaves out; the constant is put back here. */
static void weights(const fd_divergence *d, const float *logits, const double *t, int n, float *h) {
    fd_ctx ctx = {0};
    fd_ratio r;
    fd_ratio_config c = fd_ratio_defaults();
    c.logit_clamp = 80, c.r_min = 1e-30f, c.r_max = 1e30f;
    c.normalise_bins = c.normalise_h = false;
    assert_int_equal(fd_ratio_init(&ctx, &c, &r), FD_OK);
    assert_int_equal(fd_ratio_apply(&ctx, &r, d, logits, 1, t, n, h, NULL, NULL), FD_OK);
    float constant = (float)(d->h(0) / d->weight(0));
    for (int i = 0; i < n; i++) h[i] *= constant;
}

/* ------------------------------------------------- Gaussian pairs: p = N(0, v), q = N(m, v) ------------------- */

typedef struct { double divergence, slope; } pair;     /* D(m), dD/dm = m/v E_q[h] */

static pair by_quadrature(const fd_divergence *d, double m, double v) {
    pair out = {0, 0};
    double s = sqrt(v), step = s * 1e-3;
    for (int i = -30000; i <= 30000; i++) {
        double x = i * step, l = (m * m - 2 * m * x) / (2 * v), log_q = -(x - m) * (x - m) / (2 * v);
        double q = exp(log_q) / (SQRT_2PI * s) * step;
        if (q == 0) continue;
        out.divergence += d->f(l) * q;
        out.slope += m / v * d->h(l) * q;
    }
    return out;
}

static const double means[] = {0.25, 0.5, 1, 2};

static void gaussian_closed_forms(void **state) {
    for (size_t i = 0; i < FD_COUNT(means); i++) {
        double m = means[i], e = exp(m * m), g = exp(-m * m / 8);
        struct { const char *name; double divergence, slope; } want[] = {
            {"rkl", m * m / 2, m}, {"kl", m * m / 2, m}, {"jf", m * m, 2 * m}, {"sh", 1 - g, m / 4 * g},
            {"neyman", e - 1, 2 * m * e}, {"pearson", e - 1, 2 * m * e}};
        for (size_t k = 0; k < FD_COUNT(want); k++) {
            pair got = by_quadrature(by_name(want[k].name), m, 1);
            assert_true(fabs(got.divergence / want[k].divergence - 1) < 1e-6);
            assert_true(fabs(got.slope / want[k].slope - 1) < 1e-6);
        }
    }
    /* no closed form: published numbers, six decimals */
    static const double js[3][2] = {{.060623, .235263}, {.222843, .397973}, {.673662, .449599}};
    static const double sf[3][2] = {{.064377, .264736}, {.277157, .602027}, {1.326338, 1.550400}};
    for (int i = 0; i < 3; i++) {
        pair a = by_quadrature(by_name("js"), means[i + 1], 1), b = by_quadrature(by_name("sf"), means[i + 1], 1);
        assert_true(fabs(a.divergence - js[i][0]) < 1e-6 && fabs(a.slope - js[i][1]) < 1e-6);
        assert_true(fabs(b.divergence - sf[i][0]) < 1e-6 && fabs(b.slope - sf[i][1]) < 1e-6);
    }
}

/* m/v E_q[h] is the derivative of D, not merely a formula that agrees with a table. */
static void gaussian_slope_is_the_derivative(void **state) {
    for (int i = 0; i < FD_DIVERGENCES; i++)
        for (size_t k = 0; k < FD_COUNT(means); k++) {
            const fd_divergence *d = fd_divergence_at(i);
            double m = means[k], e = 1e-4 * m, v = 1.7;
            double slope = (by_quadrature(d, m + e, v).divergence - by_quadrature(d, m - e, v).divergence) / (2 * e);
            double got = by_quadrature(d, m, v).slope;
            if (!(fabs(got / slope - 1) < 1e-6))
                fail_msg("%s, m = %g: %.9g, differences %.9g", d->name, m, got, slope);
        }
}

enum { SAMPLES = 200000 };
static float logits[SAMPLES], h[SAMPLES];
static double level[SAMPLES], point[SAMPLES][2];

typedef struct { double mean, error; } estimate;       /* error: standard error of the mean */

static estimate average(const double *v, int n) {
    double sum = 0, sq = 0;
    for (int i = 0; i < n; i++) sum += v[i];
    for (int i = 0; i < n; i++) sq += (v[i] - sum / n) * (v[i] - sum / n);
    return (estimate){sum / n, sqrt(sq / n / n)};
}

/* Student G(z) = m + z against the teacher N(0, 1), both noised with level t as in training: x_t = G + t eps. */
static estimate sampled_slope(const fd_divergence *d, double m, double t, int n) {
    static double part[SAMPLES];
    double v = 1 + t * t;
    for (int i = 0; i < n; i++) {
        fd_rng r = {.seed = 17, .purpose = FD_RNG_TEST, .index = (uint64_t)i};
        double x_t = m + fd_rng_normal(&r, 0) + t * fd_rng_normal(&r, 1);
        point[i][0] = x_t;
        level[i] = t;
        logits[i] = (float)((m * m - 2 * m * x_t) / (2 * v));          /* log p_t/q_t: the perfect discriminator */
    }
    weights(d, logits, level, n, h);
    for (int i = 0; i < n; i++) {
        double score_p = -point[i][0] / v, score_q = -(point[i][0] - m) / v;
        part[i] = -h[i] * (score_p - score_q) * 1;                     /* dG/dm = 1 */
    }
    return average(part, n);
}

static void gaussian_by_samples(void **state) {
    for (int i = 0; i < FD_DIVERGENCES; i++)
        for (int k = 0; k < 3; k++) {
            const fd_divergence *d = fd_divergence_at(i);
            double m = (double[]){0.5, 1, 1}[k], t = (double[]){0.1, 0.5, 2}[k];
            estimate got = sampled_slope(d, m, t, SAMPLES);
            double want = by_quadrature(d, m, 1 + t * t).slope;
            /* h = 1 has no variance: what is left is the rounding of floats */
            if (!(fabs(got.mean - want) < 5 * got.error + 2e-7 * want))
                fail_msg("%s, m = %g, t = %g: %.6g +- %.2g, want %.6g", d->name, m, t, got.mean, got.error, want);
            assert_true(got.error < 0.05 * want);                      /* the check has teeth */
        }
}

static bool is_chi_squared(const fd_divergence *d) { return strstr(d->title, "chi-squared") != NULL; }

/* Every other divergence's h must miss; kl and rkl, which share D(m) = m^2/2 here, are the one pair that cannot. */
static void wrong_weights_miss(void **state) {
    double m = 1, t = 0.5;
    for (int i = 0; i < FD_DIVERGENCES; i++)
        for (int k = 0; k < FD_DIVERGENCES; k++) {
            const fd_divergence *right = fd_divergence_at(i), *wrong = fd_divergence_at(k);
            double want = by_quadrature(right, m, 1 + t * t).slope;
            estimate got = sampled_slope(wrong, m, t, 50000);
            bool same = fabs(by_quadrature(wrong, m, 1 + t * t).slope / want - 1) < 1e-6;
            assert_int_equal(same, i == k || (right->constant && !strcmp(wrong->name, "kl")) ||
                                       (wrong->constant && !strcmp(right->name, "kl")) ||
                                       (is_chi_squared(right) && is_chi_squared(wrong)));   /* they mirror each other */
            if (!same && fabs(got.mean - want) <= 5 * got.error)
                fail_msg("h of %s passes for %s", wrong->name, right->name);
        }
}

/* With both normalisations on, as in training, h has mean 1 and keeps the proportions of the exact weights in each
 * bin. */
static void normalised_path_keeps_the_direction(void **state) {
    fd_ctx ctx = {0};
    static float scaled[SAMPLES];
    int n = 20000;
    for (int i = 0; i < FD_DIVERGENCES; i++) {
        const fd_divergence *d = fd_divergence_at(i);
        sampled_slope(d, 0.5, 0.5, n);
        fd_ratio r;
        fd_ratio_config c = fd_ratio_defaults();
        assert_int_equal(fd_ratio_init(&ctx, &c, &r), FD_OK);
        assert_int_equal(fd_ratio_apply(&ctx, &r, d, logits, 1, level, n, scaled, NULL, NULL), FD_OK);
        double sum = 0;
        for (int k = 0; k < n; k++) sum += scaled[k];
        assert_true(fabs(sum / n - 1) < 1e-5);
        /* E_q[r] = 1 makes the bin average 1 up to sampling error, so that h stays near its exact proportions; the
         * few samples cut at r = 0.1 or 20 lie beyond four deviations here. Taken where r is moderate. */
        int first = 0;
        while (fabs(logits[first]) > 0.5) first++;
        for (int k = first; k < n; k++) {
            double ratio = scaled[k] / h[k] / (scaled[first] / h[first]);
            if (fabs(logits[k]) <= 0.5) assert_true(fabs(ratio - 1) < 0.05);
        }
    }
}

/* --------------------------- 2-D mixtures: p has three corners, the student starts elsewhere ------------------ */

enum { K = 3, P = 2 * K };
static const double target[K][2] = {{0, 0.9}, {-0.8, -0.5}, {0.8, -0.5}};
static const double initial[P] = {0.5, 0.5, -0.2, -0.1, 0.3, -1.0};
#define WIDTH 0.8            /* standard deviation of every component of p and q */
#define REACH 6.5
#define STEP 0.1

typedef struct { double log_density, score[2], share[K]; } density;

static density mixture(const double *means_xy, double x, double y) {
    double e[K], top = -1e300, sum = 0;
    density out = {0};
    for (int k = 0; k < K; k++) {
        double dx = x - means_xy[2 * k], dy = y - means_xy[2 * k + 1];
        e[k] = -(dx * dx + dy * dy) / (2 * WIDTH * WIDTH);
        top = fmax(top, e[k]);
    }
    for (int k = 0; k < K; k++) sum += exp(e[k] - top);
    for (int k = 0; k < K; k++) {
        out.share[k] = exp(e[k] - top) / sum;
        out.score[0] -= out.share[k] * (x - means_xy[2 * k]) / (WIDTH * WIDTH);
        out.score[1] -= out.share[k] * (y - means_xy[2 * k + 1]) / (WIDTH * WIDTH);
    }
    out.log_density = top + log(sum / K) - log(2 * M_PI * WIDTH * WIDTH);
    return out;
}

/* D_f by the sum over a grid, and, where grad is given, the gradient formula as the same kind of sum: component k of
 * the student produces the point with share[k], and dG/dmean_k = 1 there. h_of may differ from d, for the negative
 * control. */
static double grid_divergence(const fd_divergence *d, const fd_divergence *h_of, const double *theta, double *grad) {
    double total = 0;
    if (grad) memset(grad, 0, sizeof(double) * P);
    for (double x = -REACH; x <= REACH; x += STEP)
        for (double y = -REACH; y <= REACH; y += STEP) {
            density p = mixture(target[0], x, y), q = mixture(theta, x, y);
            double l = p.log_density - q.log_density, mass = exp(q.log_density) * STEP * STEP;
            total += d->f(l) * mass;
            if (!grad) continue;
            double w = h_of->h(l) * mass;
            for (int k = 0; k < K; k++)
                for (int c = 0; c < 2; c++) grad[2 * k + c] -= w * q.share[k] * (p.score[c] - q.score[c]);
        }
    return total;
}

static void differences(const fd_divergence *d, const double *theta, double *out) {
    for (int k = 0; k < P; k++) {
        double up[P], down[P], e = 1e-4;
        memcpy(up, theta, sizeof up);
        memcpy(down, theta, sizeof down);
        up[k] += e;
        down[k] -= e;
        out[k] = (grid_divergence(d, d, up, NULL) - grid_divergence(d, d, down, NULL)) / (2 * e);
    }
}

static double distance(const double *a, const double *b) {
    double s = 0, n = 0;
    for (int k = 0; k < P; k++) {
        s += (a[k] - b[k]) * (a[k] - b[k]);
        n += b[k] * b[k];
    }
    return sqrt(s / n);
}

static void mixture_gradient_is_exact(void **state) {
    for (int i = 0; i < FD_DIVERGENCES; i++) {
        const fd_divergence *d = fd_divergence_at(i), *wrong = by_name(i == 4 ? "js" : "kl");
        double want[P], got[P];
        differences(d, initial, want);
        grid_divergence(d, d, initial, got);
        if (!(distance(got, want) < 1e-5)) fail_msg("%s: gradient off by %g", d->name, distance(got, want));
        grid_divergence(d, wrong, initial, got);
        assert_true(distance(got, want) > 0.05);                      /* js with the h of kl, and so on, is not it */
    }
}

/* One stochastic gradient as a trainer forms it: draw z, generate, take h from the ratio pipeline, average. */
static void sampled_gradient(const fd_divergence *d, const double *theta, uint64_t seed, int n, double *grad,
                             double *error) {
    static double scores[SAMPLES][2];
    static int component[SAMPLES];
    for (int i = 0; i < n; i++) {
        fd_rng r = {.seed = seed, .purpose = FD_RNG_TEST, .index = (uint64_t)i};
        int k = component[i] = (int)fd_rng_below(&r, 9, K);
        double x = theta[2 * k] + WIDTH * fd_rng_normal(&r, 0), y = theta[2 * k + 1] + WIDTH * fd_rng_normal(&r, 1);
        density p = mixture(target[0], x, y), q = mixture(theta, x, y);
        logits[i] = (float)(p.log_density - q.log_density);
        level[i] = 1;
        for (int c = 0; c < 2; c++) scores[i][c] = p.score[c] - q.score[c];
    }
    weights(d, logits, level, n, h);
    double sq[P] = {0};
    memset(grad, 0, sizeof(double) * P);
    for (int i = 0; i < n; i++)
        for (int c = 0; c < 2; c++) {
            double g = -h[i] * scores[i][c];
            grad[2 * component[i] + c] += g / n;
            sq[2 * component[i] + c] += g * g / n;
        }
    for (int k = 0; k < P; k++)
        if (error) error[k] = sqrt((sq[k] - grad[k] * grad[k]) / n);
}

static void mixture_gradient_by_samples(void **state) {
    for (int i = 0; i < FD_DIVERGENCES; i++) {
        const fd_divergence *d = fd_divergence_at(i), *wrong = by_name(i == 4 ? "js" : "kl");
        double want[P], got[P], error[P], worst = 0;
        differences(d, initial, want);
        sampled_gradient(d, initial, 23, SAMPLES, got, error);
        for (int k = 0; k < P; k++)
            if (!(fabs(got[k] - want[k]) < 5 * error[k]))
                fail_msg("%s, parameter %d: %.6g +- %.2g, want %.6g", d->name, k, got[k], error[k], want[k]);
        sampled_gradient(wrong, initial, 23, SAMPLES, got, error);
        for (int k = 0; k < P; k++) worst = fmax(worst, fabs(got[k] - want[k]) / error[k]);
        assert_true(worst > 10);
    }
}

/* Descent: 60 stochastic steps of 1,000 samples each. Steps have length 0.08, shortened to nothing towards the end,
 * so that one setting serves divergences whose gradients differ by a factor of 50. The divergence, by quadrature,
 * must fall from every tenth step to the next and end below 1 % of where it began; uphill it must rise. */
static void mixture_descends(void **state) {
    for (int i = 0; i < FD_DIVERGENCES; i++) {
        const fd_divergence *d = fd_divergence_at(i);
        double theta[P], grad[P];
        memcpy(theta, initial, sizeof theta);
        double first = grid_divergence(d, d, theta, NULL), last = first;
        for (int n = 1; n <= 60; n++) {
            sampled_gradient(d, theta, 100 + (uint64_t)n, 1000, grad, NULL);
            double length = 0;
            for (int k = 0; k < P; k++) length += grad[k] * grad[k];
            double step = 0.08 * (1 - (n - 1) / 60.0) / sqrt(length);
            for (int k = 0; k < P; k++) theta[k] -= step * grad[k];
            if (n % 10) continue;
            double now = grid_divergence(d, d, theta, NULL);
            print_message("%-8s step %2d  D = %.5f\n", d->name, n, now);
            assert_true(now < last);
            last = now;
        }
        assert_true(last < 0.01 * first);
        sampled_gradient(d, initial, 100, 1000, grad, NULL);
        for (int k = 0; k < P; k++) theta[k] = initial[k] + 0.05 * grad[k] / fabs(grad[0]);
        assert_true(grid_divergence(d, d, theta, NULL) > first);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gaussian_closed_forms), cmocka_unit_test(gaussian_slope_is_the_derivative),
        cmocka_unit_test(gaussian_by_samples), cmocka_unit_test(wrong_weights_miss),
        cmocka_unit_test(normalised_path_keeps_the_direction), cmocka_unit_test(mixture_gradient_is_exact),
        cmocka_unit_test(mixture_gradient_by_samples), cmocka_unit_test(mixture_descends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
