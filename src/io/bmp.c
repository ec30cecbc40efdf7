/* bmp.c — Windows bitmaps through stb_image, which reads missing bytes as zeros and knows no limits: the header is judged
 * here first. */
#include <stdlib.h>
#include <string.h>

#include "io/image_codec.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_NO_FAILURE_STRINGS
#define STBI_MAX_DIMENSIONS FD_IMAGE_MAX_SIDE
#include <stb_image.h>

enum { FILE_HEADER = 14, INFO_HEADER = 40 };      /* OS/2's headers of 12 bytes are older than anything in use */

bool fd_is_bmp(fd_bytes f) { return f.size >= 2 && f.data[0] == 'B' && f.data[1] == 'M'; }

static int64_t u32(const uint8_t *p) { return p[0] | p[1] << 8 | p[2] << 16 | (int64_t)p[3] << 24; }

static fd_status judge(fd_ctx *ctx, fd_bytes f, const char *name, int64_t *w, int64_t *h) {
    if (f.size < FILE_HEADER + INFO_HEADER || u32(f.data + 14) < INFO_HEADER)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: damaged BMP header", name);
    const int64_t at = u32(f.data + 10), packing = u32(f.data + 30), bits = f.data[28] | f.data[29] << 8;
    *w = (int32_t)u32(f.data + 18);
    *h = (int32_t)u32(f.data + 22);
    if (*h < 0) *h = -*h;                         /* stored from the top */
    if (packing != 0 && packing != 3)
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: a compressed BMP (kind %lld); save it without compression, or as PNG",
                       name, (long long)packing);
    if (*w < 1 || *h < 1 || *w > FD_IMAGE_MAX_SIDE || *h > FD_IMAGE_MAX_SIDE) return FD_OK;      /* fd_image_make says so */
    const int64_t need = at + (*w * bits + 31) / 32 * 4 * *h;
    if (need > (int64_t)f.size)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: %lld x %lld pixels of %lld bits end at byte %lld, the file has %zu: it is "
                       "truncated", name, (long long)*w, (long long)*h, (long long)bits, (long long)need, f.size);
    return FD_OK;
}

fd_status fd_bmp_decode(fd_ctx *ctx, fd_bytes f, const char *name, fd_image *out) {
    int64_t w = 0, h = 0;
    int width, height, channels;
    FD_TRY(judge(ctx, f, name, &w, &h));
    FD_TRY(fd_image_make(ctx, name, w, h, 3, f.size, out));
    stbi_uc *p = stbi_load_from_memory(f.data, (int)f.size, &width, &height, &channels, 3);
    if (!p) return FD_FAIL(ctx, FD_E_FORMAT, "%s: damaged BMP, or of a kind that stb_image does not read", name);
    const bool same = width == w && height == h;
    if (same) memcpy(out->p, p, (size_t)(w * h * 3));
    stbi_image_free(p);
    return same ? FD_OK : FD_FAIL(ctx, FD_E_FORMAT, "%s: damaged BMP header", name);
}
