/* image_stb.c — JPEG, BMP and PNM through stb_image.
 *
 * stb_image is written for friendly files: it pads truncated ones with zeros and asserts on some damaged ones. Here
 * its input goes through a callback that notices reading past the end, a failed assertion jumps back to the caller,
 * and all its memory comes from an arena, so that the jump leaks nothing.
 */
#include <setjmp.h>
#include <stdnoreturn.h>
#include <string.h>

#include "io/image_codec.h"

typedef struct { fd_arena arena; jmp_buf give_up; fd_bytes file; size_t at; bool past_end; } decoder;
static _Thread_local decoder *active;

static void *stb_alloc(size_t bytes) { return fd_arena_alloc(NULL, &active->arena, bytes); }

/* Horizontal doubling of chroma by linear interpolation, with libjpeg's rounding. stb_image's own (2.27) gives the
 * last but one column the weights of its neighbour; the macro below renames that one where it is defined, not where
 * it is used. */
static uint8_t *stbi__resample_row_h_2(uint8_t *out, uint8_t *near_row, uint8_t *far_row, int w, int hs) {
    (void)far_row, (void)hs;
    out[0] = near_row[0];
    for (int i = 0; i + 1 < w; i++) {
        out[2 * i + 1] = (uint8_t)((3 * near_row[i] + near_row[i + 1] + 2) >> 2);
        out[2 * i + 2] = (uint8_t)((near_row[i] + 3 * near_row[i + 1] + 1) >> 2);
    }
    out[2 * w - 1] = near_row[w - 1];
    return out;
}
#define stbi__resample_row_h_2(...) unused_resample_row_h_2(__VA_ARGS__)

static noreturn void stb_assertion_failed(void) { longjmp(active->give_up, 1); }

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_ONLY_PNM
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_MAX_DIMENSIONS FD_IMAGE_MAX_SIDE
#define STBI_MALLOC(n) stb_alloc(n)
#define STBI_REALLOC_SIZED(p, old, n) NULL          /* only the formats left out above would resize */
#define STBI_FREE(p) ((void)(p))
#define STBI_ASSERT(x) ((x) ? (void)0 : stb_assertion_failed())
/* It declares more than it defines in this configuration, and its own style of warnings is its own. */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#include <stb_image.h>
#pragma GCC diagnostic pop

static int read_some(void *user, char *data, int size) {
    decoder *d = user;
    size_t n = d->file.size - d->at < (size_t)size ? d->file.size - d->at : (size_t)size;
    if (!n) d->past_end = true;               /* stb refills only when it needs one more byte */
    memcpy(data, d->file.data + d->at, n);
    d->at += n;
    return (int)n;
}
static void skip_some(void *user, int n) {    /* negative: a few bytes back */
    decoder *d = user;
    if (n < 0) {
        d->at = d->at < (size_t)-(int64_t)n ? 0 : d->at - (size_t)-(int64_t)n;
    } else if (d->file.size - d->at < (size_t)n) {
        d->at = d->file.size;
        d->past_end = true;
    } else {
        d->at += (size_t)n;
    }
}
static int at_end(void *user) {
    decoder *d = user;
    return d->at >= d->file.size;
}

static fd_status decode(fd_ctx *ctx, decoder *d, const char *name, fd_image *out) {
    stbi_io_callbacks io = {read_some, skip_some, at_end};
    int w = 0, h = 0, c = 0;
    if (!stbi_info_from_callbacks(&io, d, &w, &h, &c))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: not a PNG, JPEG, BMP or PNM picture (%s)", name, stbi_failure_reason());
    int channels = c < 3 ? 1 : 3;
    if ((int64_t)w * h > (int64_t)d->file.size * 4096)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: announces %d x %d pixels, which its %zu bytes cannot hold", name, w, h,
                       d->file.size);
    FD_TRY(fd_image_make(ctx, name, w, h, channels, out));
    d->at = 0;
    d->past_end = false;
    uint8_t *p = stbi_load_from_callbacks(&io, d, &w, &h, &c, channels);
    if (!p) return FD_FAIL(ctx, FD_E_FORMAT, "%s: the picture is damaged: %s", name, stbi_failure_reason());
    if (d->past_end) return FD_FAIL(ctx, FD_E_FORMAT, "%s: the picture is truncated", name);
    if (w != out->w || h != out->h)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: the picture announces two different sizes", name);
    memcpy(out->p, p, (size_t)w * (size_t)h * (size_t)channels);
    return FD_OK;
}

fd_status fd_stb_decode(fd_ctx *ctx, fd_bytes file, const char *name, fd_image *out) {
    decoder d = {.file = file};
    active = &d;
    fd_status s;
    if (setjmp(d.give_up)) s = FD_FAIL(ctx, FD_E_FORMAT, "%s: the picture is damaged", name);
    else s = decode(ctx, &d, name, out);
    active = NULL;
    fd_arena_free(&d.arena);
    return s;
}
