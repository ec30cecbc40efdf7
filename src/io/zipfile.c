#include "io/zipfile.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zip.h>
#include <zlib.h>

#include "io/zip_names.h"

#define INFLATED_FREE ((uint64_t)48 << 20)     /* that any archive may inflate a member to: a compressed 2048x2048 matrix can be tiny */

typedef struct {
    const char *name;             /* libzip's, valid as long as the archive is open */
    uint64_t size, packed, local; /* local: place of its header in the file */
    uint32_t crc;
    uint16_t method;
    bool encrypted;
} entry;

struct fd_zip {
    zip_t *zip;
    fd_bytes map;                 /* size 0 when the memory is the caller's */
    fd_bytes file;                /* the archive, whoever owns it */
    const char *path;
    entry *entry;
    int64_t n, *by_name;          /* entry numbers sorted by name */
    fd_arena arena;
    pthread_mutex_t lock;         /* libzip allows one thread per archive */
};

fd_status fd_zip_check_name(fd_ctx *ctx, const char *archive, const char *name) {
    const char *fault = NULL;
    if (!name || !name[0]) fault = "it has no name";
    else if (name[0] == '/') fault = "an absolute name";
    else if (strchr(name, '\\')) fault = "a back-slash in its name";
    else if (name[1] == ':') fault = "a drive letter in its name";
    for (const char *p = name; !fault && p; p = strchr(p, '/')) {
        p += *p == '/';
        if (p[0] == '.' && p[1] == '.' && (p[2] == '/' || !p[2])) fault = "it would leave the archive's folder";
    }
    if (!fault) return FD_OK;
    return FD_FAIL(ctx, FD_E_FORMAT, "%s: member '%s' is refused: %s", archive, name ? name : "", fault);
}

static uint32_t le(const uint8_t *p, int bytes) {
    uint32_t v = 0;
    for (int i = bytes; i-- > 0;) v = v << 8 | p[i];
    return v;
}

static uint64_t le64(const uint8_t *p) { return le(p, 4) | (uint64_t)le(p + 4, 4) << 32; }

/* Where the local header of a directory entry lies; in a zip64 archive the extra field may say so. */
static uint64_t local_header(const uint8_t *e, size_t name, size_t extra) {
    uint64_t at = le(e + 42, 4);
    const uint8_t *p = e + 46 + name, *end = p + extra;
    for (; at == UINT32_MAX && end - p >= 4; p += 4 + le(p + 2, 2)) {
        size_t skip = 8 * ((size_t)(le(e + 20, 4) == UINT32_MAX) + (le(e + 24, 4) == UINT32_MAX));
        if ((size_t)(end - p - 4) < le(p + 2, 2)) break;
        if (le(p, 2) == 1 && le(p + 2, 2) >= skip + 8) return le64(p + 4 + skip);
    }
    return at;
}

/* What libzip does not tell: where the local headers lie, and names with a NUL, which it hands out as C strings. */
static fd_status read_central(fd_ctx *ctx, const char *path, fd_bytes f, entry *out, int64_t n) {
    size_t end = f.size < 22 ? 0 : f.size - 22, lowest = end > 65535 ? end - 65535 : 0, at = SIZE_MAX;
    for (size_t p = end + 1; p-- > lowest;)
        if (le(f.data + p, 4) == 0x06054b50 && le(f.data + p + 20, 2) == f.size - p - 22) {
            at = le(f.data + p + 16, 4);
            if (at == UINT32_MAX && p >= 20 && le(f.data + p - 20, 4) == 0x07064b50) {
                uint64_t record = le64(f.data + p - 12);
                if (record > f.size || f.size - record < 56) break;
                at = le64(f.data + record + 48);
            }
            break;
        }
    for (int64_t i = 0; i < n; i++) {
        if (at > f.size || f.size - at < 46 || le(f.data + at, 4) != 0x02014b50)
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: the zip directory is damaged", path);
        size_t name = le(f.data + at + 28, 2), more = le(f.data + at + 30, 2) + (size_t)le(f.data + at + 32, 2);
        if (f.size - at - 46 < name + more)
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: the zip directory is damaged", path);
        if (memchr(f.data + at + 46, 0, name))
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: member %lld ('%s') is refused: a NUL byte in its name", path,
                           (long long)i, (const char *)f.data + at + 46);
        out[i].local = local_header(f.data + at, name, le(f.data + at + 30, 2));
        at += 46 + name + more;
    }
    return FD_OK;
}

static _Thread_local const fd_zip *sorting;     /* qsort passes no context */
static int by_name(const void *a, const void *b) {
    return strcmp(sorting->entry[*(const int64_t *)a].name, sorting->entry[*(const int64_t *)b].name);
}

static fd_status read_directory(fd_ctx *ctx, fd_zip *z, fd_bytes file) {
    z->n = zip_get_num_entries(z->zip, 0);
    z->file = file;
    FD_NEW(ctx, &z->arena, z->entry, z->n);
    FD_TRY(read_central(ctx, z->path, file, z->entry, z->n));
    FD_NEW(ctx, &z->arena, z->by_name, z->n);
    for (int64_t i = 0; i < z->n; i++) {
        zip_stat_t st;
        zip_uint32_t attributes = 0;
        const char *name = zip_get_name(z->zip, (zip_uint64_t)i, ZIP_FL_ENC_GUESS);
        FD_TRY(fd_zip_check_name(ctx, z->path, name));
        if (zip_stat_index(z->zip, (zip_uint64_t)i, 0, &st) ||
            zip_file_get_external_attributes(z->zip, (zip_uint64_t)i, 0, NULL, &attributes))
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: member '%s': %s", z->path, name, zip_strerror(z->zip));
        mode_t mode = attributes >> 16 & S_IFMT;
        if (mode && mode != S_IFREG && mode != S_IFDIR)
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: member '%s' is refused: a symbolic link or special file", z->path,
                           name);
        z->entry[i] = (entry){name, st.size, st.comp_size, z->entry[i].local, st.crc, st.comp_method,
                              st.encryption_method != ZIP_EM_NONE};
        z->by_name[i] = i;
    }
    sorting = z;
    qsort(z->by_name, (size_t)z->n, sizeof *z->by_name, by_name);
    sorting = NULL;
    return FD_OK;
}

static fd_status cannot_open(fd_ctx *ctx, const char *name, zip_error_t *e) {
    const char *meaning = zip_error_strerror(e);
    switch (zip_error_code_zip(e)) {
    case ZIP_ER_NOZIP: meaning = "no zip archive, or one that is cut off: its end record is missing or wrong"; break;
    case ZIP_ER_INCONS: meaning = "the archive contradicts itself: it is damaged or was tampered with"; break;
    case ZIP_ER_EXISTS: meaning = "two members have the same name"; break;
    case ZIP_ER_MEMORY: return FD_FAIL(ctx, FD_E_NOMEM, "%s: out of memory", name);
    }
    return FD_FAIL(ctx, FD_E_FORMAT, "%s: %s", name, meaning);
}

fd_status fd_zip_open_memory(fd_ctx *ctx, fd_bytes file, const char *name, fd_zip **out) {
    *out = NULL;
    if (file.size < 22)               /* an empty file would pass as an empty archive */
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: no zip archive: it has %zu bytes", name, file.size);
    fd_zip *z = fd_alloc(ctx, sizeof *z);
    if (!z) return FD_E_NOMEM;
    pthread_mutex_init(&z->lock, NULL);
    zip_error_t e;
    zip_error_init(&e);
    fd_status s = (z->path = fd_arena_strdup(ctx, &z->arena, name)) ? FD_OK : FD_E_NOMEM;
    if (s == FD_OK) {
        zip_source_t *source = zip_source_buffer_create(file.data, file.size, 0, &e);
        z->zip = source ? zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &e) : NULL;
        if (z->zip) {
            s = read_directory(ctx, z, file);
        } else {
            if (source) zip_source_free(source);
            s = cannot_open(ctx, name, &e);
        }
    }
    zip_error_fini(&e);
    if (s == FD_OK) *out = z;
    else fd_zip_close(z);
    return s;
}

fd_status fd_zip_open(fd_ctx *ctx, const char *path, fd_zip **out) {
    *out = NULL;
    fd_bytes map;
    FD_TRY(fd_file_map(ctx, path, &map));
    fd_status s = fd_zip_open_memory(ctx, map, path, out);
    if (s == FD_OK) (*out)->map = map;
    else fd_file_unmap(&map);
    return s;
}

void fd_zip_close(fd_zip *z) {
    if (!z) return;
    if (z->zip) zip_discard(z->zip);
    fd_file_unmap(&z->map);
    fd_arena_free(&z->arena);
    pthread_mutex_destroy(&z->lock);
    fd_free(z);
}

int64_t fd_zip_count(const fd_zip *z) { return z->n; }
const char *fd_zip_name(const fd_zip *z, int64_t i) { return z->entry[i].name; }
uint64_t fd_zip_size(const fd_zip *z, int64_t i) { return z->entry[i].size; }
size_t fd_zip_bytes(const fd_zip *z) { return z->file.size; }
const char *fd_zip_path(const fd_zip *z) { return z->path; }

int64_t fd_zip_find(const fd_zip *z, const char *name) {
    for (int64_t low = 0, high = z->n; low < high;) {
        int64_t mid = low + (high - low) / 2, i = z->by_name[mid];
        int order = strcmp(name, z->entry[i].name);
        if (!order) return i;
        if (order < 0) high = mid;
        else low = mid + 1;
    }
    return -1;
}

/* Called with the lock held. `out` has room for the size that the directory claims. */
static fd_status inflate_entry(fd_ctx *ctx, fd_zip *z, int64_t i, uint8_t *out) {
    const entry *e = &z->entry[i];
    zip_file_t *f = zip_fopen_index(z->zip, (zip_uint64_t)i, 0);
    if (!f) return FD_FAIL(ctx, FD_E_FORMAT, "%s: member '%s': %s", z->path, e->name, zip_strerror(z->zip));
    uint64_t got = 0;
    zip_int64_t n = 0;
    while (got < e->size && (n = zip_fread(f, out + got, e->size - got)) > 0) got += (uint64_t)n;
    uint8_t extra;
    if (n >= 0 && got == e->size) n = zip_fread(f, &extra,
                                                1);     /* the end must follow, and there the CRC is checked */
    fd_status s = FD_OK;
    if (n < 0) s = FD_FAIL(ctx, FD_E_FORMAT, "%s: member '%s': %s", z->path, e->name, zip_file_strerror(f));
    else if (n > 0 || got != e->size)
        s = FD_FAIL(ctx, FD_E_FORMAT, "%s: member '%s': its data is %s than the %llu bytes announced", z->path,
                    e->name, n > 0 ? "longer" : "shorter", (unsigned long long)e->size);
    if (zip_fclose(f) && s == FD_OK)
        s = FD_FAIL(ctx, FD_E_FORMAT, "%s: member '%s': the data is damaged", z->path, e->name);
    return s;
}

fd_status fd_zip_read(fd_ctx *ctx, fd_zip *z, int64_t i, fd_arena *arena, size_t limit, fd_bytes *out) {
    *out = (fd_bytes){0};
    if (i < 0 || i >= z->n) return FD_FAIL(ctx, FD_E_ARG, "%s: no member number %lld", z->path, (long long)i);
    const entry *e = &z->entry[i];
    if (e->encrypted) return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: member '%s' is encrypted", z->path, e->name);
    if (e->method != ZIP_CM_STORE && e->method != ZIP_CM_DEFLATE)
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: member '%s': compression method %d; stored and deflated members "
                       "can be read", z->path, e->name, e->method);
    if (e->size > limit)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: member '%s' has %llu bytes; at most %zu are expected here", z->path,
                       e->name, (unsigned long long)e->size, limit);
    if (e->method == ZIP_CM_STORE ? e->size != e->packed : e->size / 1032 > e->packed)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: member '%s' announces %llu bytes, which its %llu cannot hold", z->path,
                       e->name, (unsigned long long)e->size, (unsigned long long)e->packed);
    if (e->method != ZIP_CM_STORE && e->size > INFLATED_FREE + 2 * z->file.size)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: member '%s' inflates to %llu bytes, the archive has %zu: too much to trust it; if you "
                       "made it, store the member uncompressed", z->path, e->name, (unsigned long long)e->size, z->file.size);
    uint8_t *p = fd_arena_alloc(ctx, arena, (size_t)e->size);
    if (!p) return FD_E_NOMEM;
    pthread_mutex_lock(&z->lock);
    fd_status s = inflate_entry(ctx, z, i, p);
    pthread_mutex_unlock(&z->lock);
    if (s == FD_OK) *out = (fd_bytes){p, (size_t)e->size};
    return s;
}

fd_status fd_zip_view(fd_ctx *ctx, const fd_zip *z, int64_t i, bool check, fd_bytes *out) {
    *out = (fd_bytes){0};
    const entry *e = &z->entry[i];
    if (e->encrypted || e->method != ZIP_CM_STORE || e->size != e->packed)
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: member '%s' is %s; it must be stored as it is", z->path, e->name,
                       e->encrypted ? "encrypted" : "compressed");
    uint64_t at = e->local, left = z->file.size;
    const uint8_t *p = z->file.data + at;
    bool good = at < left && left - at >= 30 && le(p, 4) == 0x04034b50;
    uint64_t head = good ? 30 + le(p + 26, 2) + le(p + 28, 2) : 0;
    if (!good || head > left - at || left - at - head < e->size)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: member '%s': its data lies outside the archive, or its header is "
                       "damaged", z->path, e->name);
    *out = (fd_bytes){p + head, (size_t)e->size};
    if (check && crc32_z(crc32(0, NULL, 0), out->data, out->size) != e->crc)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: member '%s': its CRC is wrong: the file is damaged", z->path, e->name);
    return FD_OK;
}

uint32_t fd_zip_crc(const fd_zip *z, int64_t i) { return z->entry[i].crc; }
