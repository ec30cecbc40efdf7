/* torch's constructors of tensors, with every number checked against the storage; strided views as plain arrays. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "io/pickle_parts.h"
#include "io/torch.h"

static const fd_torch_type types[] = {
    {"DoubleStorage", "float64", 8, FD_ST_F64},   {"FloatStorage", "float32", 4, FD_ST_F32},
    {"HalfStorage", "float16", 2, FD_ST_F16},     {"BFloat16Storage", "bfloat16", 2, FD_ST_BF16},
    {"LongStorage", "int64", 8, FD_ST_I64},       {"IntStorage", "int32", 4, FD_ST_I32},
    {"ShortStorage", "int16", 2, FD_ST_I16},      {"CharStorage", "int8", 1, FD_ST_I8},
    {"ByteStorage", "uint8", 1, FD_ST_U8},        {"BoolStorage", "bool", 1, FD_ST_BOOL},
    {"ComplexFloatStorage", "complex64", 8, -1},  {"ComplexDoubleStorage", "complex128", 16, -1},
    {"UntypedStorage", "", 1, -1},                {NULL, "uint16", 2, FD_ST_U16},
    {NULL, "uint32", 4, FD_ST_U32},               {NULL, "uint64", 8, FD_ST_U64},
    {NULL, "float8_e4m3fn", 1, -1},               {NULL, "float8_e5m2", 1, -1},
};

static const fd_torch_type *type_of(const fd_pk *global, bool storage) {
    for (size_t i = 0; fd_pk_is(global, FD_PK_GLOBAL) && i < FD_COUNT(types); i++) {
        const char *name = storage ? types[i].storage : types[i].name;
        bool torch = storage ? global->name->group == FD_PK_STORAGES : strcmp(global->name->module, "torch") == 0;
        if (torch && name && strcmp(global->name->name, name) == 0) return &types[i];
    }
    return NULL;
}

static fd_status wrong(fd_ctx *ctx, const fd_pk_session *s, const char *why) {
    return FD_FAIL(ctx, FD_E_FORMAT, "%s: a tensor in the pickle %s: the file is damaged or lies", s->where, why);
}

/* ---- storages -------------------------------------------------------------------------------------------------- */

fd_status fd_torch_storage_id(fd_ctx *ctx, fd_pk_session *s, const fd_pk *id, int items, fd_storage **out,
                              fd_pk **value) {
    if (!fd_pk_is(id, FD_PK_TUPLE) || !id->n || !fd_pk_is(id->item[0], FD_PK_TEXT))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: a reference to outside data is %s, not torch's tuple", s->where,
                       fd_pk_kind_name(id));
    if (!fd_pk_is_text(id->item[0], "storage")) {
        char kind[40];
        fd_pk_copy(id->item[0], kind, sizeof kind);
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: a reference to outside data of kind '%s': only storages are read",
                       s->where, kind);
    }
    if ((int)id->n != items)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: a storage is described by %u items, %d are right", s->where, id->n,
                       items);
    const fd_torch_type *type = type_of(id->item[1], true);
    const fd_pk *key = id->item[2], *count = id->item[4];
    if (!type) return wrong(ctx, s, "has a storage of no known class");
    if (!fd_pk_is(key, FD_PK_TEXT) || !key->text.n || key->text.n > 100)
        return wrong(ctx, s, "has a storage whose key is no short text");
    for (size_t i = 0; i < key->text.n; i++)
        if (!strchr("0123456789abcdefABCDEF_-", key->text.p[i]))
            return wrong(ctx, s, "has a storage whose key is not made of digits");
    int64_t bytes;
    if (!fd_pk_is(count, FD_PK_INT) || count->i < 0 || __builtin_mul_overflow(count->i, type->bytes, &bytes))
        return wrong(ctx, s, "has a storage of an impossible size");
    for (int i = 5; i < items; i++)
        if (!fd_pk_is(id->item[i], FD_PK_NONE))
            return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: a storage that is a part of another one, as torch before 0.4 "
                           "saved them", s->where);
    fd_storage *st = *out = fd_pk_alloc(ctx, s, sizeof *st);
    if (!st) return ctx->code;
    *st = (fd_storage){.type = type, .count = count->i, .key = {(const uint8_t *)key->text.p, key->text.n}};
    FD_TRY(fd_pk_new(ctx, s, FD_PK_STORAGE, value));
    (*value)->storage = st;
    return FD_OK;
}

/* ---- tensors --------------------------------------------------------------------------------------------------- */

/* A tuple of integers that are not negative. */
static bool integers(const fd_pk *v, int64_t out[FD_ST_MAX_RANK], int *n) {
    if (!fd_pk_is(v, FD_PK_TUPLE) || v->n > FD_ST_MAX_RANK) return false;
    for (uint32_t i = 0; i < v->n; i++) {
        if (!fd_pk_is(v->item[i], FD_PK_INT) || v->item[i]->i < 0) return false;
        out[i] = v->item[i]->i;
    }
    *n = (int)v->n;
    return true;
}

static fd_status check_view(fd_ctx *ctx, const fd_pk_session *s, fd_tensor *t) {
    int64_t last = t->offset, span, held = t->storage->count;
    bool overflow = false;
    t->count = 1;
    for (int i = 0; i < t->rank; i++) overflow |= __builtin_mul_overflow(t->count, t->dim[i], &t->count);
    if (overflow) return wrong(ctx, s, "has a shape whose product is out of range");
    if (t->storage->type->name[0] == 0) held /= t->type->bytes;        /* an untyped storage counts bytes */
    for (int i = 0; t->count && i < t->rank; i++)
        overflow |= __builtin_mul_overflow(t->dim[i] - 1, t->stride[i], &span) ||
                    __builtin_add_overflow(last, span, &last);
    if (overflow || last > held || (t->count && last == held))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: a tensor's last element lies at %" PRId64 ", its storage has %" PRId64
                       ": the file is damaged or lies", s->where, overflow ? INT64_MAX : last, held);
    return FD_OK;
}

/* _rebuild_tensor(storage, offset, size, stride)
 * _rebuild_tensor_v2(… , requires_grad, hooks[, metadata])
 * _rebuild_tensor_v3(… , requires_grad, hooks, dtype[, metadata]) */
fd_status fd_torch_rebuild_tensor(fd_ctx *ctx, fd_pk_session *s, const fd_pk_name *name, const fd_pk *args,
                                  fd_pk **out) {
    static const uint32_t least[] = {0, 4, 6, 7}, most[] = {0, 4, 7, 8};
    if (args->n < least[name->id] || args->n > most[name->id])
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: %s with %u arguments", s->where, name->name, args->n);
    fd_pk *const *a = args->item;
    if (!fd_pk_is(a[0], FD_PK_STORAGE)) return wrong(ctx, s, "has no storage");
    FD_TRY(fd_pk_new(ctx, s, FD_PK_TENSOR, out));
    fd_tensor *t = (*out)->tensor = fd_pk_alloc(ctx, s, sizeof *t);
    if (!t) return ctx->code;
    t->storage = a[0]->storage;
    t->type = name->id == 3 ? type_of(a[6], false) : t->storage->type;
    if (!t->type || !t->type->name[0] || (name->id == 3 && t->storage->type->name[0]))
        return wrong(ctx, s, "has no element type, or one that its storage has not");
    int strides = 0;
    if (!fd_pk_is(a[1], FD_PK_INT) || a[1]->i < 0) return wrong(ctx, s, "has an impossible offset");
    t->offset = a[1]->i;
    if (!integers(a[2], t->dim, &t->rank) || !integers(a[3], t->stride, &strides) || strides != t->rank)
        return wrong(ctx, s, "has a shape or strides that are impossible or of more than 8 dimensions");
    return check_view(ctx, s, t);
}

/* A parameter is its tensor: _rebuild_parameter(tensor, requires_grad, hooks),
 * _rebuild_parameter_with_state(tensor, requires_grad, hooks, state) */
fd_status fd_torch_rebuild_parameter(fd_ctx *ctx, fd_pk_session *s, const fd_pk_name *name, const fd_pk *args,
                                     fd_pk **out) {
    if ((int)args->n != name->id || !fd_pk_is(args->item[0], FD_PK_TENSOR))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: %s around %s: a tensor is needed", s->where, name->name,
                       fd_pk_kind_name(args->n ? args->item[0] : NULL));
    *out = args->item[0];
    return FD_OK;
}

/* torch.Size((2, 3)) */
fd_status fd_torch_size(fd_ctx *ctx, fd_pk_session *s, const fd_pk_name *name, const fd_pk *args, fd_pk **out) {
    if (args->n != 1 || !(fd_pk_is(args->item[0], FD_PK_TUPLE) || fd_pk_is(args->item[0], FD_PK_LIST)))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: torch.Size of something else than a tuple", s->where);
    *out = args->item[0];
    return FD_OK;
}

/* ---- elements -------------------------------------------------------------------------------------------------- */

static bool in_order(const fd_tensor *t) {
    int64_t expected = 1;
    for (int i = t->rank; i-- > 0; expected *= t->dim[i])
        if (t->dim[i] != 1 && t->stride[i] != expected) return false;
    return !t->storage->swapped || t->type->bytes == 1;
}

fd_status fd_tensor_elements(fd_ctx *ctx, fd_arena *arena, const fd_tensor *t, const void **out) {
    size_t bytes = (size_t)t->type->bytes;
    const uint8_t *from = t->storage->data;
    *out = "";
    if (!t->count) return FD_OK;
    from += (size_t)t->offset * bytes;
    if (in_order(t)) {
        *out = from;
        return FD_OK;
    }
    uint8_t *to = fd_arena_alloc(ctx, arena, (size_t)t->count * bytes);
    if (!to) return FD_E_NOMEM;
    *out = to;
    int64_t index[FD_ST_MAX_RANK] = {0}, at = 0;
    for (int64_t i = 0; i < t->count; i++, to += bytes) {
        if (t->storage->swapped)
            for (size_t b = 0; b < bytes; b++) to[b] = from[(size_t)at * bytes + bytes - 1 - b];
        else memcpy(to, from + (size_t)at * bytes, bytes);
        for (int k = t->rank; k-- > 0;) {         /* the next index, the last one running fastest */
            at += t->stride[k];
            if (++index[k] < t->dim[k]) break;
            at -= t->stride[k] * t->dim[k];
            index[k] = 0;
        }
    }
    return FD_OK;
}
