#include "train/augment.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/rng.h"

#define TAPS 12
#define BORDER (TAPS / 2)        /* pixels of the source that a result at its edge may still draw from */
/* Low-pass decomposition filter of the wavelet sym6 (Daubechies 1992, table 8.2): sum sqrt 2, length 1, orthogonal to
 * its even shifts. */
static const float sym6[TAPS] = {
    0.015404109327027373f, 0.0034907120842174702f, -0.11799011114819057f,   -0.048311742585633f,
    0.4910559419267466f,   0.787641141030194f,     0.3379294217276218f,     -0.07263752278646252f,
    -0.021060292512300564f, 0.04472490177066578f,  0.0017677118642428036f, -0.007800708325034148f};

/* ---- what is done ------------------------------------------------------------------------------------------------ */

/* Numbers of the uniform draws of a sample. */
enum { XFLIP, XFLIP_GATE, YFLIP, YFLIP_GATE, SCALE_GATE, ANGLE, ANGLE_GATE, STRETCH_GATE, AXIS, AXIS_GATE, SHIFT_GATE };

fd_augment fd_augment_draw(double p, uint64_t seed, uint64_t index) {
    fd_rng u = {seed, FD_RNG_AUGMENT, index}, z = {seed, FD_RNG_AUGMENT_SIZE, index};
    fd_augment a = {0};
    /* EDM multiplies p by 1e8 for this one: half of the images are mirrored whatever p is. */
    a.xflip = fd_rng_uniform(&u, XFLIP_GATE) < 1e8 * p && fd_rng_uniform(&u, XFLIP) < 0.5;
    a.yflip = fd_rng_uniform(&u, YFLIP_GATE) < p && fd_rng_uniform(&u, YFLIP) < 0.5;
    if (fd_rng_uniform(&u, SCALE_GATE) < p) a.scale = fd_rng_normal(&z, 0);
    if (fd_rng_uniform(&u, ANGLE_GATE) < p) a.angle = (2 * fd_rng_uniform(&u, ANGLE) - 1) * M_PI;
    if (fd_rng_uniform(&u, STRETCH_GATE) < p) {
        a.stretch = fd_rng_normal(&z, 1);
        if (fd_rng_uniform(&u, AXIS_GATE) < 0.5) a.axis = (2 * fd_rng_uniform(&u, AXIS) - 1) * M_PI;
    }
    if (fd_rng_uniform(&u, SHIFT_GATE) < p) {
        a.tx = fd_rng_normal(&z, 2);
        a.ty = fd_rng_normal(&z, 3);
    }
    return a;
}

void fd_augment_vector(const fd_augment *a, float out[FD_AUGMENT_DIM]) {
    out[0] = a->xflip;
    out[1] = a->yflip;
    out[2] = (float)a->scale;
    out[3] = (float)(cos(a->angle) - 1);
    out[4] = (float)sin(a->angle);
    out[5] = (float)(a->stretch * cos(a->axis));
    out[6] = (float)(a->stretch * sin(a->axis));
    out[7] = (float)a->tx;
    out[8] = (float)a->ty;
}

typedef struct { double xx, xy, yx, yy; } matrix;      /* (x, y) → (xx x + xy y, yx x + yy y) */

static matrix times(matrix a, matrix b) {
    return (matrix){a.xx * b.xx + a.xy * b.yx, a.xx * b.xy + a.xy * b.yy, a.yx * b.xx + a.yy * b.yx,
                    a.yx * b.xy + a.yy * b.yy};
}

static matrix turn(double angle) { return (matrix){cos(angle), -sin(angle), sin(angle), cos(angle)}; }

void fd_augment_map(const fd_augment *a, int side, double m[2][3]) {
    double scale = exp2(-0.2 * a->scale), stretch = exp2(0.2 * a->stretch);
    matrix g = times((matrix){scale, 0, 0, scale}, turn(a->angle));
    g = times(g, times(times(turn(-a->axis), (matrix){1 / stretch, 0, 0, stretch}), turn(a->axis)));
    double tx = a->tx * side / 8, ty = a->ty * side / 8;
    m[0][0] = g.xx, m[0][1] = g.xy, m[0][2] = -(g.xx * tx + g.xy * ty);
    m[1][0] = g.yx, m[1][1] = g.yy, m[1][2] = -(g.yx * tx + g.yy * ty);
}

/* ---- resampling -------------------------------------------------------------------------------------------------- */

/* Pixels by which the image is continued on each side, by reflection: as far as the mapped corners and the filters
 * reach, at most side - 1. */
typedef struct { int left, right, top, bottom; } margin;

static int reach(double farthest, int side) {
    double want = ceil(farthest + BORDER - (side - 1) / 2.0);
    return want < 0 ? 0 : want > side - 1 ? side - 1 : (int)want;
}

static margin margins(double m[2][3], int side) {
    double c = (side - 1) / 2.0;
    double ex = c * (fabs(m[0][0]) + fabs(m[0][1])), ey = c * (fabs(m[1][0]) + fabs(m[1][1]));
    return (margin){reach(ex - m[0][2], side), reach(ex + m[0][2], side), reach(ey - m[1][2], side),
                    reach(ey + m[1][2], side)};
}

static int reflected(int i, int side) { return i < 0 ? -i : i >= side ? 2 * (side - 1) - i : i; }

/* Doubling a line x of n numbers: y[i] = sum_k sym6[i - 2k + 5] x[k] for i < 2n, x = 0 beyond its ends. So the even
 * and the odd results each take six neighbours: y[2q] those from q - 3 on, y[2q + 1] those from q - 2 on. */
static void doubled_line(const float *restrict x, int n, float *restrict y) {
    for (int q = 0; q < n; q++) {
        float even = 0, odd = 0;
        for (int t = 0; t < BORDER; t++) {
            even += sym6[TAPS - 1 - 2 * t] * x[q - 3 + t];
            odd += sym6[TAPS - 2 - 2 * t] * x[q - 2 + t];
        }
        y[2 * q] = even;
        y[2 * q + 1] = odd;
    }
}

/* A picture of twice the size of the continued image, in a ring of zeros: pixel (x, y) is ring[(y + 1) pitch + x + 1]. */
typedef struct { float *ring; int width, height; size_t pitch; } picture;

static void doubled(const float *image, int side, const margin *e, float *line, float *wide, const picture *to) {
    int nx = to->width / 2, ny = to->height / 2;
    size_t pitch = to->pitch;
    memset(line, 0, BORDER * sizeof *line);
    memset(line + BORDER + nx, 0, BORDER * sizeof *line);
    for (int y = 0; y < side; y++, image += side) {
        for (int x = 0; x < nx; x++) line[BORDER + x] = image[reflected(x - e->left, side)];
        doubled_line(line + BORDER, nx, wide + (size_t)y * pitch);
    }
    memset(to->ring, 0, (size_t)(to->height + 2) * pitch * sizeof *to->ring);
    for (int i = 0; i < to->height; i++) {
        float *restrict row = to->ring + (size_t)(i + 1) * pitch + 1;
        for (int t = 0, k = i / 2 - 3 + i % 2; t < BORDER; t++, k++) {
            if (k < 0 || k >= ny) continue;
            float tap = sym6[TAPS - 1 - i % 2 - 2 * t];
            const float *restrict from = wide + (size_t)reflected(k - e->top, side) * pitch;
            for (int x = 0; x < to->width; x++) row[x] += tap * from[x];
        }
    }
}

/* Bilinear, zero outside; the place counts from the ring's corner. */
static inline float read_at(const picture *p, float x, float y) {
    if (!(x >= 0 && y >= 0 && x < (float)(p->width + 1) && y < (float)(p->height + 1))) return 0;
    int ix = (int)x, iy = (int)y;
    float fx = x - (float)ix, fy = y - (float)iy;
    const float *q = p->ring + (size_t)iy * p->pitch + ix, *r = q + p->pitch;
    float above = q[0] + fx * (q[1] - q[0]), below = r[0] + fx * (r[1] - r[0]);
    return above + fy * (below - above);
}

/* Pixel (2x, 2y) of the doubled picture is pixel (x, y) of the continued image. The result is wanted at twice its own
 * size too, from 5 pixels before its first to 6 after its last. */
static void warped(const picture *from, double m[2][3], int side, const margin *e, float *out) {
    int n = 2 * side + TAPS - 2;
    double c = (side - 1) / 2.0, first = -(TAPS / 2 - 1) / 2.0 - c;
    for (int y = 0; y < n; y++) {
        double v = first + y / 2.0;
        float x0 = (float)(2 * (m[0][0] * first + m[0][1] * v + m[0][2] + c + e->left) + 1);
        float y0 = (float)(2 * (m[1][0] * first + m[1][1] * v + m[1][2] + c + e->top) + 1);
        float dx = (float)m[0][0], dy = (float)m[1][0];
        for (int x = 0; x < n; x++) *out++ = read_at(from, x0 + (float)x * dx, y0 + (float)x * dy);
    }
}

/* Halving: out[r] = sum_k sym6[k] in[2r + k], along x and then along y. */
static void halved(const float *in, int side, float *narrow, float *out) {
    int n = 2 * side + TAPS - 2;
    for (int y = 0; y < n; y++, in += n)
        for (int r = 0; r < side; r++) {
            float sum = 0;
            for (int k = 0; k < TAPS; k++) sum += sym6[k] * in[2 * r + k];
            narrow[(size_t)y * (size_t)side + (size_t)r] = sum;
        }
    for (int r = 0; r < side; r++, out += side) {
        memset(out, 0, (size_t)side * sizeof *out);
        for (int k = 0; k < TAPS; k++) {
            const float *restrict from = narrow + (size_t)(2 * r + k) * (size_t)side;
            for (int x = 0; x < side; x++) out[x] += sym6[k] * from[x];
        }
    }
}

static void resample(const fd_augment *a, int channels, int side, float *image, float *work) {
    double m[2][3];
    fd_augment_map(a, side, m);
    margin e = margins(m, side);
    int width = 2 * (side + e.left + e.right), height = 2 * (side + e.top + e.bottom), n = 2 * side + TAPS - 2;
    size_t pitch = (size_t)width + 2;
    float *line = work, *wide = line + width / 2 + TAPS, *high = wide + (size_t)side * pitch;
    float *grid = high + (size_t)(height + 2) * pitch, *narrow = grid + (size_t)n * (size_t)n;
    picture p = {high, width, height, pitch};
    for (int c = 0; c < channels; c++, image += (size_t)side * (size_t)side) {
        doubled(image, side, &e, line, wide, &p);
        warped(&p, m, side, &e, grid);
        halved(grid, side, narrow, image);
    }
}

size_t fd_augment_work(int side) {
    size_t s = (size_t)side, most = 6 * s, n = 2 * s + TAPS;      /* margins are below the side */
    return most + TAPS + s * most + most * most + n * n + n * s;
}

/* ---- images ------------------------------------------------------------------------------------------------------ */

static void mirror(float *image, int channels, int side, bool x, bool y) {
    for (int c = 0; c < channels; c++, image += (size_t)side * (size_t)side) {
        for (int i = 0; x && i < side; i++)
            for (int k = 0; k < side / 2; k++) {
                float *a = image + (size_t)i * (size_t)side + k, *b = a + side - 1 - 2 * k, t = *a;
                *a = *b;
                *b = t;
            }
        for (int i = 0; y && i < side / 2; i++)
            for (int k = 0; k < side; k++) {
                float *a = image + (size_t)i * (size_t)side + k, *b = a + (size_t)(side - 1 - 2 * i) * (size_t)side;
                float t = *a;
                *a = *b;
                *b = t;
            }
    }
}

void fd_augment_apply(const fd_augment *a, int channels, int side, float *image, float *work) {
    if (a->xflip || a->yflip) mirror(image, channels, side, a->xflip, a->yflip);
    if (a->scale != 0 || a->angle != 0 || a->stretch != 0 || a->tx != 0 || a->ty != 0)
        resample(a, channels, side, image, work);
}

void fd_augment_images(double p, uint64_t seed, uint64_t first, int n, int channels, int side, float *images,
                       float *vectors, float *work, int threads) {
    size_t pixels = (size_t)channels * (size_t)side * (size_t)side, share = fd_augment_work(side);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int i = 0; i < n; i++) {
        fd_augment a = fd_augment_draw(p, seed, first + (uint64_t)i);
        fd_augment_vector(&a, vectors + (size_t)i * FD_AUGMENT_DIM);
        fd_augment_apply(&a, channels, side, images + (size_t)i * pixels, work + (size_t)omp_get_thread_num() * share);
    }
}
