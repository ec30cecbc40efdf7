/* The names that a pickle may use, and what calling, making and filling them means here. */
#include <string.h>

#include "io/pickle_parts.h"
#include "io/torch.h"

/* ---- constructors of plain values ------------------------------------------------------------------------------ */

static fd_status wrong(fd_ctx *ctx, const fd_pk_session *s, const fd_pk_name *name, const fd_pk *args) {
    return FD_FAIL(ctx, FD_E_FORMAT, "%s: %s.%s with %u arguments that it does not take", s->where, name->module,
                   name->name, args->n);
}

/* OrderedDict(), EasyDict(): empty, or from a list of pairs as Python 2 wrote it. */
static fd_status make_dict(fd_ctx *ctx, fd_pk_session *s, const fd_pk_name *name, const fd_pk *args, fd_pk **out) {
    FD_TRY(fd_pk_new(ctx, s, FD_PK_DICT, out));
    if (!args->n) return FD_OK;
    const fd_pk *list = args->item[0];
    if (args->n > 1 || !fd_pk_is(list, FD_PK_LIST)) return wrong(ctx, s, name, args);
    for (uint32_t i = 0; i < list->n; i++) {
        const fd_pk *pair = list->item[i];
        if (!(fd_pk_is(pair, FD_PK_LIST) || fd_pk_is(pair, FD_PK_TUPLE)) || pair->n != 2)
            return wrong(ctx, s, name, args);
        FD_TRY(fd_pk_set(ctx, s, *out, pair->item[0], pair->item[1]));
    }
    return FD_OK;
}

static fd_status make_set(fd_ctx *ctx, fd_pk_session *s, const fd_pk_name *name, const fd_pk *args, fd_pk **out) {
    if (!args->n) return fd_pk_new(ctx, s, FD_PK_SET, out);
    const fd_pk *list = args->item[0];
    if (args->n > 1 || !(fd_pk_is(list, FD_PK_LIST) || fd_pk_is(list, FD_PK_TUPLE)))
        return wrong(ctx, s, name, args);
    FD_TRY(fd_pk_spend(ctx, s, list->n));
    return fd_pk_new_items(ctx, s, FD_PK_SET, list->item, list->n, out);
}

/* Bytes, wherever they stand in the file: bytes(b), bytearray(b). */
static fd_status make_bytes(fd_ctx *ctx, fd_pk_session *s, const fd_pk_name *name, const fd_pk *args, fd_pk **out) {
    if (!args->n) return fd_pk_new_text(ctx, s, FD_PK_BYTES, "", 0, out);
    if (args->n > 1 || !fd_pk_is(args->item[0], FD_PK_BYTES)) return wrong(ctx, s, name, args);
    *out = args->item[0];
    return FD_OK;
}

/* Bytes of protocol 2: _codecs.encode(text, 'latin1'), every character one byte. */
static fd_status encode(fd_ctx *ctx, fd_pk_session *s, const fd_pk_name *name, const fd_pk *args, fd_pk **out) {
    const fd_pk *text = args->n ? args->item[0] : NULL;
    if (args->n != 2 || !fd_pk_is(text, FD_PK_TEXT)) return wrong(ctx, s, name, args);
    if (!fd_pk_is_text(args->item[1], "latin1") && !fd_pk_is_text(args->item[1], "latin-1"))
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: _codecs.encode with another codec than latin1: refused", s->where);
    FD_TRY(fd_pk_spend(ctx, s, text->text.n));
    const uint8_t *from = (const uint8_t *)text->text.p, *end = from + text->text.n;
    char *to = fd_arena_alloc(ctx, &s->arena, text->text.n);      /* bounded by what may be spent */
    size_t n = 0;
    unsigned beyond = 0;
    if (!to) return FD_E_NOMEM;
    /* The text is valid UTF-8, so what follows a byte of 0x80 or more is its second half. Without branches: a storage
     * is half a million random bytes. */
    while (end - from > 1) {
        unsigned c = from[0], high = c >> 7;
        beyond |= high & (c > 0xc3);
        to[n++] = (char)(high ? c << 6 | (from[1] & 0x3f) : c);
        from += 1 + high;
    }
    if (from < end) to[n++] = (char)*from;
    if (beyond) return FD_FAIL(ctx, FD_E_FORMAT, "%s: _codecs.encode: a character that latin1 has not", s->where);
    return fd_pk_new_text(ctx, s, FD_PK_BYTES, to, n, out);
}

/* Objects whose arguments do not matter here: torch.device('cpu'), argparse.Namespace(). */
static fd_status make_object(fd_ctx *ctx, fd_pk_session *s, const fd_pk_name *name, const fd_pk *args, fd_pk **out) {
    fd_pk *cls;
    FD_TRY(fd_pk_new_text(ctx, s, FD_PK_TEXT, name->name, strlen(name->name), &cls));
    FD_TRY(fd_pk_new(ctx, s, FD_PK_OBJECT, out));
    (*out)->object.cls = cls;
    return FD_OK;
}

/* ---- EDM's persistent objects ---------------------------------------------------------------------------------- */

static fd_status persistent(fd_ctx *ctx, fd_pk_session *s, const fd_pk_name *name, const fd_pk *args, fd_pk **out) {
    const fd_pk *meta = args->n == 1 ? args->item[0] : NULL;
    if (!fd_pk_is(meta, FD_PK_DICT))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: a persistent object is described by %s; one dict is right", s->where,
                       args->n == 1 ? fd_pk_kind_name(meta) : "several values");
    if (meta->n > 16)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: a persistent object is described by %u entries: refused", s->where,
                       meta->n);
    const fd_pk *cls = fd_pk_get(meta, "class_name"), *state = fd_pk_get(meta, "state");
    const fd_pk *source = fd_pk_get(meta, "module_src");
    int64_t version;
    if (!fd_pk_is_text(fd_pk_get(meta, "type"), "class"))
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: a persistent object that is no class instance: refused", s->where);
    if (!fd_pk_int(fd_pk_get(meta, "version"), &version) || version != 6)
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: a persistent object of another version than 6", s->where);
    if (!fd_pk_is(cls, FD_PK_TEXT) || !fd_pk_is(state, FD_PK_DICT))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: a persistent object without class_name or state", s->where);
    if (state->depth >= FD_PK_MAX_DEPTH)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: values nested more than %d deep: refused", s->where, FD_PK_MAX_DEPTH);
    if (!s->source && fd_pk_is(source, FD_PK_TEXT)) s->source = source;
    FD_TRY(fd_pk_new(ctx, s, FD_PK_OBJECT, out));
    (*out)->object.cls = cls;
    (*out)->object.state = state;
    (*out)->depth = (uint16_t)(state->depth + 1);
    return FD_OK;
}

/* ---- the list -------------------------------------------------------------------------------------------------- */

/* Names without a function cannot be called: they only stand for something. */
static const fd_pk_name names[] = {
    {"collections", "OrderedDict", FD_PK_DATA, make_dict, 0},
    {"dnnlib.util", "EasyDict", FD_PK_DATA, make_dict, 0},
    {"builtins", "set", FD_PK_DATA, make_set, 0},
    {"__builtin__", "set", FD_PK_DATA, make_set, 0},
    {"builtins", "frozenset", FD_PK_DATA, make_set, 0},
    {"__builtin__", "frozenset", FD_PK_DATA, make_set, 0},
    {"builtins", "bytearray", FD_PK_DATA, make_bytes, 0},
    {"__builtin__", "bytearray", FD_PK_DATA, make_bytes, 0},
    {"builtins", "bytes", FD_PK_DATA, make_bytes, 0},
    {"__builtin__", "bytes", FD_PK_DATA, make_bytes, 0},
    {"_codecs", "encode", FD_PK_DATA, encode, 0},
    {"argparse", "Namespace", FD_PK_DATA, make_object, 0},
    {"numpy", "dtype", FD_PK_DATA, fd_numpy_dtype, 0},
    {"numpy", "ndarray", FD_PK_DATA, NULL, 0},
    {"numpy.core.multiarray", "scalar", FD_PK_DATA, fd_numpy_scalar, 0},
    {"numpy._core.multiarray", "scalar", FD_PK_DATA, fd_numpy_scalar, 0},
    {"numpy.core.multiarray", "_reconstruct", FD_PK_DATA, fd_numpy_reconstruct, 0},
    {"numpy._core.multiarray", "_reconstruct", FD_PK_DATA, fd_numpy_reconstruct, 0},
    {"numpy.core.numeric", "_frombuffer", FD_PK_DATA, fd_numpy_frombuffer, 0},
    {"numpy._core.numeric", "_frombuffer", FD_PK_DATA, fd_numpy_frombuffer, 0},
    {"torch._utils", "_rebuild_tensor", FD_PK_TORCH, fd_torch_rebuild_tensor, 1},
    {"torch._utils", "_rebuild_tensor_v2", FD_PK_TORCH, fd_torch_rebuild_tensor, 2},
    {"torch._utils", "_rebuild_tensor_v3", FD_PK_TORCH, fd_torch_rebuild_tensor, 3},
    {"torch._utils", "_rebuild_parameter", FD_PK_TORCH, fd_torch_rebuild_parameter, 3},
    {"torch._utils", "_rebuild_parameter_with_state", FD_PK_TORCH, fd_torch_rebuild_parameter, 4},
    {"torch", "Size", FD_PK_TORCH, fd_torch_size, 0},
    {"torch", "device", FD_PK_TORCH, make_object, 0},
    {"torch.nn.modules.container", "ModuleDict", FD_PK_TORCH, make_object, 0},
    {"torch.nn.modules.container", "ModuleList", FD_PK_TORCH, make_object, 0},
    {"torch.nn.modules.container", "Sequential", FD_PK_TORCH, make_object, 0},
    {"torch.storage", "_load_from_bytes", FD_PK_BLOBS, fd_torch_load_bytes, 0},
    {"torch_utils.persistence", "_reconstruct_persistent_obj", FD_PK_PERSISTENT, persistent, 0},
    {"torch.storage", "UntypedStorage", FD_PK_STORAGES, NULL, 0},
    {"torch", "UntypedStorage", FD_PK_STORAGES, NULL, 0},
    {"torch", "DoubleStorage", FD_PK_STORAGES, NULL, 0},
    {"torch", "FloatStorage", FD_PK_STORAGES, NULL, 0},
    {"torch", "HalfStorage", FD_PK_STORAGES, NULL, 0},
    {"torch", "BFloat16Storage", FD_PK_STORAGES, NULL, 0},
    {"torch", "LongStorage", FD_PK_STORAGES, NULL, 0},
    {"torch", "IntStorage", FD_PK_STORAGES, NULL, 0},
    {"torch", "ShortStorage", FD_PK_STORAGES, NULL, 0},
    {"torch", "CharStorage", FD_PK_STORAGES, NULL, 0},
    {"torch", "ByteStorage", FD_PK_STORAGES, NULL, 0},
    {"torch", "BoolStorage", FD_PK_STORAGES, NULL, 0},
    {"torch", "ComplexFloatStorage", FD_PK_STORAGES, NULL, 0},
    {"torch", "ComplexDoubleStorage", FD_PK_STORAGES, NULL, 0},
    {"torch", "float64", FD_PK_TORCH, NULL, 0},
    {"torch", "float32", FD_PK_TORCH, NULL, 0},
    {"torch", "float16", FD_PK_TORCH, NULL, 0},
    {"torch", "bfloat16", FD_PK_TORCH, NULL, 0},
    {"torch", "int64", FD_PK_TORCH, NULL, 0},
    {"torch", "int32", FD_PK_TORCH, NULL, 0},
    {"torch", "int16", FD_PK_TORCH, NULL, 0},
    {"torch", "int8", FD_PK_TORCH, NULL, 0},
    {"torch", "uint8", FD_PK_TORCH, NULL, 0},
    {"torch", "uint16", FD_PK_TORCH, NULL, 0},
    {"torch", "uint32", FD_PK_TORCH, NULL, 0},
    {"torch", "uint64", FD_PK_TORCH, NULL, 0},
    {"torch", "bool", FD_PK_TORCH, NULL, 0},
    {"torch", "float8_e4m3fn", FD_PK_TORCH, NULL, 0},
    {"torch", "float8_e5m2", FD_PK_TORCH, NULL, 0},
    {"torch", "complex64", FD_PK_TORCH, NULL, 0},
    {"torch", "complex128", FD_PK_TORCH, NULL, 0},
};

static const fd_pk_name script_class = {"__torch__", "class", FD_PK_SCRIPT, make_object, 0};

static bool equal(fd_bytes a, const char *b) { return a.size == strlen(b) && memcmp(a.data, b, a.size) == 0; }

static bool begins(fd_bytes a, const char *b) { return a.size >= strlen(b) && memcmp(a.data, b, strlen(b)) == 0; }

fd_status fd_pk_find_name(fd_ctx *ctx, fd_pk_session *s, fd_bytes module, fd_bytes name, const fd_pk_name **out) {
    for (size_t i = 0; i < FD_COUNT(names); i++) {
        if (!(names[i].group & s->host->names) || !equal(module, names[i].module) || !equal(name, names[i].name))
            continue;
        *out = &names[i];
        return FD_OK;
    }
    if (s->host->names & FD_PK_SCRIPT && (equal(module, "__torch__") || begins(module, "__torch__."))) {
        *out = &script_class;
        return FD_OK;
    }
    char text[200];
    fd_pk full = {.kind = FD_PK_TEXT};
    full.text.p = (const char *)module.data;
    full.text.n = module.size;
    fd_pk_copy(&full, text, 140);
    size_t n = strlen(text);
    text[n++] = '.';
    full.text.p = (const char *)name.data;
    full.text.n = name.size;
    fd_pk_copy(&full, text + n, sizeof text - n);
    return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: the pickle names '%s', which is not among the few classes and "
                   "functions that build data: refused, nothing was executed", s->where, text);
}

/* ---- REDUCE, NEWOBJ, BUILD ------------------------------------------------------------------------------------- */

fd_status fd_pk_call(fd_ctx *ctx, fd_pk_session *s, const fd_pk *what, const fd_pk *args, fd_pk **out) {
    if (what->name->call) return what->name->call(ctx, s, what->name, args, out);
    return FD_FAIL(ctx, FD_E_FORMAT, "%s: %s.%s is called, which makes no data: refused", s->where,
                   what->name->module, what->name->name);
}

fd_status fd_pk_new_object(fd_ctx *ctx, fd_pk_session *s, const fd_pk *cls, const fd_pk *args, fd_pk **out) {
    const fd_pk_name *name = cls->name;
    bool plain = name->call == make_dict || name->call == make_set || name->call == make_object;
    if (plain && !args->n) return name->call(ctx, s, name, args, out);
    return FD_FAIL(ctx, FD_E_FORMAT, "%s: an instance of %s.%s %s: refused", s->where, name->module, name->name,
                   plain ? "with arguments" : "is made by NEWOBJ");
}

fd_status fd_pk_build(fd_ctx *ctx, fd_pk_session *s, fd_pk *object, const fd_pk *state) {
    if (fd_pk_is(object, FD_PK_DTYPE) || fd_pk_is(object, FD_PK_ARRAY)) return fd_numpy_build(ctx, s, object, state);
    bool dict = fd_pk_is(state, FD_PK_DICT);
    /* Attributes of an OrderedDict (torch's _metadata) mean nothing to us. */
    if (fd_pk_is(object, FD_PK_DICT) && dict) return FD_OK;
    if (!fd_pk_is(object, FD_PK_OBJECT) || !dict || object->object.state)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: %s is given %s as its state (BUILD): refused", s->where,
                       fd_pk_kind_name(object), fd_pk_kind_name(state));
    if (state->depth >= FD_PK_MAX_DEPTH)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: values nested more than %d deep: refused", s->where, FD_PK_MAX_DEPTH);
    object->object.state = state;
    object->depth = (uint16_t)(state->depth + 1);
    return FD_OK;
}
