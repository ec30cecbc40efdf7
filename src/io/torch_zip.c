/* The container of torch.save since 1.6 and of TorchScript: a zip of ROOT/data.pkl, ROOT/data/KEY, ROOT/version and a
 * few more. Nothing is copied: records are views of the file. */
#include <stdio.h>
#include <string.h>

#include "io/pickle_parts.h"
#include "io/torch.h"

typedef struct {
    fd_zip *zip;
    char root[300];               /* "archive/" */
    bool swapped, checksums;
    bool *checked;                /* per record: its CRC was compared */
} archive;

/* The only member called ROOT/data.pkl; -1: none, -2: several. */
static int64_t find_pickle(const fd_zip *zip) {
    int64_t found = -1;
    for (int64_t i = 0; i < fd_zip_count(zip); i++) {
        const char *name = fd_zip_name(zip, i), *slash = strchr(name, '/');
        if (!slash || strcmp(slash, "/data.pkl")) continue;
        if (found >= 0) return -2;
        found = i;
    }
    return found;
}

bool fd_torch_zip_is(const fd_zip *zip) { return find_pickle(zip) != -1; }

static int64_t member(const archive *a, const char *name, int n) {
    char full[512];
    snprintf(full, sizeof full, "%s%.*s", a->root, n, name);
    return fd_zip_find(a->zip, full);
}

static fd_status view(fd_ctx *ctx, archive *a, int64_t i, fd_bytes *out) {
    FD_TRY(fd_zip_view(ctx, a->zip, i, a->checksums && !a->checked[i], out));
    a->checked[i] = true;
    return FD_OK;
}

/* A small text member without its newline; "" when it is absent. */
static fd_status short_text(fd_ctx *ctx, archive *a, const char *name, char out[16]) {
    fd_bytes b;
    int64_t i = member(a, name, (int)strlen(name));
    out[0] = 0;
    if (i < 0) return FD_OK;
    FD_TRY(view(ctx, a, i, &b));
    if (b.size > 15) return FD_FAIL(ctx, FD_E_FORMAT, "%s: member '%s' is too long", fd_zip_path(a->zip), name);
    memcpy(out, b.data, b.size);
    out[b.size] = 0;
    out[strcspn(out, "\n")] = 0;
    return FD_OK;
}

static fd_status read_header(fd_ctx *ctx, archive *a) {
    char version[16], order[16];
    const char *path = fd_zip_path(a->zip);
    FD_TRY(short_text(ctx, a, "version", version));
    FD_TRY(short_text(ctx, a, "byteorder", order));
    bool digits = version[0] && strlen(version) <= 2 && strspn(version, "0123456789") == strlen(version);
    if (!digits)
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: the archive's version record says '%s'; a number up to 99 is right",
                       path, version);
    a->swapped = strcmp(order, "big") == 0;
    if (order[0] && !a->swapped && strcmp(order, "little"))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: byte order '%s' is neither little nor big", path, order);
    return FD_OK;
}

static fd_status record(fd_ctx *ctx, fd_pk_session *s, void *user, const fd_pk *id, fd_pk **out) {
    archive *a = user;
    fd_storage *st;
    fd_bytes b;
    char name[128];
    FD_TRY(fd_torch_storage_id(ctx, s, id, 5, &st, out));
    int n = snprintf(name, sizeof name, "data/%.*s", (int)st->key.size, (const char *)st->key.data);
    int64_t i = member(a, name, n);
    if (i < 0) return FD_FAIL(ctx, FD_E_FORMAT, "%s: the record '%s' of a storage is missing", s->where, name);
    FD_TRY(view(ctx, a, i, &b));
    if ((uint64_t)st->count * (uint64_t)st->type->bytes != b.size)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: a storage of %lld %s elements needs %llu bytes, its record '%s' has "
                       "%zu", s->where, (long long)st->count, st->type->name,
                       (unsigned long long)st->count * (unsigned long long)st->type->bytes, name, b.size);
    st->data = b.data;
    st->swapped = a->swapped;
    return FD_OK;
}

static bool any_checksum(const fd_zip *zip) {
    for (int64_t i = 0; i < fd_zip_count(zip); i++)
        if (fd_zip_crc(zip, i)) return true;
    return false;
}

static fd_status read_pickle(fd_ctx *ctx, fd_pk_session *s, archive *a, fd_bytes pickle, bool script, fd_pk **out) {
    size_t used;
    fd_pk_host host = {.names = FD_PK_DATA | FD_PK_TORCH | FD_PK_STORAGES | FD_PK_PERSISTENT |
                                (script ? FD_PK_SCRIPT : 0u),
                       .persistent = record, .user = a};
    s->host = &host;
    fd_status status = fd_pickle_run(ctx, s, pickle, &used, out);
    s->host = NULL;
    if (status == FD_OK && used != pickle.size)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: %zu bytes after the end of data.pkl", s->where, pickle.size - used);
    return status;
}

fd_status fd_torch_zip_read(fd_ctx *ctx, fd_pk_session *s, fd_zip *zip, bool *script, fd_pk **out) {
    archive a = {.zip = zip, .checksums = any_checksum(zip)};
    int64_t i = find_pickle(zip);
    if (i < 0)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: %s 'data.pkl' in this archive; torch writes one", fd_zip_path(zip),
                       i == -1 ? "no" : "more than one");
    const char *name = fd_zip_name(zip, i);
    int root = (int)(strlen(name) - strlen("data.pkl"));
    if (root >= (int)sizeof a.root)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: the archive's folder has too long a name", fd_zip_path(zip));
    snprintf(a.root, sizeof a.root, "%.*s", root, name);
    a.checked = fd_arena_alloc(ctx, &s->arena, (size_t)fd_zip_count(zip));
    if (!a.checked) return FD_E_NOMEM;
    *script = member(&a, "constants.pkl", 13) >= 0;
    fd_bytes pickle;
    FD_TRY(view(ctx, &a, i, &pickle));
    FD_TRY(read_header(ctx, &a));
    return read_pickle(ctx, s, &a, pickle, *script, out);
}
