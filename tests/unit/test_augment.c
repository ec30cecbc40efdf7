/* Augmentation: how often and how far, what the network is told, where pixels go, and the resampling against an
 * independent float64 computation by the definition. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "train/augment.h"

#define near(a, b, tol) \
    do { \
        double a_ = (a), b_ = (b); \
        if (!(fabs(a_ - b_) <= (tol))) fail_msg("%s = %.9g, want %.9g within %g", #a, a_, b_, (double)(tol)); \
    } while (0)

enum { MOST = 48, PIXELS = 3 * MOST * MOST };
static float image[PIXELS], before[PIXELS];
static fd_ctx ctx;

static void noise_image(int n) {
    fd_rng r = {5, FD_RNG_TEST, 0};
    fd_rng_normals(&r, 0, (size_t)n, image);
    memcpy(before, image, sizeof image);
}

static void apply(const fd_augment *a, int channels, int side) {
    float *work = fd_alloc(&ctx, fd_augment_work(side) * sizeof *work);
    assert_non_null(work);
    fd_augment_apply(a, channels, side, image, work);
    fd_free(work);
}

/* ---- parameters -------------------------------------------------------------------------------------------------- */

static void nothing_at_zero(void **state) {
    float vector[FD_AUGMENT_DIM], zero[FD_AUGMENT_DIM] = {0};
    for (uint64_t i = 0; i < 1000; i++) {
        fd_augment a = fd_augment_draw(0, 3, i);
        fd_augment_vector(&a, vector);
        assert_memory_equal(vector, zero, sizeof zero);
    }
    noise_image(PIXELS);
    apply(&(fd_augment){0}, 3, 16);
    assert_memory_equal(image, before, sizeof image);
}

static void what_the_network_is_told(void **state) {
    fd_augment a = {true, false, 0.5, 2, -1.5, 0.7, 0.25, -3};
    double want[FD_AUGMENT_DIM] = {1, 0, 0.5, cos(2) - 1, sin(2), -1.5 * cos(0.7), -1.5 * sin(0.7), 0.25, -3};
    float got[FD_AUGMENT_DIM];
    fd_augment_vector(&a, got);
    for (int i = 0; i < FD_AUGMENT_DIM; i++) near(got[i], want[i], 1e-6);
    a = (fd_augment){.yflip = true};
    fd_augment_vector(&a, got);
    for (int i = 0; i < FD_AUGMENT_DIM; i++) near(got[i], i == 1, 0);
}

enum { DRAWS = 40000 };

/* A share: five standard errors. */
static void share(const char *what, int count, int of, double p) {
    double error = sqrt(p * (1 - p) / of), got = (double)count / of;
    if (fabs(got - p) > 5 * error) fail_msg("%s: share %.4f of %d, want %.4f", what, got, of, p);
}

static void how_often_and_how_far(void **state) {
    const double p = 0.3;
    int xflip = 0, yflip = 0, scale = 0, angle = 0, stretch = 0, axis = 0, shift = 0, both = 0;
    double scale2 = 0, angle2 = 0, stretch2 = 0, axis2 = 0, tx2 = 0, ty2 = 0, txty = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        fd_augment a = fd_augment_draw(p, 11, i);
        xflip += a.xflip, yflip += a.yflip;
        scale += a.scale != 0, angle += a.angle != 0, stretch += a.stretch != 0, axis += a.axis != 0, shift += a.tx != 0;
        both += a.scale != 0 && a.angle != 0;
        assert_true((a.tx != 0) == (a.ty != 0));
        assert_true(a.axis == 0 || a.stretch != 0);
        assert_true(fabs(a.angle) <= M_PI && fabs(a.axis) <= M_PI);
        scale2 += a.scale * a.scale, angle2 += a.angle * a.angle, stretch2 += a.stretch * a.stretch;
        axis2 += a.axis * a.axis, tx2 += a.tx * a.tx, ty2 += a.ty * a.ty, txty += a.tx * a.ty;
    }
    share("x-flip", xflip, DRAWS, 0.5);
    share("y-flip", yflip, DRAWS, p / 2);
    share("scale", scale, DRAWS, p);
    share("rotation", angle, DRAWS, p);
    share("stretch", stretch, DRAWS, p);
    share("rotated stretch", axis, stretch, 0.5);
    share("shift", shift, DRAWS, p);
    share("scale and rotation", both, DRAWS, p * p);
    /* Mean squares: N(0,1) has 1 with a relative error of sqrt(2/n), U(-pi, pi) pi^2/3 with sqrt(0.8/n); n >= 5800. */
    near(scale2 / scale, 1, 5 * sqrt(2.0 / scale));
    near(stretch2 / stretch, 1, 5 * sqrt(2.0 / stretch));
    near(tx2 / shift, 1, 5 * sqrt(2.0 / shift));
    near(ty2 / shift, 1, 5 * sqrt(2.0 / shift));
    near(txty / shift, 0, 5 * sqrt(1.0 / shift));
    near(angle2 / angle / (M_PI * M_PI / 3), 1, 5 * sqrt(0.8 / angle));
    near(axis2 / axis / (M_PI * M_PI / 3), 1, 5 * sqrt(0.8 / axis));
}

/* ---- geometry ---------------------------------------------------------------------------------------------------- */

static void mirrors_are_exact(void **state) {
    for (int flips = 1; flips < 4; flips++)
        for (int side = 5; side < 8; side++) {
            bool x = flips & 1, y = flips & 2;
            noise_image(PIXELS);
            apply(&(fd_augment){.xflip = x, .yflip = y}, 3, side);
            for (int c = 0; c < 3; c++)
                for (int i = 0; i < side; i++)
                    for (int k = 0; k < side; k++) {
                        int from = (c * side + (y ? side - 1 - i : i)) * side + (x ? side - 1 - k : k);
                        near(image[(c * side + i) * side + k], before[from], 0);
                    }
        }
}

/* A blob, and its second moments after an augmentation. */
typedef struct { double x, y, xx, xy, yy; } blob;

static blob moved(const fd_augment *a, double x, double y, double sx, double sy) {
    enum { SIDE = 48 };
    double c = (SIDE - 1) / 2.0, sum = 0;
    blob b = {0};
    for (int i = 0; i < SIDE; i++)
        for (int k = 0; k < SIDE; k++) {
            double u = (k - c - x) / sx, v = (i - c - y) / sy;
            image[i * SIDE + k] = (float)exp(-(u * u + v * v) / 2);
        }
    apply(a, 1, SIDE);
    for (int i = 0; i < SIDE; i++)
        for (int k = 0; k < SIDE; k++) {
            double w = image[i * SIDE + k];
            sum += w, b.x += w * (k - c), b.y += w * (i - c);
        }
    b.x /= sum, b.y /= sum;
    for (int i = 0; i < SIDE; i++)
        for (int k = 0; k < SIDE; k++) {
            double w = image[i * SIDE + k] / sum, u = k - c - b.x, v = i - c - b.y;
            b.xx += w * u * u, b.xy += w * u * v, b.yy += w * v * v;
        }
    return b;
}

/* Tolerance: the filter is not quite symmetric, so that turning it shifts by a tenth of a pixel; reading bilinearly
 * blurs the doubled picture by a fraction of its pixel. A wrong sign or order is wrong by several pixels. */
static void things_go_where_they_should(void **state) {
    blob b = moved(&(fd_augment){.tx = 1, .ty = -0.5}, 2, 3, 2, 2);
    near(b.x, 2 + 48 / 8.0, 0.2);
    near(b.y, 3 - 48 / 16.0, 0.2);
    b = moved(&(fd_augment){.angle = M_PI / 2}, 8, 0, 3, 2);           /* counter-clockwise: from the right to the top */
    near(b.x, 0, 0.2);
    near(b.y, -8, 0.2);
    near(b.xx, 4, 0.3);
    near(b.yy, 9, 0.3);
    b = moved(&(fd_augment){.angle = M_PI / 6}, 8, 0, 3, 2);
    near(b.x, 8 * cos(M_PI / 6), 0.2);
    near(b.y, -8 * sin(M_PI / 6), 0.2);
    near(b.xy, -(9 - 4) * sin(M_PI / 6) * cos(M_PI / 6), 0.3);
    b = moved(&(fd_augment){.scale = 2}, 6, -4, 2, 2);
    double s = pow(2, 0.4);
    near(b.x, 6 * s, 0.2);
    near(b.y, -4 * s, 0.2);
    near(b.xx, 4 * s * s, 0.3);
    b = moved(&(fd_augment){.stretch = 2}, 6, -4, 2, 2);               /* along x */
    near(b.x, 6 * s, 0.2);
    near(b.y, -4 / s, 0.2);
    b = moved(&(fd_augment){.stretch = 2, .axis = M_PI / 4}, 5, -5, 2, 2);    /* along the diagonal up to the right */
    near(b.x, 5 * s, 0.2);
    near(b.y, -5 * s, 0.2);
    b = moved(&(fd_augment){.stretch = 2, .axis = M_PI / 4}, 5, 5, 2, 2);
    near(b.x, 5 / s, 0.2);
    near(b.y, 5 / s, 0.2);
}

static void identity_passes_through(void **state) {
    noise_image(PIXELS);
    apply(&(fd_augment){.angle = 1e-12}, 3, 32);
    for (int i = 0; i < 3 * 32 * 32; i++) near(image[i], before[i], 2e-5);     /* float32 filters of 12 taps, four times */
}

/* ---- the resampling by its definition, in float64 ---------------------------------------------------------------- */

typedef double mat3[3][3];

static void multiply(mat3 a, mat3 b) {        /* a = a b */
    mat3 c = {{0}};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            for (int j = 0; j < 3; j++) c[i][k] += a[i][j] * b[j][k];
    memcpy(a, c, sizeof c);
}

static void turn(mat3 a, double t) { multiply(a, (mat3){{cos(t), -sin(t), 0}, {sin(t), cos(t), 0}, {0, 0, 1}}); }
static void zoom(mat3 a, double x, double y) { multiply(a, (mat3){{x, 0, 0}, {0, y, 0}, {0, 0, 1}}); }
static void shift(mat3 a, double x, double y) { multiply(a, (mat3){{1, 0, x}, {0, 1, y}, {0, 0, 1}}); }

static const double sym6[12] = {
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057,  -0.048311742585633,
    0.4910559419267466,   0.787641141030194,     0.3379294217276218,    -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578,  0.0017677118642428036, -0.007800708325034148};

/* A picture in double; reads outside are zero. */
typedef struct { int w, h; double *p; } canvas;
static canvas fresh(int w, int h) { return (canvas){w, h, calloc((size_t)(w * h), sizeof(double))}; }
static double get(const canvas *c, int x, int y) { return x < 0 || y < 0 || x >= c->w || y >= c->h ? 0 : c->p[y * c->w + x]; }

/* Correlation with the taps along one axis, `pad` zeros in front, every `stride`-th result. */
static canvas filter(canvas in, bool along_y, const double *taps, int pad, int stride, int n) {
    canvas out = along_y ? fresh(in.w, n) : fresh(n, in.h);
    for (int y = 0; y < out.h; y++)
        for (int x = 0; x < out.w; x++)
            for (int k = 0; k < 12; k++)
                out.p[y * out.w + x] += taps[k] * (along_y ? get(&in, x, y * stride - pad + k) : get(&in, x * stride - pad + k, y));
    free(in.p);
    return out;
}

static canvas stuffed(canvas in, bool along_y) {
    canvas out = along_y ? fresh(in.w, 2 * in.h - 1) : fresh(2 * in.w - 1, in.h);
    for (int y = 0; y < in.h; y++)
        for (int x = 0; x < in.w; x++) out.p[(along_y ? 2 * y : y) * out.w + (along_y ? x : 2 * x)] = in.p[y * in.w + x];
    free(in.p);
    return out;
}

static int clamp(double v, int most) { return v < 0 ? 0 : v > most ? most : (int)ceil(v); }

static void by_definition(const fd_augment *a, int side, const float *in, double *out) {
    double reversed[12], s = pow(2, 0.2 * a->scale), w = pow(2, 0.2 * a->stretch), c = (side - 1) / 2.0;
    for (int k = 0; k < 12; k++) reversed[k] = sym6[11 - k];
    mat3 g = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    zoom(g, 1 / s, 1 / s);
    turn(g, a->angle);
    turn(g, -a->axis);
    zoom(g, 1 / w, w);
    turn(g, a->axis);
    shift(g, -a->tx * side * 0.125, -a->ty * side * 0.125);
    double low[2] = {1e9, 1e9}, high[2] = {-1e9, -1e9};
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 2; k++) {
            double v = g[k][0] * (i & 1 ? c : -c) + g[k][1] * (i & 2 ? c : -c) + g[k][2];
            low[k] = fmin(low[k], v), high[k] = fmax(high[k], v);
        }
    int left = clamp(6 - c - low[0], side - 1), right = clamp(6 - c + high[0], side - 1);
    int top = clamp(6 - c - low[1], side - 1), bottom = clamp(6 - c + high[1], side - 1);
    canvas x = fresh(side + left + right, side + top + bottom);
    for (int i = 0; i < x.h; i++)
        for (int k = 0; k < x.w; k++) {
            int v = abs(i - top), u = abs(k - left);
            if (v >= side) v = 2 * side - 2 - v;
            if (u >= side) u = 2 * side - 2 - u;
            x.p[i * x.w + k] = in[v * side + u];
        }
    int wide = 2 * x.w, tall = 2 * x.h;
    x = filter(stuffed(x, false), false, reversed, 6, 1, wide);
    x = filter(stuffed(x, true), true, reversed, 6, 1, tall);
    canvas y = fresh(2 * (side + 6), 2 * (side + 6));
    for (int i = 0; i < y.h; i++)
        for (int k = 0; k < y.w; k++) {
            /* half-pixel units of the doubled grids: place (k + 1/2) - size/2, moved by 1/2 to meet the originals */
            double u = (k + 0.5 - y.w / 2.0 + 0.5) / 2, v = (i + 0.5 - y.h / 2.0 + 0.5) / 2;
            double px = 2 * (g[0][0] * u + g[0][1] * v + g[0][2] + (left - right) / 2.0) - 0.5 + x.w / 2.0 - 0.5;
            double py = 2 * (g[1][0] * u + g[1][1] * v + g[1][2] + (top - bottom) / 2.0) - 0.5 + x.h / 2.0 - 0.5;
            int ix = (int)floor(px), iy = (int)floor(py);
            double fx = px - ix, fy = py - iy;
            y.p[i * y.w + k] = (1 - fy) * ((1 - fx) * get(&x, ix, iy) + fx * get(&x, ix + 1, iy)) +
                               fy * ((1 - fx) * get(&x, ix, iy + 1) + fx * get(&x, ix + 1, iy + 1));
        }
    free(x.p);
    y = filter(y, false, sym6, 5, 2, side + 6);
    y = filter(y, true, sym6, 5, 2, side + 6);
    for (int i = 0; i < side; i++)
        for (int k = 0; k < side; k++) out[i * side + k] = get(&y, k + 3, i + 3);
    free(y.p);
}

/* Tolerance: places are float32 numbers up to 300 (error 1e-5) in pictures of slope up to 5 a pixel. */
static void agrees_with_the_definition(void **state) {
    static double want[MOST * MOST];
    static const int sides[] = {1, 4, 7, 16, 33, 48};
    for (size_t i = 0; i < FD_COUNT(sides); i++)
        for (uint64_t k = 0; k < 40; k++) {
            int side = sides[i];
            fd_augment a = fd_augment_draw(1, 21, 100 * i + k);
            a.xflip = a.yflip = false;
            if (k == 38) a = (fd_augment){.scale = -8};            /* beyond what is drawn: the margin's limit is met */
            if (k == 39) a = (fd_augment){.tx = 9, .ty = -9};
            noise_image(PIXELS);
            by_definition(&a, side, before, want);
            apply(&a, 1, side);
            for (int p = 0; p < side * side; p++) near(image[p], want[p], 1e-4);
        }
}

/* The same with the operators of PyTorch (pad reflect, conv2d, affine_grid, grid_sample) in float64, for one image:
 * x[i][k] = sin(1 + i + 3 k + i k / 5), 8 x 8. Rows 0, 3 and 7 of the result. */
static void agrees_with_pytorch(void **state) {
    static const double want[3][8] = {
        {-0.142183591, 0.181396251, -0.446459225, -0.539486109, 0.111572455, -0.554719726, -0.021862732, -0.186695643},
        {0.914124859, 0.269323253, 0.360205762, 0.742060245, 0.338121576, 0.708243454, 0.244526267, 0.194652914},
        {0.746719340, -0.587425966, -0.364730848, -0.050548438, -0.241081696, -0.618247072, -0.440755231, 0.879779491}};
    fd_augment a = {.scale = 0.7, .angle = 0.9, .stretch = -1.3, .axis = 2.1, .tx = 0.4, .ty = -0.6};
    for (int i = 0; i < 8; i++)
        for (int k = 0; k < 8; k++) image[i * 8 + k] = (float)sin(1 + i + 3 * k + i * k / 5.0);
    apply(&a, 1, 8);
    static const int row[] = {0, 3, 7};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 8; k++) near(image[row[i] * 8 + k], want[i][k], 1e-5);
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

static void any_batch_and_threads(void **state) {
    enum { N = 24, SIDE = 16, EACH = 3 * SIDE * SIDE };
    static float all[N * EACH], part[N * EACH], vectors[N * FD_AUGMENT_DIM], some[N * FD_AUGMENT_DIM];
    float *work = fd_alloc(&ctx, 3 * fd_augment_work(SIDE) * sizeof *work);
    fd_rng r = {9, FD_RNG_TEST, 1};
    fd_rng_normals(&r, 0, N * EACH, all);
    memcpy(part, all, sizeof all);
    fd_augment_images(0.5, 4, 1000, N, 3, SIDE, all, vectors, work, 3);
    for (int i = 0; i < N; i += 8)
        fd_augment_images(0.5, 4, 1000 + (uint64_t)i, 8, 3, SIDE, part + i * EACH, some + i * FD_AUGMENT_DIM, work, 1);
    assert_memory_equal(all, part, sizeof all);
    assert_memory_equal(vectors, some, sizeof vectors);
    fd_augment_images(0.5, 5, 1000, N, 3, SIDE, part, some, work, 2);
    assert_memory_not_equal(vectors, some, sizeof vectors);
    fd_free(work);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_at_zero), cmocka_unit_test(what_the_network_is_told),
        cmocka_unit_test(how_often_and_how_far), cmocka_unit_test(mirrors_are_exact),
        cmocka_unit_test(things_go_where_they_should), cmocka_unit_test(identity_passes_through),
        cmocka_unit_test(agrees_with_the_definition), cmocka_unit_test(agrees_with_pytorch),
        cmocka_unit_test(any_batch_and_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
