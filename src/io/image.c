#include "io/image.h"

#include <string.h>
#include <strings.h>

#include "io/image_codec.h"

fd_status fd_image_decode(fd_ctx *ctx, fd_bytes file, const char *name, fd_image *out) {
    *out = (fd_image){0};
    if (!file.size) return FD_FAIL(ctx, FD_E_FORMAT, "%s: the file is empty", name);
    fd_status s;
    if (fd_is_png(file)) s = fd_png_decode(ctx, file, name, out);
    else if (fd_is_jpeg(file)) s = fd_jpeg_decode(ctx, file, name, out);
    else if (fd_is_pnm(file)) s = fd_pnm_decode(ctx, file, name, out);
    else if (fd_is_bmp(file)) s = fd_bmp_decode(ctx, file, name, out);
    else s = FD_FAIL(ctx, FD_E_FORMAT, "%s: not a PNG, JPEG, BMP, PGM or PPM picture", name);
    if (s != FD_OK) fd_image_free(out);
    else out->lossy = fd_is_jpeg(file);
    return s;
}

fd_status fd_image_load(fd_ctx *ctx, const char *path, fd_image *out) {
    *out = (fd_image){0};
    fd_bytes file;
    FD_TRY(fd_file_map(ctx, path, &file));
    fd_status s = fd_image_decode(ctx, file, path, out);
    fd_file_unmap(&file);
    return s;
}

void fd_image_free(fd_image *image) {
    fd_free(image->p);
    *image = (fd_image){0};
}

fd_status fd_image_make(fd_ctx *ctx, const char *name, int64_t w, int64_t h, int c, size_t bytes, fd_image *out) {
    *out = (fd_image){0};
    if (w < 1 || h < 1)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: a picture of %lld x %lld pixels", name, (long long)w, (long long)h);
    if (w > FD_IMAGE_MAX_SIDE || h > FD_IMAGE_MAX_SIDE || w * h > FD_IMAGE_MAX_PIXELS)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: a picture of %lld x %lld pixels; at most %d per side and %d in all are "
                       "allowed", name, (long long)w, (long long)h, FD_IMAGE_MAX_SIDE, FD_IMAGE_MAX_PIXELS);
    if ((size_t)(w * h * c) > FD_IMAGE_FREE_BYTES + 2 * bytes)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: a picture of %lld x %lld pixels in %zu bytes: too large to trust so small a file", name,
                       (long long)w, (long long)h, bytes);
    uint8_t *p = fd_alloc(ctx, (size_t)(w * h * c));
    if (!p) return FD_E_NOMEM;
    *out = (fd_image){.p = p, .w = (int)w, .h = (int)h, .c = c};
    return FD_OK;
}

bool fd_image_name(const char *name) {
    static const char *const known[] = {".png", ".jpg", ".jpeg", ".ppm", ".pgm", ".bmp"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < FD_COUNT(known); i++)
        if (!strcasecmp(dot, known[i])) return true;
    return false;
}

void fd_image_to_chw(const fd_image *image, uint8_t *chw) {
    size_t pixels = (size_t)image->w * (size_t)image->h, c = (size_t)image->c;
    for (size_t k = 0; k < c; k++)
        for (size_t i = 0; i < pixels; i++) chw[k * pixels + i] = image->p[i * c + k];
}

fd_status fd_image_from_chw(fd_ctx *ctx, const uint8_t *chw, int c, int h, int w, fd_image *out) {
    return fd_image_grid(ctx, chw, 1, c, h, w, 1, 0, 1, out);
}

fd_status fd_image_grid(fd_ctx *ctx, const uint8_t *chw, int n, int c, int h, int w, int columns, int pad, int scale,
                        fd_image *out) {
    *out = (fd_image){0};
    if (n < 1 || (c != 1 && c != 3) || pad < 0 || scale < 1 || columns < 0)
        return FD_FAIL(ctx, FD_E_ARG, "picture grid: %d pictures of %d channels, %d columns, padding %d, scale %d: "
                       "needs at least one picture of 1 or 3 channels, and scale >= 1", n, c, columns, pad, scale);
    if (!columns)
        while ((int64_t)columns * columns < n) columns++;
    if (columns > n) columns = n;
    int rows = (n + columns - 1) / columns;
    int64_t cell_w = (int64_t)w * scale + pad, cell_h = (int64_t)h * scale + pad;
    FD_TRY(fd_image_make(ctx, "picture grid", columns * cell_w - pad, rows * cell_h - pad, c, SIZE_MAX / 4, out));
    memset(out->p, 255, (size_t)out->w * (size_t)out->h * (size_t)c);
    for (int i = 0; i < n; i++) {
        const uint8_t *from = chw + (size_t)i * (size_t)c * (size_t)h * (size_t)w;
        uint8_t *to = out->p + ((int64_t)(i / columns) * cell_h * out->w + (int64_t)(i % columns) * cell_w) * c;
        for (int y = 0; y < h * scale; y++)
            for (int x = 0; x < w * scale; x++)
                for (int k = 0; k < c; k++)
                    to[((int64_t)y * out->w + x) * c + k] = from[((int64_t)k * h + y / scale) * w + x / scale];
    }
    return FD_OK;
}
