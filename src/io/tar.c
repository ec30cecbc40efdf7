#include "io/tar.h"

#include <string.h>
#include <zlib.h>

enum { BLOCK = 512, NAME = 0, SIZE = 124, SUM = 148, TYPE = 156, MAGIC = 257 };

bool fd_is_tar(fd_bytes file) { return file.size >= BLOCK && !memcmp(file.data + MAGIC, "ustar", 5); }

/* Octal digits between spaces and zero bytes. */
static bool octal(const uint8_t *p, int n, uint64_t *out) {
    int i = 0, digits = 0;
    *out = 0;
    while (i < n && p[i] == ' ') i++;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++, digits++) *out = *out * 8 + (uint64_t)(p[i] - '0');
    while (i < n && (!p[i] || p[i] == ' ')) i++;
    return i == n && digits;
}

static bool sum_is_right(const uint8_t *header) {
    uint64_t sum = 0, said;
    for (int i = 0; i < BLOCK; i++) sum += i >= SUM && i < SUM + 8 ? ' ' : header[i];
    return octal(header + SUM, 8, &said) && said == sum;
}

static bool all_zero(const uint8_t *p) {
    for (int i = 0; i < BLOCK; i++)
        if (p[i]) return false;
    return true;
}

fd_status fd_tar_next(fd_ctx *ctx, const char *path, fd_bytes tar, size_t *at, fd_tar_member *out, bool *end) {
    *end = false;
    while (tar.size - *at >= BLOCK) {
        const uint8_t *header = tar.data + *at;
        uint64_t size;
        if (all_zero(header)) {
            *end = true;
            return FD_OK;
        }
        if (!sum_is_right(header) || !octal(header + SIZE, 12, &size))
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: the tar archive is damaged at byte %zu; get it again", path, *at);
        size_t left = tar.size - *at - BLOCK;
        if (size > left)
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: '%.100s' in the tar archive is cut off; get it again", path,
                           (const char *)header + NAME);
        size_t padded = ((size_t)size + BLOCK - 1) / BLOCK * BLOCK;
        *at += BLOCK + (padded < left ? padded : left);
        if (header[TYPE] != '0' && header[TYPE]) continue;        /* a folder, a link, or a note of GNU or pax */
        memcpy(out->name, header + NAME, 100);
        out->name[100] = 0;
        out->data = (fd_bytes){header + BLOCK, (size_t)size};
        return FD_OK;
    }
    return FD_FAIL(ctx, FD_E_FORMAT, "%s: the tar archive has no end: it was cut off; get it again", path);
}

bool fd_is_gzip(fd_bytes file) { return file.size >= 18 && file.data[0] == 0x1f && file.data[1] == 0x8b; }

fd_status fd_gunzip(fd_ctx *ctx, const char *path, fd_bytes file, size_t limit, fd_arena *arena, fd_bytes *out) {
    /* The last four bytes announce the size, so the memory is right at once and a lie shows at the end. */
    const uint8_t *tail = file.data + file.size - 4;
    size_t size = (size_t)tail[0] | (size_t)tail[1] << 8 | (size_t)tail[2] << 16 | (size_t)tail[3] << 24;
    if (size > limit || file.size > UINT32_MAX)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: would unpack to %zu bytes, more than %zu are expected; if that is right, "
                       "unpack it with gunzip first", path, size, limit);
    uint8_t *p = fd_arena_alloc(ctx, arena, size);
    if (!p) return FD_E_NOMEM;
    z_stream z = {.next_in = (Bytef *)(uintptr_t)file.data, .avail_in = (uInt)file.size, .next_out = p,
                  .avail_out = (uInt)size};
    if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) return FD_FAIL(ctx, FD_E_NOMEM, "%s: no memory to unpack it", path);
    int code = inflate(&z, Z_FINISH);
    bool whole = code == Z_STREAM_END && !z.avail_in && !z.avail_out;
    inflateEnd(&z);
    if (!whole) return FD_FAIL(ctx, FD_E_FORMAT, "%s: the gzip file is damaged or cut off; get it again", path);
    *out = (fd_bytes){p, size};
    return FD_OK;
}
