#include "io/transform.h"

#include <math.h>
#include <string.h>

#include "io/resize.h"

const char *const fd_transform_names[] = {"none", "scale", "center-crop", "center-crop-wide", "center-crop-dhariwal", NULL};

static void take(fd_image *image, fd_image *next) {
    fd_image_free(image);
    *image = *next;
}

static fd_status crop(fd_ctx *ctx, fd_image *image, int x, int y, int w, int h) {
    fd_image next;
    if (w == image->w && h == image->h) return FD_OK;
    FD_TRY(fd_image_crop(ctx, image, x, y, w, h, &next));
    take(image, &next);
    return FD_OK;
}

static fd_status resize(fd_ctx *ctx, fd_image *image, fd_filter filter, int w, int h) {
    fd_image next;
    if (w == image->w && h == image->h) return FD_OK;
    FD_TRY(fd_image_resize(ctx, image, filter, w, h, &next));
    take(image, &next);
    return FD_OK;
}

static fd_status make_rgb(fd_ctx *ctx, fd_image *image) {
    if (image->c == 3) return FD_OK;
    fd_image next;
    FD_TRY(fd_image_new(ctx, image->w, image->h, 3, &next));
    for (size_t i = 0, n = (size_t)image->w * (size_t)image->h; i < n; i++) memset(next.p + 3 * i, image->p[i], 3);
    take(image, &next);
    return FD_OK;
}

static int shorter(const fd_image *m) { return m->w < m->h ? m->w : m->h; }

static fd_status centre_square(fd_ctx *ctx, fd_image *image, int side) {
    return crop(ctx, image, (image->w - side) / 2, (image->h - side) / 2, side, side);
}

static fd_status center_crop_wide(fd_ctx *ctx, int w, int h, fd_image *image, bool *left_out) {
    int rows = (int)nearbyint((double)w * image->h / image->w);
    *left_out = image->w < w || rows < h;
    if (*left_out) return FD_OK;
    FD_TRY(crop(ctx, image, 0, (image->h - rows) / 2, image->w, rows));
    FD_TRY(resize(ctx, image, FD_FILTER_LANCZOS, w, h));
    fd_image canvas;
    FD_TRY(fd_image_new(ctx, w, w, 3, &canvas));
    memcpy(canvas.p + (size_t)((w - h) / 2) * (size_t)w * 3, image->p, (size_t)w * (size_t)h * 3);
    take(image, &canvas);
    return FD_OK;
}

static fd_status center_crop_dhariwal(fd_ctx *ctx, int side, fd_image *image) {
    while (shorter(image) >= 2 * side) FD_TRY(resize(ctx, image, FD_FILTER_BOX, image->w / 2, image->h / 2));
    double scale = (double)side / shorter(image);
    FD_TRY(resize(ctx, image, FD_FILTER_BICUBIC, (int)nearbyint(image->w * scale), (int)nearbyint(image->h * scale)));
    return centre_square(ctx, image, side);
}

fd_status fd_transform_image(fd_ctx *ctx, fd_transform t, int w, int h, fd_image *image, bool *left_out) {
    *left_out = false;
    if (t == FD_TRANSFORM_NONE) return FD_OK;
    if (w < 1 || h < 1 || h > w || (w != h && t != FD_TRANSFORM_CROP_WIDE) || (w - h) % 2)
        return FD_FAIL(ctx, FD_E_ARG, "%s to %d x %d", fd_transform_names[t], w, h);
    if (t == FD_TRANSFORM_SCALE) return resize(ctx, image, FD_FILTER_LANCZOS, w, h);
    FD_TRY(make_rgb(ctx, image));
    if (t == FD_TRANSFORM_CROP_WIDE) return center_crop_wide(ctx, w, h, image, left_out);
    if (t == FD_TRANSFORM_CROP_DHARIWAL) return center_crop_dhariwal(ctx, w, image);
    FD_TRY(centre_square(ctx, image, shorter(image)));
    return resize(ctx, image, FD_FILTER_LANCZOS, w, h);
}
