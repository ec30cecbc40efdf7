/* jpeg.c — JPEG through libjpeg(-turbo) with its standard settings, which are Pillow's too: equal files give equal
 * pixels. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#include "io/image_codec.h"

enum { SCANS_MAX = 200 };         /* a progressive file has about ten; thousands cost hours */

/* libjpeg leaves its functions by longjmp when it meets an error; this lives in the frame that it returns to. */
typedef struct {
    struct jpeg_decompress_struct jpeg;       /* first: the callbacks get its address */
    struct jpeg_error_mgr error;
    struct jpeg_progress_mgr progress;
    jmp_buf give_up;
    char text[JMSG_LENGTH_MAX];
} decoder;

bool fd_is_jpeg(fd_bytes file) { return file.size >= 3 && !memcmp(file.data, "\xff\xd8\xff", 3); }

static void on_error(j_common_ptr jpeg) {
    decoder *d = (decoder *)jpeg;
    jpeg->err->format_message(jpeg, d->text);
    longjmp(d->give_up, 1);
}

/* libjpeg only warns when it fills up a truncated or damaged picture; here that is an error. */
static void on_message(j_common_ptr jpeg, int level) {
    if (level >= 0) return;
    switch (jpeg->err->msg_code) {
    case JWRN_JPEG_EOF: case JWRN_HIT_MARKER: case JWRN_HUFF_BAD_CODE: case JWRN_MUST_RESYNC:
    case JWRN_NOT_SEQUENTIAL:
        on_error(jpeg);
    }
}

static void on_progress(j_common_ptr jpeg) {
    decoder *d = (decoder *)jpeg;
    if (d->jpeg.input_scan_number <= SCANS_MAX) return;
    snprintf(d->text, sizeof d->text, "more than %d scans", SCANS_MAX);
    longjmp(d->give_up, 1);
}

/* Printing colours as Pillow's convert("RGB") has them; a handful of ImageNet's pictures need it. JPEG has the inks inverted, as
 * Adobe writes them: 255 is none. */
static void rgb_of_inks(uint8_t *rgb, const uint8_t *inks, int n) {
    for (; n; n--, rgb += 3, inks += 4)
        for (int i = 0; i < 3; i++) {
            const int k = inks[3], t = (255 - inks[i]) * k + 128, v = k - (((t >> 8) + t) >> 8);
            rgb[i] = (uint8_t)(v < 0 ? 0 : v);
        }
}

static fd_status read_picture(fd_ctx *ctx, decoder *d, fd_bytes file, const char *name, fd_image *out) {
    struct jpeg_decompress_struct *j = &d->jpeg;
    jpeg_mem_src(j, file.data, file.size);
    jpeg_read_header(j, TRUE);
    if (j->arith_code)           /* its damage cannot be told from the messages of every libjpeg */
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: a JPEG with arithmetic coding: save it with Huffman coding", name);
    const bool cmyk = j->jpeg_color_space == JCS_CMYK || j->jpeg_color_space == JCS_YCCK;
    int c = j->jpeg_color_space == JCS_GRAYSCALE ? 1 : 3;
    j->out_color_space = c == 1 ? JCS_GRAYSCALE : cmyk ? JCS_CMYK : JCS_RGB;
    if ((int64_t)j->image_width * j->image_height > (int64_t)file.size * 4096)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: announces %u x %u pixels, which its %zu bytes cannot hold", name,
                       j->image_width, j->image_height, file.size);
    FD_TRY(fd_image_make(ctx, name, j->image_width, j->image_height, c, file.size, out));
    jpeg_start_decompress(j);
    JSAMPARRAY inks = cmyk ? j->mem->alloc_sarray((j_common_ptr)j, JPOOL_IMAGE, 4 * j->output_width, 1) : NULL;
    while (j->output_scanline < j->output_height) {
        JSAMPROW row = out->p + (size_t)j->output_scanline * (size_t)out->w * (size_t)c;
        jpeg_read_scanlines(j, cmyk ? inks : &row, 1);
        if (cmyk) rgb_of_inks(row, inks[0], out->w);
    }
    jpeg_finish_decompress(j);
    return FD_OK;
}

fd_status fd_jpeg_decode(fd_ctx *ctx, fd_bytes file, const char *name, fd_image *out) {
    decoder d;
    memset(&d, 0, sizeof d);
    d.jpeg.err = jpeg_std_error(&d.error);
    d.error.error_exit = on_error;
    d.error.emit_message = on_message;
    d.progress.progress_monitor = on_progress;
    fd_status s;
    if (setjmp(d.give_up)) {
        bool memory = d.error.msg_code == JERR_OUT_OF_MEMORY;
        s = FD_FAIL(ctx, memory ? FD_E_NOMEM : FD_E_FORMAT, "%s: damaged JPEG: %s", name, d.text);
    } else {
        jpeg_create_decompress(&d.jpeg);
        d.jpeg.progress = &d.progress;
        s = read_picture(ctx, &d, file, name, out);
    }
    jpeg_destroy_decompress(&d.jpeg);
    return s;
}
