#include "eval/prdc.h"

#include <float.h>
#include <math.h>

#include "base/arena.h"
#include "base/interrupt.h"

#define K_MAX 64

static double square_distance(const double *a, const double *b, int d) {
    double lane[8] = {0};
    int i = 0;
    for (; i + 8 <= d; i += 8)
        for (int k = 0; k < 8; k++) lane[k] += (a[i + k] - b[i + k]) * (a[i + k] - b[i + k]);
    for (int k = 0; i < d; i++, k++) lane[k] += (a[i] - b[i]) * (a[i] - b[i]);
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

/* Squared distance of every sample to its k-th nearest other one. */
static void radii(const double *x, int64_t n, int d, int k, double *out) {
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t i = 0; i < n; i++) {
        if (fd_interrupted()) continue;              /* minutes for many samples */
        double near[K_MAX];                          /* ascending */
        for (int q = 0; q < k; q++) near[q] = DBL_MAX;
        for (int64_t j = 0; j < n; j++) {
            if (j == i) continue;
            double s = square_distance(x + i * d, x + j * d, d);
            if (s >= near[k - 1]) continue;
            int q = k - 1;
            for (; q > 0 && near[q - 1] > s; q--) near[q] = near[q - 1];
            near[q] = s;
        }
        out[i] = near[k - 1];
    }
}

static bool inside(double s, double radius, bool strict) { return strict ? s < radius : s <= radius; }

static void compare(const double *x, int64_t nx, const double *y, int64_t ny, int d, int k, bool strict,
                    const double *rx, const double *ry, fd_prdc_result *out) {
    int64_t recalled = 0, covered = 0, precise = 0, balls = 0;
#pragma omp parallel for schedule(dynamic, 16) reduction(+ : recalled, covered)
    for (int64_t i = 0; i < nx; i++) {
        if (fd_interrupted()) continue;
        bool in_y = false, has = false;
        for (int64_t j = 0; j < ny; j++) {
            double s = square_distance(x + i * d, y + j * d, d);
            in_y |= inside(s, ry[j], strict);
            has |= inside(s, rx[i], strict);
        }
        recalled += in_y;
        covered += has;
    }
#pragma omp parallel for schedule(dynamic, 16) reduction(+ : precise, balls)
    for (int64_t j = 0; j < ny; j++) {
        if (fd_interrupted()) continue;
        int64_t mine = 0;
        for (int64_t i = 0; i < nx; i++) mine += inside(square_distance(x + i * d, y + j * d, d), rx[i], strict);
        precise += mine > 0;
        balls += mine;
    }
    *out = (fd_prdc_result){.precision = (double)precise / (double)ny, .recall = (double)recalled / (double)nx,
                            .density = (double)balls / ((double)ny * k), .coverage = (double)covered / (double)nx};
}

static fd_status run(fd_ctx *ctx, fd_arena *arena, const float *fx, const double *gx, int64_t nx, const float *fy,
                     const double *gy, int64_t ny, int d, int k, bool strict, fd_prdc_result *out) {
    double *x, *y, *rx, *ry;
    FD_NEW(ctx, arena, x, fd_mul_size((size_t)nx, (size_t)d));
    FD_NEW(ctx, arena, y, fd_mul_size((size_t)ny, (size_t)d));
    FD_NEW(ctx, arena, rx, nx);
    FD_NEW(ctx, arena, ry, ny);
    for (int64_t i = 0; i < nx * d; i++) x[i] = fx ? fx[i] : gx[i];
    for (int64_t i = 0; i < ny * d; i++) y[i] = fy ? fy[i] : gy[i];
    for (int64_t i = 0; i < (nx + ny) * d; i++) {
        double v = i < nx * d ? x[i] : y[i - nx * d];
        if (!isfinite(v))
            return FD_FAIL(ctx, FD_E_NUMERIC, "precision/recall: %s sample %lld has a feature of %g",
                           i < nx * d ? "real" : "generated", (long long)((i < nx * d ? i : i - nx * d) / d), v);
    }
    radii(x, nx, d, k, rx);
    radii(y, ny, d, k, ry);
    compare(x, nx, y, ny, d, k, strict, rx, ry, out);
    if (fd_interrupted()) return FD_FAIL(ctx, FD_E_CANCELLED, "interrupted during precision and recall");
    return FD_OK;
}

static fd_status prdc(fd_ctx *ctx, const float *fx, const double *gx, int64_t nx, const float *fy, const double *gy,
                      int64_t ny, int d, int k, bool strict, fd_prdc_result *out) {
    if (d < 1 || k < 1 || k > K_MAX || nx <= k || ny <= k)
        return FD_FAIL(ctx, FD_E_ARG, "precision/recall: k = %d needs 1 … %d and more than k samples in each set, "
                       "got %lld and %lld of %d features", k, K_MAX, (long long)nx, (long long)ny, d);
    fd_arena arena = {0};
    fd_status s = run(ctx, &arena, fx, gx, nx, fy, gy, ny, d, k, strict, out);
    fd_arena_free(&arena);
    return s;
}

fd_status fd_prdc(fd_ctx *ctx, const float *x, int64_t nx, const float *y, int64_t ny, int d, int k, bool strict,
                  fd_prdc_result *out) {
    return prdc(ctx, x, NULL, nx, y, NULL, ny, d, k, strict, out);
}

fd_status fd_prdc_double(fd_ctx *ctx, const double *x, int64_t nx, const double *y, int64_t ny, int d, int k,
                         bool strict, fd_prdc_result *out) {
    return prdc(ctx, NULL, x, nx, NULL, y, ny, d, k, strict, out);
}
