/* Values of a pickle: making them within the limits of the session, and looking at them. */
#include <string.h>

#include "io/pickle_parts.h"

enum { SLAB = 512 };              /* values per allocation: the arena rounds every piece up to 64 bytes */

void fd_pk_session_init(fd_pk_session *s, const char *where, size_t file_bytes) {
    *s = (fd_pk_session){.where = where, .memory = FD_PK_MAX_MEMORY, .opcodes = FD_PK_MAX_OPCODES,
                         .bytes = 3 * (int64_t)file_bytes};       /* protocol 2: text, bytes, storage */
}

void fd_pk_session_free(fd_pk_session *s) {
    fd_arena_free(&s->arena);
    *s = (fd_pk_session){0};
}

void *fd_pk_alloc(fd_ctx *ctx, fd_pk_session *s, size_t bytes) {
    if (s->memory < (int64_t)bytes || bytes > FD_PK_MAX_MEMORY) {
        FD_FAIL(ctx, FD_E_FORMAT, "%s: the pickle holds more values than a checkpoint needs (%d MiB of them): "
                "refused", s->where, FD_PK_MAX_MEMORY >> 20);
        return NULL;
    }
    s->memory -= (int64_t)((bytes + FD_ALIGN) / FD_ALIGN * FD_ALIGN);
    return fd_arena_alloc(ctx, &s->arena, bytes);
}

fd_status fd_pk_spend(fd_ctx *ctx, fd_pk_session *s, size_t bytes) {
    if (s->bytes < (int64_t)bytes)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: the pickle decodes the same bytes again and again: refused", s->where);
    s->bytes -= (int64_t)bytes;
    return FD_OK;
}

fd_status fd_pk_new(fd_ctx *ctx, fd_pk_session *s, fd_pk_kind kind, fd_pk **out) {
    if (!s->slab_left) {
        s->slab = fd_pk_alloc(ctx, s, SLAB * sizeof *s->slab);
        if (!s->slab) return ctx->code;
        s->slab_left = SLAB;
    }
    s->slab_left--;
    *out = s->slab++;
    (*out)->kind = (uint8_t)kind;
    return FD_OK;
}

fd_status fd_pk_new_text(fd_ctx *ctx, fd_pk_session *s, fd_pk_kind kind, const void *p, size_t n, fd_pk **out) {
    FD_TRY(fd_pk_new(ctx, s, kind, out));
    (*out)->text.p = p;
    (*out)->text.n = n;
    return FD_OK;
}

fd_status fd_pk_grow(fd_ctx *ctx, fd_pk_session *s, void **array, uint32_t n, uint32_t *room, size_t element,
                     uint32_t most, const char *what) {
    if (n < *room) return FD_OK;
    if (n >= most) return FD_FAIL(ctx, FD_E_FORMAT, "%s: more than %u %s: refused", s->where, most, what);
    uint32_t more = *room ? *room * 2 : 8;
    if (more > most) more = most;
    void *p = fd_pk_alloc(ctx, s, more * element);
    if (!p) return ctx->code;
    if (n) memcpy(p, *array, n * element);
    *array = p;
    *room = more;
    return FD_OK;
}

/* The depth of a container grows with its items. What was already put elsewhere does not learn of it: readers of
 * values limit their own recursion too. */
static fd_status deepen(fd_ctx *ctx, const fd_pk_session *s, fd_pk *container, const fd_pk *item) {
    if (item->depth >= FD_PK_MAX_DEPTH)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: values nested more than %d deep: refused", s->where, FD_PK_MAX_DEPTH);
    if (container->depth <= item->depth) container->depth = (uint16_t)(item->depth + 1);
    return FD_OK;
}

fd_status fd_pk_append(fd_ctx *ctx, fd_pk_session *s, fd_pk *list, fd_pk *item) {
    FD_TRY(deepen(ctx, s, list, item));
    void *array = list->item;
    FD_TRY(fd_pk_grow(ctx, s, &array, list->n, &list->room, sizeof *list->item, FD_PK_MAX_STACK, "items of a list"));
    list->item = array;
    list->item[list->n++] = item;
    return FD_OK;
}

fd_status fd_pk_set(fd_ctx *ctx, fd_pk_session *s, fd_pk *dict, fd_pk *key, fd_pk *value) {
    switch (key->kind) {
    case FD_PK_LIST: case FD_PK_SET: case FD_PK_DICT: case FD_PK_TENSOR: case FD_PK_STORAGE: case FD_PK_ARRAY:
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: %s as the key of a dict", s->where, fd_pk_kind_name(key));
    default: break;
    }
    FD_TRY(deepen(ctx, s, dict, key));
    FD_TRY(deepen(ctx, s, dict, value));
    void *array = dict->item;
    FD_TRY(fd_pk_grow(ctx, s, &array, dict->n, &dict->room, 2 * sizeof *dict->item, FD_PK_MAX_STACK,
                      "entries of a dict"));
    dict->item = array;
    dict->item[2 * dict->n] = key;
    dict->item[2 * dict->n++ + 1] = value;
    return FD_OK;
}

fd_status fd_pk_new_items(fd_ctx *ctx, fd_pk_session *s, fd_pk_kind kind, fd_pk *const *item, uint32_t n,
                          fd_pk **out) {
    FD_TRY(fd_pk_new(ctx, s, kind, out));
    if (!n) return FD_OK;
    fd_pk *v = *out;
    v->item = fd_pk_alloc(ctx, s, n * sizeof *v->item);
    if (!v->item) return ctx->code;
    v->room = v->n = n;
    memcpy(v->item, item, n * sizeof *item);
    for (uint32_t i = 0; i < n; i++) FD_TRY(deepen(ctx, s, v, item[i]));
    return FD_OK;
}

/* ---- looking --------------------------------------------------------------------------------------------------- */

bool fd_pk_is(const fd_pk *v, fd_pk_kind kind) { return v && v->kind == kind; }

const char *fd_pk_kind_name(const fd_pk *v) {
    static const char *const names[] = {"None", "a truth value", "an integer", "a long integer", "a number", "text",
                                        "bytes", "a tuple", "a list", "a set", "a dict", "a class or function",
                                        "an object", "a storage", "a tensor", "a NumPy type", "a NumPy array"};
    return v && v->kind < FD_COUNT(names) ? names[v->kind] : "nothing";
}

bool fd_pk_is_text(const fd_pk *v, const char *text) {
    return fd_pk_is(v, FD_PK_TEXT) && v->text.n == strlen(text) && memcmp(v->text.p, text, v->text.n) == 0;
}

const fd_pk *fd_pk_get(const fd_pk *dict, const char *key) {
    if (!fd_pk_is(dict, FD_PK_DICT)) return NULL;
    for (uint32_t i = dict->n; i-- > 0;)      /* the last one of a name counts, as in Python */
        if (fd_pk_is_text(dict->item[2 * i], key)) return dict->item[2 * i + 1];
    return NULL;
}

static bool scalar(const fd_pk *v) { return fd_pk_is(v, FD_PK_ARRAY) && v->array->done && v->array->count == 1; }

bool fd_pk_int(const fd_pk *v, int64_t *out) {
    if (fd_pk_is(v, FD_PK_INT)) return *out = v->i, true;
    if (fd_pk_is(v, FD_PK_BOOL)) return *out = v->truth, true;
    if (!scalar(v) || v->array->type[0] == 'f') return false;
    double d = fd_pk_array_at(v->array, 0);
    if (!(d > -9e18 && d < 9e18)) return false;
    *out = (int64_t)d;
    return true;
}

bool fd_pk_real(const fd_pk *v, double *out) {
    int64_t i;
    if (fd_pk_is(v, FD_PK_REAL)) return *out = v->r, true;
    if (scalar(v)) return *out = fd_pk_array_at(v->array, 0), true;
    if (!fd_pk_int(v, &i)) return false;
    *out = (double)i;
    return true;
}

void fd_pk_copy(const fd_pk *v, char *out, size_t size) {
    size_t n = fd_pk_is(v, FD_PK_TEXT) ? v->text.n : 0;
    if (n >= size) {
        n = size - 1;
        while (n && ((unsigned char)v->text.p[n] & 0xc0) == 0x80) n--;     /* no half characters */
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)v->text.p[i];
        out[i] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    out[n] = 0;
}

/* U+0000 to U+00FF only? Without branches: protocol 2 writes the bytes of storages as such text. */
static bool latin1_only(const unsigned char *p, const unsigned char *end) {
    unsigned bad = 0;
    while (end - p > 1) {
        unsigned high = p[0] >> 7;
        bad |= high & (((p[0] & 0xfeu) != 0xc2) | ((p[1] & 0xc0u) != 0x80));
        p += 1 + high;
    }
    return !bad && (p == end || *p < 0x80);
}

/* As RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool fd_utf8_valid(const char *text, size_t n) {
    const unsigned char *p = (const unsigned char *)text, *end = p + n;
    if (latin1_only(p, end)) return true;
    while (p < end) {
        unsigned char c = *p++;
        if (c < 0x80) continue;
        int more = c >= 0xc2 && c < 0xe0 ? 1 : (c & 0xf0) == 0xe0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : 0;
        if (!more || end - p < more) return false;
        if ((c == 0xe0 && p[0] < 0xa0) || (c == 0xed && p[0] >= 0xa0) || (c == 0xf0 && p[0] < 0x90) ||
            (c == 0xf4 && p[0] >= 0x90))
            return false;
        for (; more; more--)
            if ((*p++ & 0xc0) != 0x80) return false;
    }
    return true;
}
