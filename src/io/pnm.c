/* pnm.c — binary PGM (P5) and PPM (P6), 8 bits per sample: what simple programs write. */
#include <string.h>

#include "io/image_codec.h"

bool fd_is_pnm(fd_bytes f) { return f.size >= 3 && f.data[0] == 'P' && (f.data[1] == '5' || f.data[1] == '6'); }

/* Next decimal number after blanks and comments; -1 if there is none or it is silly. */
static int64_t number(fd_bytes f, size_t *at) {
    for (; *at < f.size && (strchr(" \t\r\n", f.data[*at]) || f.data[*at] == '#'); ++*at)
        if (f.data[*at] == '#')
            while (*at + 1 < f.size && f.data[*at] != '\n') ++*at;
    int64_t v = -1;
    for (; *at < f.size && f.data[*at] >= '0' && f.data[*at] <= '9' && v < 1000000; ++*at)
        v = (v < 0 ? 0 : v) * 10 + (f.data[*at] - '0');
    return v;
}

fd_status fd_pnm_decode(fd_ctx *ctx, fd_bytes f, const char *name, fd_image *out) {
    size_t at = 2;
    int c = f.data[1] == '5' ? 1 : 3;
    int64_t w = number(f, &at), h = number(f, &at), top = number(f, &at);
    if (w < 1 || h < 1 || top < 1 || at >= f.size || !strchr(" \t\r\n", f.data[at]))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: damaged PNM header at byte %zu", name, at);
    if (top != 255)
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: PNM with samples up to %lld; 255 is supported", name,
                       (long long)top);
    size_t have = f.size - ++at;
    if ((uint64_t)(w * h * c) > have)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: %lld x %lld pixels need %lld bytes, the file has %zu: it is truncated",
                       name, (long long)w, (long long)h, (long long)(w * h * c), have);
    FD_TRY(fd_image_make(ctx, name, w, h, c, f.size, out));
    memcpy(out->p, f.data + at, (size_t)(w * h * c));
    return FD_OK;
}
