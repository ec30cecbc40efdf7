/* The container of torch before 1.6, and of every storage in an EDM pickle (torch.storage._load_from_bytes): magic
 * number, protocol version, system, the object, the list of storage keys; then for every key its element count and
 * elements. Layout byte by byte: docs/import.md. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io/pickle_parts.h"
#include "io/torch.h"

static const uint8_t magic[15] = {0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19,
                                  '.'};

typedef struct { fd_storage **list; uint32_t n, room; } storages;

bool fd_torch_legacy_is(fd_bytes f) {
    /* The pickle protocol is the writer's choice; the number is what matters. */
    return f.size > sizeof magic && f.data[0] == 0x80 && memmem(f.data, 32 < f.size ? 32 : f.size, magic + 2, 12);
}

static fd_status remember(fd_ctx *ctx, fd_pk_session *s, void *user, const fd_pk *id, fd_pk **out) {
    storages *st = user;
    fd_storage *storage;
    /* The sixth item speaks of views; torch 0.3 and older wrote five. */
    int items = fd_pk_is(id, FD_PK_TUPLE) && id->n == 5 ? 5 : 6;
    FD_TRY(fd_torch_storage_id(ctx, s, id, items, &storage, out));
    void *array = st->list;
    FD_TRY(fd_pk_grow(ctx, s, &array, st->n, &st->room, sizeof *st->list, FD_PK_MAX_STACK, "storages"));
    st->list = array;
    st->list[st->n++] = storage;
    return FD_OK;
}

/* Runs the next pickle and moves *rest behind it. */
static fd_status next(fd_ctx *ctx, fd_pk_session *s, fd_bytes *rest, unsigned names, storages *st, fd_pk **out) {
    const fd_pk_host *outer = s->host;
    fd_pk_host host = {.names = names, .persistent = st ? remember : NULL, .user = st};
    size_t used = 0;
    s->host = &host;
    fd_status status = fd_pickle_run(ctx, s, *rest, &used, out);
    s->host = outer;
    rest->data += used;
    rest->size -= used;
    return status;
}

static fd_status header(fd_ctx *ctx, fd_pk_session *s, fd_bytes *rest) {
    fd_pk *v;
    int64_t version;
    FD_TRY(next(ctx, s, rest, 0, NULL, &v));
    if (!fd_pk_is(v, FD_PK_BIG) || v->text.n != 10 || memcmp(v->text.p, magic + 4, 10))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: not torch's magic number", s->where);
    FD_TRY(next(ctx, s, rest, 0, NULL, &v));
    if (!fd_pk_int(v, &version) || version != 1001)
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: another version of torch's old container than 1001", s->where);
    FD_TRY(next(ctx, s, rest, 0, NULL, &v));
    const fd_pk *little = fd_pk_get(v, "little_endian");
    if (!fd_pk_is(little, FD_PK_BOOL) || !little->truth)
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: written on a big-endian machine, or without saying on which; save "
                       "it again with a newer torch", s->where);
    return FD_OK;
}

static int by_key(const void *a, const void *b) {
    const fd_bytes *x = &(*(fd_storage *const *)a)->key, *y = &(*(fd_storage *const *)b)->key;
    int order = memcmp(x->data, y->data, x->size < y->size ? x->size : y->size);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

static fd_status take_storage(fd_ctx *ctx, fd_pk_session *s, const storages *st, const fd_pk *key, fd_bytes *rest) {
    fd_storage probe = {0}, *p = &probe;
    if (!fd_pk_is(key, FD_PK_TEXT))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: a storage's key is %s, not text", s->where, fd_pk_kind_name(key));
    probe.key = (fd_bytes){(const uint8_t *)key->text.p, key->text.n};
    fd_storage **hit = st->n ? bsearch(&p, st->list, st->n, sizeof *st->list, by_key) : NULL, *first;
    char name[60];
    fd_pk_copy(key, name, sizeof name);
    if (!hit || (*hit)->data)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: storage '%s' is %s", s->where, name,
                       hit ? "listed twice" : "listed, but nothing refers to it");
    int64_t count;
    if (rest->size < 8) return FD_FAIL(ctx, FD_E_FORMAT, "%s: storage '%s': the file is cut off", s->where, name);
    memcpy(&count, rest->data, 8);
    first = *hit;
    if (count != first->count)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: storage '%s' has %" PRId64 " elements, %" PRId64 " were announced",
                       s->where, name, count, first->count);
    rest->data += 8;
    rest->size -= 8;
    uint64_t bytes = (uint64_t)count * (uint64_t)first->type->bytes;      /* checked when the id was read */
    if (bytes > rest->size)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: storage '%s' has %" PRIu64 " bytes, %zu are left: the file is cut off",
                       s->where, name, bytes, rest->size);
    /* Every reference to this key is the same storage. */
    while (hit > st->list && by_key(hit - 1, &p) == 0) hit--;
    for (; hit < st->list + st->n && by_key(hit, &p) == 0; hit++) {
        if ((*hit)->count != count || (*hit)->type != first->type)
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: storage '%s' is described in two ways", s->where, name);
        (*hit)->data = rest->data;
    }
    rest->data += bytes;
    rest->size -= bytes;
    return FD_OK;
}

static fd_status read_storages(fd_ctx *ctx, fd_pk_session *s, const storages *st, fd_bytes *rest) {
    fd_pk *keys;
    FD_TRY(next(ctx, s, rest, 0, NULL, &keys));
    if (!fd_pk_is(keys, FD_PK_LIST))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: the list of storages is %s", s->where, fd_pk_kind_name(keys));
    if (st->n) qsort(st->list, st->n, sizeof *st->list, by_key);
    for (uint32_t i = 0; i < keys->n; i++) FD_TRY(take_storage(ctx, s, st, keys->item[i], rest));
    for (uint32_t i = 0; i < st->n; i++)
        if (!st->list[i]->data)
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: storage '%.*s' is missing from the list of storages", s->where,
                           (int)st->list[i]->key.size, (const char *)st->list[i]->key.data);
    if (rest->size)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: %zu bytes after the last storage belong to nothing", s->where,
                       rest->size);
    return FD_OK;
}

static fd_status read_container(fd_ctx *ctx, fd_pk_session *s, fd_bytes file, unsigned names, fd_pk **out) {
    storages st = {0};
    FD_TRY(header(ctx, s, &file));
    FD_TRY(next(ctx, s, &file, names, &st, out));
    return read_storages(ctx, s, &st, &file);
}

fd_status fd_torch_legacy_read(fd_ctx *ctx, fd_pk_session *s, fd_bytes file, fd_pk **out) {
    return read_container(ctx, s, file, FD_PK_DATA | FD_PK_TORCH | FD_PK_STORAGES | FD_PK_PERSISTENT, out);
}

/* torch.storage._load_from_bytes(bytes): the bytes are such a container whose object is one storage. */
fd_status fd_torch_load_bytes(fd_ctx *ctx, fd_pk_session *s, const fd_pk_name *name, const fd_pk *args, fd_pk **out) {
    const fd_pk *blob = args->n == 1 ? args->item[0] : NULL;
    if (!fd_pk_is(blob, FD_PK_BYTES))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: _load_from_bytes is given %s, bytes are needed", s->where,
                       fd_pk_kind_name(blob));
    fd_bytes file = {(const uint8_t *)blob->text.p, blob->text.n};
    FD_TRY(fd_pk_spend(ctx, s, file.size));
    FD_TRY(read_container(ctx, s, file, FD_PK_STORAGES, out));
    if (fd_pk_is(*out, FD_PK_STORAGE)) return FD_OK;
    return FD_FAIL(ctx, FD_E_FORMAT, "%s: the bytes of a storage hold %s instead", s->where, fd_pk_kind_name(*out));
}
