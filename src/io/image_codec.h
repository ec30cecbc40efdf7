/* image_codec.h — what image.c and the codecs share. */
#ifndef FD_IO_IMAGE_CODEC_H
#define FD_IO_IMAGE_CODEC_H

#include "io/image.h"

/* Checks the limits and allocates the pixels; bytes: of the file they come from. */
fd_status fd_image_make(fd_ctx *ctx, const char *name, int64_t w, int64_t h, int c, size_t bytes, fd_image *out);
bool fd_is_png(fd_bytes file);                /* by their first bytes */
bool fd_is_jpeg(fd_bytes file);
bool fd_is_pnm(fd_bytes file);
bool fd_is_bmp(fd_bytes file);
/* On failure *out may hold pixels; fd_image_decode frees them. */
fd_status fd_png_decode(fd_ctx *ctx, fd_bytes file, const char *name, fd_image *out);
fd_status fd_jpeg_decode(fd_ctx *ctx, fd_bytes file, const char *name, fd_image *out);
fd_status fd_pnm_decode(fd_ctx *ctx, fd_bytes file, const char *name, fd_image *out);
fd_status fd_bmp_decode(fd_ctx *ctx, fd_bytes file, const char *name, fd_image *out);

#endif
