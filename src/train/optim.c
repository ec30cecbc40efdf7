/* optim.c — see optim.h. The work is cut into pieces that stay in the first-level cache, so that an average of the
 * weights costs no second trip to memory. Compiled with -ffp-contract=off. */
#include "train/optim.h"

#include <float.h>
#include <math.h>

#define PIECE 2048                /* elements; 6 arrays of 8 KiB */
#define SLICES 256                /* of a range, for sums */
#define PARALLEL_FROM (1 << 15)   /* below this a thread team costs more than it saves */

static void adam_piece(int64_t n, float *restrict w, const float *restrict g, float *restrict m, float *restrict v,
                       float scale, float keep, float b1, float a1, float b2, float a2, float root, float eps,
                       float step) {
    for (int64_t i = 0; i < n; i++) {
        float x = g[i] * scale;
        m[i] = m[i] * b1 + x * a1;
        v[i] = v[i] * b2 + a2 * x * x;
        w[i] = w[i] * keep + step * m[i] / (sqrtf(v[i]) / root + eps);
    }
}

static void ema_piece(int64_t n, const float *restrict w, float *restrict a, float rate) {
    for (int64_t i = 0; i < n; i++) a[i] += (w[i] - a[i]) * rate;
}

fd_adam_factors fd_adam_factors_of(const fd_adam *o, int64_t n, double grad_scale) {
    return (fd_adam_factors){.scale = (float)grad_scale, .keep = (float)(1.0 - o->lr * o->weight_decay), .b1 = (float)o->beta1,
                             .a1 = (float)(1.0 - o->beta1), .b2 = (float)o->beta2, .a2 = (float)(1.0 - o->beta2),
                             .root = (float)sqrt(1.0 - pow(o->beta2, (double)n)), .eps = (float)o->eps,
                             .step = (float)(-o->lr / (1.0 - pow(o->beta1, (double)n)))};
}

void fd_adamw_step(const fd_adam *o, int64_t n, const fd_range *ranges, int n_ranges, float *w,
                   const float *g, float *m, float *v, double grad_scale, const fd_ema *emas, int n_emas) {
    const fd_adam_factors f = fd_adam_factors_of(o, n, grad_scale);
    for (int r = 0; r < n_ranges; r++) {
        int64_t pieces = (ranges[r].length + PIECE - 1) / PIECE;
#pragma omp parallel for schedule(static) if (ranges[r].length >= PARALLEL_FROM)
        for (int64_t p = 0; p < pieces; p++) {
            int64_t at = ranges[r].offset + p * PIECE, left = ranges[r].length - p * PIECE;
            int64_t len = left < PIECE ? left : PIECE;
            adam_piece(len, w + at, g + at, m + at, v + at, f.scale, f.keep, f.b1, f.a1, f.b2, f.a2, f.root, f.eps,
                       f.step);
            for (int k = 0; k < n_emas; k++) ema_piece(len, w + at, emas[k].a + at, (float)(1.0 - emas[k].beta));
        }
    }
}

void fd_ema_update(const fd_range *ranges, int n_ranges, const float *w, float *a, double beta) {
    for (int r = 0; r < n_ranges; r++) {
        int64_t pieces = (ranges[r].length + PIECE - 1) / PIECE;
#pragma omp parallel for schedule(static) if (ranges[r].length >= PARALLEL_FROM)
        for (int64_t p = 0; p < pieces; p++) {
            int64_t at = ranges[r].offset + p * PIECE, left = ranges[r].length - p * PIECE;
            ema_piece(left < PIECE ? left : PIECE, w + at, a + at, (float)(1.0 - beta));
        }
    }
}

/* Eight running sums keep the loop free of a serial chain and fix the order of addition. */
static double square_sum(int64_t n, const float *g) {
    double lane[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) lane[k] += (double)g[i + k] * (double)g[i + k];
    for (int k = 0; i < n; i++, k++) lane[k] += (double)g[i] * (double)g[i];
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

fd_grad_stats fd_grad_measure(const fd_range *ranges, int n_ranges, const float *g) {
    fd_grad_stats s = {.first_nonfinite = -1};
    double total = 0;
    for (int r = 0; r < n_ranges; r++) {
        const float *x = g + ranges[r].offset;
        int64_t n = ranges[r].length, slice = (n + SLICES - 1) / SLICES;
        double part[SLICES];
#pragma omp parallel for schedule(static) if (n >= PARALLEL_FROM)
        for (int k = 0; k < SLICES; k++) {
            int64_t from = k * slice, to = from + slice < n ? from + slice : n;
            part[k] = from < to ? square_sum(to - from, x + from) : 0;
        }
        for (int k = 0; k < SLICES; k++) {
            total += part[k];
            if (isfinite(part[k])) continue;        /* squares of finite floats are finite in double */
            int64_t from = k * slice, to = from + slice < n ? from + slice : n;
            for (int64_t i = from; i < to; i++)
                if (!isfinite(x[i])) {
                    if (s.first_nonfinite < 0) s.first_nonfinite = ranges[r].offset + i;
                    s.nonfinite++;
                    s.infinite += isinf(x[i]) != 0;
                }
        }
    }
    s.norm = sqrt(total);
    return s;
}

double fd_clip_factor(double norm, double max_norm) {
    if (!isfinite(norm)) return 0;
    if (max_norm <= 0) return 1;
    return fmin(1.0, max_norm / (norm + 1e-6));
}

void fd_grad_repair(const fd_range *ranges, int n_ranges, float *g) {
    for (int r = 0; r < n_ranges; r++) {
        float *x = g + ranges[r].offset;
        for (int64_t i = 0; i < ranges[r].length; i++)
            if (isnan(x[i])) x[i] = 0;
            else if (isinf(x[i])) x[i] = x[i] > 0 ? FLT_MAX : -FLT_MAX;
    }
}

double fd_ema_beta(double batch, double halflife, double ramp, double seen) {
    if (ramp > 0) halflife = fmin(halflife, ramp * seen);
    return pow(0.5, batch / fmax(halflife, 1e-8));
}
