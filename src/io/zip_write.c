/* zip_write.c — stored entries straight to the disk. libzip would keep every entry in memory until the archive is
 * closed, and a set of pictures can be larger than the memory. Source: PKWARE's APPNOTE 6.3. */
#include <string.h>
#include <zlib.h>

#include "io/zip_names.h"
#include "io/zipfile.h"

typedef struct { uint8_t *p; size_t n, capacity; } bytes;

struct fd_zip_writer {
    fd_outfile file;
    bytes directory, header;
    uint64_t at, count;
};

static fd_status room(fd_ctx *ctx, bytes *b, size_t more) {
    if (b->capacity - b->n >= more) return FD_OK;
    size_t capacity = 2 * (b->n + more) + 1024;
    uint8_t *p = fd_alloc(ctx, capacity);
    if (!p) return FD_E_NOMEM;
    if (b->n) memcpy(p, b->p, b->n);
    fd_free(b->p);
    b->p = p;
    b->capacity = capacity;
    return FD_OK;
}

/* Little-endian; the caller has made room. */
static void put(bytes *b, int size, uint64_t v) {
    for (int i = 0; i < size; i++) b->p[b->n++] = (uint8_t)(v >> (8 * i));
}

static uint64_t clip32(uint64_t v) { return v < UINT32_MAX ? v : UINT32_MAX; }

fd_status fd_zip_create(fd_ctx *ctx, const char *path, fd_zip_writer **out) {
    *out = NULL;
    fd_zip_writer *w = fd_alloc(ctx, sizeof *w);
    if (!w) return FD_E_NOMEM;
    fd_status s = fd_outfile_open(ctx, path, &w->file);
    if (s == FD_OK) *out = w;
    else fd_free(w);
    return s;
}

/* What local header and directory entry have in common: from "flags" to "name length". */
static void put_common(bytes *b, const char *name, uint32_t crc, uint64_t size) {
    bool ascii = true;
    for (const char *p = name; *p; p++) ascii &= (unsigned char)*p < 0x80;
    put(b, 2, ascii ? 0 : 0x800);            /* bit 11: the name is UTF-8 */
    put(b, 2, 0);                            /* stored */
    put(b, 4, 0x00210000);                   /* midnight of 1 January 1980, always */
    put(b, 4, crc);
    put(b, 4, clip32(size));
    put(b, 4, clip32(size));
    put(b, 2, strlen(name));
}

fd_status fd_zip_add(fd_ctx *ctx, fd_zip_writer *w, const char *name, const fd_bytes *pieces, int n) {
    FD_TRY(fd_zip_check_name(ctx, w->file.path, name));
    size_t length = strlen(name);
    if (length > UINT16_MAX) return FD_FAIL(ctx, FD_E_ARG, "%s: a member's name is too long", w->file.path);
    uint64_t size = 0;
    uLong crc = crc32(0, NULL, 0);
    for (int i = 0; i < n; i++) {
        if (pieces[i].size) crc = crc32_z(crc, pieces[i].data, pieces[i].size);
        size += pieces[i].size;
    }
    bool big = size >= UINT32_MAX, far = w->at >= UINT32_MAX;
    bytes *h = &w->header, *d = &w->directory;
    FD_TRY(room(ctx, h, 64 + length));
    FD_TRY(room(ctx, d, 128 + length));
    h->n = 0;
    put(h, 4, 0x04034b50);
    put(h, 2, big ? 45 : 20);                /* version needed to extract */
    put_common(h, name, (uint32_t)crc, size);
    put(h, 2, big ? 20 : 0);
    memcpy(h->p + h->n, name, length);
    h->n += length;
    if (big) put(h, 2, 1), put(h, 2, 16), put(h, 8, size), put(h, 8, size);

    put(d, 4, 0x02014b50);
    put(d, 2, 3 << 8 | (big || far ? 45 : 20));     /* made by: Unix */
    put(d, 2, big || far ? 45 : 20);
    put_common(d, name, (uint32_t)crc, size);
    put(d, 2, big || far ? 4u + (big ? 16u : 0) + (far ? 8u : 0) : 0);
    put(d, 2, 0);                            /* comment, disk, internal attributes */
    put(d, 2, 0);
    put(d, 2, 0);
    put(d, 4, 0100644u << 16);
    put(d, 4, clip32(w->at));
    memcpy(d->p + d->n, name, length);
    d->n += length;
    if (big || far) {
        put(d, 2, 1), put(d, 2, (big ? 16u : 0) + (far ? 8u : 0));
        if (big) put(d, 8, size), put(d, 8, size);
        if (far) put(d, 8, w->at);
    }
    FD_TRY(fd_outfile_write(ctx, &w->file, h->p, h->n));
    for (int i = 0; i < n; i++) FD_TRY(fd_outfile_write(ctx, &w->file, pieces[i].data, pieces[i].size));
    w->at += h->n + size;
    w->count++;
    return FD_OK;
}

static fd_status finish(fd_ctx *ctx, fd_zip_writer *w) {
    bytes *d = &w->directory;
    uint64_t size = d->n;
    FD_TRY(room(ctx, d, 128));
    if (w->count >= UINT16_MAX || w->at >= UINT32_MAX || size >= UINT32_MAX) {
        put(d, 4, 0x06064b50);               /* zip64 end record, then its locator */
        put(d, 8, 44);
        put(d, 2, 3 << 8 | 45);
        put(d, 2, 45);
        put(d, 8, 0);
        put(d, 8, w->count);
        put(d, 8, w->count);
        put(d, 8, size);
        put(d, 8, w->at);
        put(d, 4, 0x07064b50);
        put(d, 4, 0);
        put(d, 8, w->at + size);
        put(d, 4, 1);
    }
    uint64_t count = w->count < UINT16_MAX ? w->count : UINT16_MAX;
    put(d, 4, 0x06054b50);
    put(d, 4, 0);
    put(d, 2, count);
    put(d, 2, count);
    put(d, 4, clip32(size));
    put(d, 4, clip32(w->at));
    put(d, 2, 0);
    return fd_outfile_write(ctx, &w->file, d->p, d->n);
}

fd_status fd_zip_commit(fd_ctx *ctx, fd_zip_writer *w) {
    fd_status s = finish(ctx, w);
    if (s == FD_OK) s = fd_outfile_commit(ctx, &w->file);
    fd_zip_abandon(w);
    return s;
}

void fd_zip_abandon(fd_zip_writer *w) {
    if (!w) return;
    fd_outfile_abandon(&w->file);
    fd_free(w->directory.p);
    fd_free(w->header.p);
    fd_free(w);
}
