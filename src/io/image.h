/* image.h — pictures in and out of memory. PNG through libpng, JPEG through libjpeg, PGM and PPM, BMP through
 * stb_image.
 *
 * Decoding judges by content, not by file name, and gives 8-bit gray or RGB: palettes are expanded, 1/2/4-bit gray is
 * scaled to 0…255, 16 bits are rounded to 8, alpha is dropped without blending and printing colours (CMYK) become RGB as
 * in Pillow's convert("RGB"), colour profiles and gamma are ignored. Anything damaged is an error; there are no half-read pictures.
 */
#ifndef FD_IO_IMAGE_H
#define FD_IO_IMAGE_H

#include "base/file.h"

#define FD_IMAGE_MAX_SIDE 32768
#define FD_IMAGE_MAX_PIXELS (1 << 26)
#define FD_IMAGE_FREE_BYTES ((size_t)56 << 20)      /* decoded; beyond it, twice the file's size */

typedef struct fd_image {
    uint8_t *p;                   /* [h][w][c], rows packed; owner: whoever called, fd_image_free */
    int w, h, c;                  /* c is 1 (gray) or 3 (RGB) */
    bool lossy;                   /* its file was a JPEG */
} fd_image;

/* `name` starts every message. FORMAT for damaged or unknown content, or sizes beyond the limits above or beyond what
 * so few bytes can hold. */
fd_status fd_image_decode(fd_ctx *ctx, fd_bytes file, const char *name, fd_image *out);
fd_status fd_image_load(fd_ctx *ctx, const char *path, fd_image *out);
void fd_image_free(fd_image *image);                                          /* safe on {0} */
/* Whether a file name ends in one of the known extensions (.png .jpg .jpeg .ppm .pgm .bmp, any case). */
bool fd_image_name(const char *name);

/* Plane order of networks ([c][h][w]) from and to pixel order. */
void fd_image_to_chw(const fd_image *image, uint8_t *chw);
fd_status fd_image_from_chw(fd_ctx *ctx, const uint8_t *chw, int c, int h, int w, fd_image *out);

/* Text chunks (tEXt): key 1 to 79 Latin-1 characters, value of any length. */
typedef struct { const char *key, *value; } fd_png_text;
/* PNG file of the picture, in the arena. Equal input gives equal bytes. */
fd_status fd_png_encode(fd_ctx *ctx, fd_arena *arena, const fd_image *image, const fd_png_text *text, int n,
                        fd_bytes *out);
fd_status fd_png_save(fd_ctx *ctx, const char *path, const fd_image *image, const fd_png_text *text, int n);
/* Value of a text chunk in the arena, NULL if there is none or the file is no PNG. */
const char *fd_png_find_text(fd_ctx *ctx, fd_arena *arena, fd_bytes file, const char *key);

/* One picture of n pictures [n][c][h][w], row by row, `columns` per row (0: as square as possible), each enlarged
 * `scale` times (>= 1), `pad` pixels of white between them. */
fd_status fd_image_grid(fd_ctx *ctx, const uint8_t *chw, int n, int c, int h, int w, int columns, int pad, int scale,
                        fd_image *out);

#endif
