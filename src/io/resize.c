#include "io/resize.h"

#include <string.h>

#define FRACTION_BITS 22      /* 32 - 8 for the pixel - 2 for the overshoot of the window */

fd_status fd_image_new(fd_ctx *ctx, int w, int h, int c, fd_image *out) {
    *out = (fd_image){.w = w, .h = h, .c = c};
    out->p = fd_alloc(ctx, fd_mul_size(fd_mul_size((size_t)w, (size_t)h), (size_t)c));
    return out->p ? FD_OK : FD_E_NOMEM;
}

fd_status fd_image_crop(fd_ctx *ctx, const fd_image *in, int x, int y, int w, int h, fd_image *out) {
    *out = (fd_image){0};
    if (x < 0 || y < 0 || w < 1 || h < 1 || w > in->w - x || h > in->h - y)
        return FD_FAIL(ctx, FD_E_ARG, "crop: %d x %d at (%d, %d) is not within %d x %d", w, h, x, y, in->w, in->h);
    FD_TRY(fd_image_new(ctx, w, h, in->c, out));
    size_t row = (size_t)w * (size_t)in->c;
    for (int i = 0; i < h; i++)
        memcpy(out->p + (size_t)i * row, in->p + ((size_t)(y + i) * (size_t)in->w + (size_t)x) * (size_t)in->c, row);
    return FD_OK;
}

/* A window with the weights Pillow's 8-bit passes take. */
typedef struct { fd_window of; int32_t *weight; } window;

static fd_status make_window(fd_ctx *ctx, fd_arena *a, fd_filter filter, int from, int to, window *w) {
    FD_TRY(fd_window_make(ctx, a, filter, from, to, &w->of));
    size_t n = (size_t)to * (size_t)w->of.reach;
    FD_NEW(ctx, a, w->weight, n);
    for (size_t i = 0; i < n; i++) {
        double v = w->of.weight[i] * (1 << FRACTION_BITS);
        w->weight[i] = (int32_t)(v < 0 ? v - 0.5 : v + 0.5);
    }
    return FD_OK;
}

/* 32 bits hold a sum: weights of 22 bits that sum to 1, pixels of 8, and the overshoot. */
static uint8_t rounded(int32_t sum) {
    int32_t v = sum >> FRACTION_BITS;
    return v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v;
}

static void across_row(const window *w, int to, const uint8_t *in, uint8_t *out, int c) {
    for (int t = 0; t < to; t++) {
        const int32_t *k = w->weight + (size_t)t * (size_t)w->of.reach;
        const uint8_t *p = in + (size_t)w->of.first[t] * (size_t)c;
        for (int ch = 0; ch < c; ch++) {
            int32_t sum = 1 << (FRACTION_BITS - 1);
            for (int i = 0; i < w->of.count[t]; i++) sum += p[i * c + ch] * k[i];
            out[t * c + ch] = rounded(sum);
        }
    }
}

/* Row t of the result from whole rows of `row` bytes, with sum [row] as scratch. */
static void down_row(const window *w, int t, const uint8_t *in, size_t row, int32_t *sum, uint8_t *out) {
    const int32_t *k = w->weight + (size_t)t * (size_t)w->of.reach;
    for (size_t x = 0; x < row; x++) sum[x] = 1 << (FRACTION_BITS - 1);
    for (int i = 0; i < w->of.count[t]; i++) {
        const uint8_t *p = in + (size_t)(w->of.first[t] + i) * row;
        for (size_t x = 0; x < row; x++) sum[x] += p[x] * k[i];
    }
    for (size_t x = 0; x < row; x++) out[x] = rounded(sum[x]);
}

static fd_status resize(fd_ctx *ctx, fd_arena *a, fd_filter filter, const fd_image *in, fd_image *out) {
    window across, down;
    size_t c = (size_t)in->c, row_in = (size_t)in->w * c, row_out = (size_t)out->w * c;
    const uint8_t *p = in->p;
    if (out->w != in->w) {
        uint8_t *middle;
        FD_NEW(ctx, a, middle, fd_mul_size(row_out, (size_t)in->h));
        FD_TRY(make_window(ctx, a, filter, in->w, out->w, &across));
        for (int y = 0; y < in->h; y++) across_row(&across, out->w, p + (size_t)y * row_in, middle + (size_t)y * row_out, in->c);
        p = middle;
    }
    if (out->h == in->h) {
        memcpy(out->p, p, row_out * (size_t)in->h);
        return FD_OK;
    }
    int32_t *sum;
    FD_NEW(ctx, a, sum, row_out);
    FD_TRY(make_window(ctx, a, filter, in->h, out->h, &down));
    for (int t = 0; t < out->h; t++) down_row(&down, t, p, row_out, sum, out->p + (size_t)t * row_out);
    return FD_OK;
}

fd_status fd_image_resize(fd_ctx *ctx, const fd_image *in, fd_filter filter, int w, int h, fd_image *out) {
    fd_arena a = {0};
    *out = (fd_image){0};
    if (w < 1 || h < 1 || w > FD_IMAGE_MAX_SIDE || h > FD_IMAGE_MAX_SIDE)
        return FD_FAIL(ctx, FD_E_ARG, "resize: %d x %d is not within 1…%d", w, h, FD_IMAGE_MAX_SIDE);
    FD_TRY(fd_image_new(ctx, w, h, in->c, out));
    fd_status s = resize(ctx, &a, filter, in, out);
    fd_arena_free(&a);
    if (s != FD_OK) {
        fd_free(out->p);
        *out = (fd_image){0};
    }
    return s;
}
