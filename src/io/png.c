#include <png.h>
#include <setjmp.h>
#include <string.h>

#include "io/image_codec.h"

bool fd_is_png(fd_bytes file) { return file.size >= 8 && !memcmp(file.data, "\x89PNG\r\n\x1a\n", 8); }

/* libpng leaves its functions by longjmp when it meets an error. Everything that must survive the jump lives here, in
 * the caller's frame. */
typedef struct {
    fd_bytes in;                  /* reading: the file and how far it is consumed */
    size_t at;
    uint8_t *data;                /* writing: the file so far */
    size_t size, capacity;
    uint8_t *rows;                /* owned pixels of indexed pictures */
    png_bytep *row;
    bool no_memory;               /* an allocation failed: whatever libpng then says is about that */
    char warning[128];            /* libpng's words; its warnings often say what an error is about */
    char text[300];
} codec;

static void on_error(png_structp png, png_const_charp text) {
    codec *c = png_get_error_ptr(png);
    snprintf(c->text, sizeof c->text, c->warning[0] ? "%s (%s)" : "%s", text, c->warning);
    png_longjmp(png, 1);
}
static void on_warning(png_structp png, png_const_charp text) {
    codec *c = png_get_error_ptr(png);
    snprintf(c->warning, sizeof c->warning, "%s", text);
}
static png_voidp take_memory(png_structp png, png_alloc_size_t bytes) {
    codec *c = png_get_mem_ptr(png);
    void *p = fd_alloc(NULL, bytes);
    c->no_memory = c->no_memory || !p;
    return p;
}
static void drop_memory(png_structp png, png_voidp p) { fd_free(p); }

static void read_bytes(png_structp png, png_bytep to, size_t n) {
    codec *c = png_get_io_ptr(png);
    if (n > c->in.size - c->at) png_error(png, "the file is truncated");
    memcpy(to, c->in.data + c->at, n);
    c->at += n;
}

/* Reads the rows of a picture with a palette and replaces indices by colours. */
static void read_indexed(png_structp png, png_infop info, codec *c, fd_image *out) {
    png_colorp palette = NULL;
    int colours = 0;
    size_t w = (size_t)out->w, h = (size_t)out->h;
    png_get_PLTE(png, info, &palette, &colours);
    c->rows = fd_alloc(NULL, w * h);
    c->no_memory = !c->rows;
    if (!c->rows) png_error(png, "out of memory");
    for (size_t y = 0; y < h; y++) c->row[y] = c->rows + y * w;
    png_read_image(png, c->row);
    for (size_t i = 0; i < w * h; i++) {
        if (c->rows[i] >= colours) png_error(png, "a pixel's colour number is not in the palette");
        const png_color *p = &palette[c->rows[i]];
        out->p[3 * i] = p->red, out->p[3 * i + 1] = p->green, out->p[3 * i + 2] = p->blue;
    }
}

static fd_status read_picture(fd_ctx *ctx, png_structp png, png_infop info, codec *c, const char *name,
                              fd_image *out) {
    png_read_info(png, info);
    int64_t w = png_get_image_width(png, info), h = png_get_image_height(png, info);
    int colour = png_get_color_type(png, info), depth = png_get_bit_depth(png, info);
    /* Deflate expands at most 1032 times; what cannot fit is refused before it is allocated. */
    double needed = (double)h * ((double)w * depth * png_get_channels(png, info) / 8);
    if (needed > 1032.0 * (double)c->in.size)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: announces %lld x %lld pixels, which its %zu bytes cannot hold", name,
                       (long long)w, (long long)h, c->in.size);
    FD_TRY(fd_image_make(ctx, name, w, h, colour & PNG_COLOR_MASK_COLOR ? 3 : 1, c->in.size, out));
    if (colour == PNG_COLOR_TYPE_PALETTE) png_set_packing(png);
    else if (depth < 8) png_set_expand_gray_1_2_4_to_8(png);
    if (depth == 16) png_set_scale_16(png);
    if (colour & PNG_COLOR_MASK_ALPHA) png_set_strip_alpha(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    size_t row_bytes = (size_t)w * (colour == PNG_COLOR_TYPE_PALETTE ? 1 : (size_t)out->c);
    if (png_get_rowbytes(png, info) != row_bytes) png_error(png, "unexpected row size");
    c->row = fd_alloc(ctx, (size_t)h * sizeof *c->row);
    if (!c->row) return FD_E_NOMEM;
    if (colour == PNG_COLOR_TYPE_PALETTE) {
        read_indexed(png, info, c, out);
    } else {
        for (int64_t y = 0; y < h; y++) c->row[y] = out->p + (size_t)y * row_bytes;
        png_read_image(png, c->row);
    }
    png_read_end(png, NULL);          /* the checksums after the last row */
    return FD_OK;
}

fd_status fd_png_decode(fd_ctx *ctx, fd_bytes file, const char *name, fd_image *out) {
    codec c = {.in = file};
    png_structp png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &c, on_error, on_warning, &c, take_memory,
                                               drop_memory);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        png_destroy_read_struct(&png, NULL, NULL);
        return FD_FAIL(ctx, FD_E_NOMEM, "%s: out of memory", name);
    }
    fd_status s;
    if (setjmp(png_jmpbuf(png))) {
        s = c.no_memory ? FD_FAIL(ctx, FD_E_NOMEM, "%s: out of memory", name)
                        : FD_FAIL(ctx, FD_E_FORMAT, "%s: damaged PNG: %s", name, c.text);
    } else {
        png_set_read_fn(png, &c, read_bytes);
        png_set_user_limits(png, FD_IMAGE_MAX_SIDE, FD_IMAGE_MAX_SIDE);
        /* Profiles, gamma and texts do not matter here and are often sloppy; everything else must be right. */
        png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
        png_set_benign_errors(png, 0);
        s = read_picture(ctx, png, info, &c, name, out);
    }
    png_destroy_read_struct(&png, &info, NULL);
    fd_free(c.row);
    fd_free(c.rows);
    return s;
}

/* ---- writing */

static void write_bytes(png_structp png, png_bytep from, size_t n) {
    codec *c = png_get_io_ptr(png);
    if (c->capacity - c->size < n) {
        size_t capacity = 2 * (c->size + n) + 4096;
        uint8_t *bigger = fd_alloc(NULL, capacity);
        c->no_memory = !bigger;
        if (!bigger) png_error(png, "out of memory");
        if (c->size) memcpy(bigger, c->data, c->size);
        fd_free(c->data);
        c->data = bigger;
        c->capacity = capacity;
    }
    memcpy(c->data + c->size, from, n);
    c->size += n;
}

static void flush_nothing(png_structp png) {}

static void write_picture(png_structp png, png_infop info, const fd_image *image, const fd_png_text *text, int n) {
    png_set_IHDR(png, info, (png_uint_32)image->w, (png_uint_32)image->h, 8,
                 image->c == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_BASE, PNG_FILTER_TYPE_BASE);
    for (int i = 0; i < n; i++) {
        png_text t = {.compression = PNG_TEXT_COMPRESSION_NONE, .key = (char *)text[i].key,
                      .text = (char *)text[i].value};
        png_set_text(png, info, &t, 1);
    }
    png_write_info(png, info);
    for (int y = 0; y < image->h; y++)
        png_write_row(png, image->p + (size_t)y * (size_t)image->w * (size_t)image->c);
    png_write_end(png, NULL);
}

static fd_status encode(fd_ctx *ctx, const char *name, const fd_image *image, const fd_png_text *text, int n,
                        codec *c) {
    for (int i = 0; i < n; i++)
        if (!text[i].key[0] || strlen(text[i].key) > 79)
            return FD_FAIL(ctx, FD_E_ARG, "%s: PNG text key '%s' must have 1 to 79 characters", name, text[i].key);
    png_structp png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, c, on_error, on_warning, c, take_memory,
                                                drop_memory);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        png_destroy_write_struct(&png, NULL);
        return FD_FAIL(ctx, FD_E_NOMEM, "%s: out of memory", name);
    }
    fd_status s = FD_OK;
    if (setjmp(png_jmpbuf(png))) {
        s = c->no_memory ? FD_FAIL(ctx, FD_E_NOMEM, "%s: out of memory", name)
                         : FD_FAIL(ctx, FD_E_ARG, "%s: cannot make PNG: %s", name, c->text);
    } else {
        png_set_write_fn(png, c, write_bytes, flush_nothing);
        write_picture(png, info, image, text, n);
    }
    png_destroy_write_struct(&png, &info);
    return s;
}

fd_status fd_png_encode(fd_ctx *ctx, fd_arena *arena, const fd_image *image, const fd_png_text *text, int n,
                        fd_bytes *out) {
    codec c = {0};
    *out = (fd_bytes){0};
    fd_status s = encode(ctx, "picture", image, text, n, &c);
    if (s == FD_OK) {
        uint8_t *p = fd_arena_alloc(ctx, arena, c.size);
        if (p) *out = (fd_bytes){memcpy(p, c.data, c.size), c.size};
        else s = FD_E_NOMEM;
    }
    fd_free(c.data);
    return s;
}

fd_status fd_png_save(fd_ctx *ctx, const char *path, const fd_image *image, const fd_png_text *text, int n) {
    codec c = {0};
    fd_status s = encode(ctx, path, image, text, n, &c);
    if (s == FD_OK) s = fd_file_write(ctx, path, c.data, c.size);
    fd_free(c.data);
    return s;
}

const char *fd_png_find_text(fd_ctx *ctx, fd_arena *arena, fd_bytes file, const char *key) {
    if (!fd_is_png(file)) return NULL;
    size_t key_length = strlen(key) + 1;            /* the NUL separates key and value */
    for (size_t at = 8; file.size - at >= 12;) {
        const uint8_t *p = file.data + at;
        size_t n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (n > file.size - at - 12) return NULL;
        if (!memcmp(p + 4, "tEXt", 4) && n >= key_length && !memcmp(p + 8, key, key_length)) {
            char *value = fd_arena_alloc(ctx, arena, n - key_length + 1);
            return value ? memcpy(value, p + 8 + key_length, n - key_length) : NULL;
        }
        at += 12 + n;
    }
    return NULL;
}
