/* sprites.c — see sprites.h. Compiled with -ffp-contract=off. */
#include "io/sprites.h"

#include <math.h>

#include "base/formula.h"

#define GAMMA 0x9E3779B97F4A7C15u
#define SQRT_HALF 0.70710678118654752440
#define RES_MAX 1024

const char *const fd_sprite_class_names[FD_SPRITE_CLASSES] = {"disc", "ring", "square", "diamond", "triangle",
                                                              "cross", "ex", "heart", "star", "crescent"};
const char *const fd_sprite_hue_names[FD_SPRITE_HUES] = {"red",  "orange", "yellow", "green",
                                                           "teal", "blue",   "violet", "pink"};
const double fd_sprite_colours[FD_SPRITE_HUES][3] = {
    {.90, .20, .24}, {.97, .55, .13}, {.98, .83, .20}, {.27, .72, .33},
    {.12, .72, .74}, {.18, .42, .92}, {.56, .32, .86}, {.97, .47, .72}};
const double fd_sprite_backgrounds[2][3] = {{.09, .10, .16}, {.96, .94, .88}};

static double rank_mass(int rank) {
    double p = 1, sum = 0, mine = 0;
    for (int k = 0; k < FD_SPRITE_HUES; k++, p *= 0.6) {
        sum += p;
        if (k == rank) mine = p;
    }
    return mine / sum;
}

double fd_sprite_mode_mass(int mode) {
    return rank_mass(mode / 4) * (mode & 2 ? 0.3 : 0.7) * (mode & 1 ? 0.3 : 0.7);
}

void fd_sprite_attributes(uint64_t seed, uint64_t index, fd_sprite *out) {
    uint64_t key = fd_splitmix64(seed);
    double u[6];
    for (unsigned j = 0; j < 6; j++)
        u[j] = (double)(fd_splitmix64_finalise(key + (16 * index + j + 1) * GAMMA) >> 40) / 16777216.0;
    *out = (fd_sprite){.cls = (int)(index % FD_SPRITE_CLASSES), .light = u[1] >= 0.7, .small = u[2] >= 0.7,
                       .x = (2 * u[3] - 1) * FD_SPRITE_JITTER, .y = (2 * u[4] - 1) * FD_SPRITE_JITTER,
                       .degrees = (2 * u[5] - 1) * FD_SPRITE_TURN};
    double reached = 0;
    for (int k = 0; k < FD_SPRITE_HUES - 1; k++) {
        reached += rank_mass(k);
        if (u[0] < reached) break;
        out->rank++;
    }
    out->hue = (out->rank + 3 * out->cls) % FD_SPRITE_HUES;
}

/* Taylor sums; |a| <= 0.22 here, so the first term left out is below 1e-19. */
static void sine_cosine(double a, double *s, double *c) {
    double q = a * a;
    *s = a * (1 + q * (-1 / 6. + q * (1 / 120. + q * (-1 / 5040. + q * (1 / 362880. + q * (-1 / 39916800.))))));
    *c = 1 + q * (-1 / 2. + q * (1 / 24. + q * (-1 / 720. + q * (1 / 40320. +
         q * (-1 / 3628800. + q * (1 / 479001600.))))));
}

static double max2(double a, double b) { return a > b ? a : b; }
static double min2(double a, double b) { return a < b ? a : b; }
static double length(double x, double y) { return sqrt(x * x + y * y); }

static double cross(double x, double y) {
    x = fabs(x), y = fabs(y);
    return min2(max2(x - .30, y - .98), max2(x - .98, y - .30));
}

/* Two lobes over a wedge whose sides touch the lobes at (+-.84, -.035) and meet in a tip at y = .947. The wedge
 * begins inside the lobes, at y = -.5, so that no seam shows. */
static double heart(double x, double y) {
    x = fabs(x);
    double lobe = length(x - .46, y + .36) - .50;
    double side = .76 * x + .6499230723 * y - .6156276939;
    return min2(lobe, max2(max2(side, x - .84), -.50 - y));
}

/* Exact distance to the polygon with corners at radius 1.05 and .50 in turn, the first pointing up. By symmetry only
 * the right half is kept; it has five edges. */
static double star(double x, double y) {
    static const double c36 = 0.80901699437494745, s36 = 0.58778525229247314;
    static const double c72 = 0.30901699437494745, s72 = 0.95105651629515353;
    const double outer = 1.05, inner = .50;
    const double corner[6][2] = {{0, -outer}, {inner * s36, -inner * c36}, {outer * s72, -outer * c72},
                                 {inner * s72, inner * c72}, {outer * s36, outer * c36}, {0, inner}};
    x = fabs(x);
    double best = 1e9;
    bool inside = false;
    for (int k = 0; k < 5; k++) {
        const double *a = corner[k], *b = corner[k + 1];
        double ex = b[0] - a[0], ey = b[1] - a[1], px = x - a[0], py = y - a[1];
        double t = max2(0, min2(1, (px * ex + py * ey) / (ex * ex + ey * ey)));
        best = min2(best, length(px - t * ex, py - t * ey));
        /* a ray to the right crosses this edge */
        if ((a[1] > y) != (b[1] > y) && px < py / ey * ex) inside = !inside;
    }
    return inside ? -best : best;
}

/* Signed distance in the shape's own frame; negative inside. */
static double distance(int cls, double x, double y) {
    switch (cls) {
    case 0: return length(x, y) - .92;
    case 1: return fabs(length(x, y) - .68) - .25;
    case 2: return max2(fabs(x), fabs(y)) - .80;
    case 3: return (fabs(x) + fabs(y) - 1.05) * SQRT_HALF;
    case 4: y -= .15; return max2(y, .86602540378443865 * fabs(x) - .5 * y) - .55;
    case 5: return cross(x, y);
    case 6: return cross((x + y) * SQRT_HALF, (y - x) * SQRT_HALF);
    case 7: return heart(x, y);
    case 8: return star(x, y);
    default: return max2(length(x, y) - .95, .72 - length(x - .42, y));
    }
}

static double coverage_at(const fd_sprite *s, double size, double sine, double cosine, int res, int row, int col) {
    double dx = (2 * col + 1) / (double)res - 1 - s->x, dy = (2 * row + 1) / (double)res - 1 - s->y;
    double x = (cosine * dx + sine * dy) / size, y = (cosine * dy - sine * dx) / size;
    double c = 0.5 - distance(s->cls, x, y) * size * (res * 0.5);
    return c < 0 ? 0 : c > 1 ? 1 : c;
}

void fd_sprite_coverage(const fd_sprite *s, int res, double *out) {
    double sine, cosine;
    sine_cosine(s->degrees * (3.14159265358979324 / 180), &sine, &cosine);
    for (int row = 0; row < res; row++)
        for (int col = 0; col < res; col++)
            out[row * res + col] = coverage_at(s, fd_sprite_size(s->small), sine, cosine, res, row, col);
}

void fd_sprite_draw(const fd_sprite *s, int res, uint8_t *out) {
    double sine, cosine, line[RES_MAX];
    const double *fore = fd_sprite_colours[s->hue], *back = fd_sprite_backgrounds[s->light];
    sine_cosine(s->degrees * (3.14159265358979324 / 180), &sine, &cosine);
    for (int row = 0; row < res; row++) {
        for (int col = 0; col < res; col++)
            line[col] = coverage_at(s, fd_sprite_size(s->small), sine, cosine, res, row, col);
        for (int c = 0; c < 3; c++)
            for (int col = 0; col < res; col++)
                out[((int64_t)c * res + row) * res + col] =
                    (uint8_t)floor(255 * (back[c] + line[col] * (fore[c] - back[c])) + .5);
    }
}

fd_status fd_sprites(fd_ctx *ctx, uint64_t seed, uint64_t first, int64_t n, int res, uint8_t *images,
                     int32_t *labels) {
    if (res < 4 || res > RES_MAX)
        return FD_FAIL(ctx, FD_E_ARG, "sprites: resolution %d is not in 4 … %d", res, RES_MAX);
#pragma omp parallel for schedule(static) if (n > 16)
    for (int64_t i = 0; i < n; i++) {
        fd_sprite s;
        fd_sprite_attributes(seed, first + (uint64_t)i, &s);
        fd_sprite_draw(&s, res, images + i * 3 * res * res);
        if (labels) labels[i] = s.cls;
    }
    return FD_OK;
}
