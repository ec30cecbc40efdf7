/* NumPy's numbers and arrays inside pickles: numpy.dtype, scalar, ndarray. Plain numbers only: an array of objects
 * would be a pickle within the pickle. Source: the __reduce__ methods of NumPy 1.x and 2.x. */
#include <string.h>

#include "io/pickle_parts.h"
#include "io/safetensors.h"

static fd_status wrong(fd_ctx *ctx, const fd_pk_session *s, const char *what, const char *why) {
    return FD_FAIL(ctx, FD_E_FORMAT, "%s: NumPy's %s in the pickle: %s", s->where, what, why);
}

static int element_bytes(const fd_pk_array *a) { return a->type[1] - '0'; }

/* dtype('f8', align, copy) */
fd_status fd_numpy_dtype(fd_ctx *ctx, fd_pk_session *s, const fd_pk_name *name, const fd_pk *args, fd_pk **out) {
    static const char *const known[] = {"f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"};
    const fd_pk *text = args->n ? args->item[0] : NULL;
    size_t i = 0;
    while (i < FD_COUNT(known) && !fd_pk_is_text(text, known[i])) i++;
    if (i == FD_COUNT(known)) {
        char type[20];
        fd_pk_copy(text, type, sizeof type);
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: a NumPy value of type '%s': only plain numbers are read", s->where,
                       type);
    }
    FD_TRY(fd_pk_new(ctx, s, FD_PK_DTYPE, out));
    fd_pk_array *a = (*out)->array = fd_pk_alloc(ctx, s, sizeof *a);
    if (!a) return ctx->code;
    memcpy(a->type, known[i], 3);
    return FD_OK;
}

/* dtype: (version, byte order, subtype, names, fields, item size, alignment, flags) */
static fd_status build_dtype(fd_ctx *ctx, fd_pk_session *s, fd_pk *v, const fd_pk *state) {
    if (!fd_pk_is(state, FD_PK_TUPLE) || state->n < 5 || state->n > 9)
        return wrong(ctx, s, "dtype", "an unknown state");
    for (int i = 2; i < 5; i++)
        if (!fd_pk_is(state->item[i], FD_PK_NONE)) return wrong(ctx, s, "dtype", "structures are not read");
    const fd_pk *order = state->item[1];
    v->array->big_endian = fd_pk_is_text(order, ">");
    if (v->array->big_endian || fd_pk_is_text(order, "<") || fd_pk_is_text(order, "|") || fd_pk_is_text(order, "="))
        return FD_OK;
    return wrong(ctx, s, "dtype", "an unknown byte order");
}

static fd_status fill(fd_ctx *ctx, fd_pk_session *s, fd_pk_array *a, const fd_pk *shape, const fd_pk *dtype,
                      const fd_pk *data) {
    /* Python 2's bytes are a text when they happen to be UTF-8. */
    if (!fd_pk_is(shape, FD_PK_TUPLE) || shape->n > FD_COUNT(a->dim) || !fd_pk_is(dtype, FD_PK_DTYPE) ||
        (!fd_pk_is(data, FD_PK_BYTES) && !fd_pk_is(data, FD_PK_TEXT)))
        return wrong(ctx, s, "array", "shape, type or data are of the wrong kind");
    int64_t count = 1, bytes;
    bool bad = false;
    for (uint32_t i = 0; i < shape->n; i++) {
        bad |= !fd_pk_is(shape->item[i], FD_PK_INT) || shape->item[i]->i < 0;
        a->dim[i] = bad ? 0 : shape->item[i]->i;
        bad |= __builtin_mul_overflow(count, a->dim[i], &count);
    }
    bad |= __builtin_mul_overflow(count, (int64_t)element_bytes(dtype->array), &bytes);
    if (bad) return wrong(ctx, s, "array", "a shape that is impossible");
    if ((uint64_t)bytes != data->text.n)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: a NumPy array of %lld bytes in %zu: the file is damaged or lies",
                       s->where, (long long)bytes, data->text.n);
    memcpy(a->type, dtype->array->type, sizeof a->type);
    a->big_endian = dtype->array->big_endian;
    a->rank = (int)shape->n;
    a->count = count;
    a->data = (fd_bytes){(const uint8_t *)data->text.p, data->text.n};
    a->done = true;
    return FD_OK;
}

static fd_status new_array(fd_ctx *ctx, fd_pk_session *s, fd_pk **out) {
    FD_TRY(fd_pk_new(ctx, s, FD_PK_ARRAY, out));
    (*out)->array = fd_pk_alloc(ctx, s, sizeof *(*out)->array);
    return (*out)->array ? FD_OK : ctx->code;
}

/* scalar(dtype, bytes) */
fd_status fd_numpy_scalar(fd_ctx *ctx, fd_pk_session *s, const fd_pk_name *name, const fd_pk *args, fd_pk **out) {
    fd_pk shape = {.kind = FD_PK_TUPLE};
    if (args->n != 2) return wrong(ctx, s, "scalar", "two arguments are right");
    FD_TRY(new_array(ctx, s, out));
    (*out)->array->scalar = true;
    return fill(ctx, s, (*out)->array, &shape, args->item[0], args->item[1]);
}

/* _reconstruct(ndarray, (0,), b'b'): empty until BUILD. */
fd_status fd_numpy_reconstruct(fd_ctx *ctx, fd_pk_session *s, const fd_pk_name *name, const fd_pk *args,
                               fd_pk **out) {
    const fd_pk *cls = args->n ? args->item[0] : NULL;
    if (!fd_pk_is(cls, FD_PK_GLOBAL) || strcmp(cls->name->name, "ndarray"))
        return wrong(ctx, s, "_reconstruct", "of something else than an ndarray");
    return new_array(ctx, s, out);
}

/* _frombuffer(bytes, dtype, shape, 'C' or 'F'): protocol 5. */
fd_status fd_numpy_frombuffer(fd_ctx *ctx, fd_pk_session *s, const fd_pk_name *name, const fd_pk *args, fd_pk **out) {
    if (args->n != 4) return wrong(ctx, s, "_frombuffer", "four arguments are right");
    bool fortran = fd_pk_is_text(args->item[3], "F");
    if (!fortran && !fd_pk_is_text(args->item[3], "C")) return wrong(ctx, s, "_frombuffer", "an unknown order");
    FD_TRY(new_array(ctx, s, out));
    (*out)->array->fortran = fortran;
    return fill(ctx, s, (*out)->array, args->item[2], args->item[1], args->item[0]);
}

/* ndarray: (version, shape, dtype, is Fortran, bytes) */
fd_status fd_numpy_build(fd_ctx *ctx, fd_pk_session *s, fd_pk *v, const fd_pk *state) {
    if (fd_pk_is(v, FD_PK_DTYPE)) return build_dtype(ctx, s, v, state);
    if (!fd_pk_is(state, FD_PK_TUPLE) || state->n != 5 || v->array->done)
        return wrong(ctx, s, "array", "an unknown state");
    const fd_pk *fortran = state->item[3];
    v->array->fortran = fd_pk_is(fortran, FD_PK_BOOL) && fortran->truth;
    return fill(ctx, s, v->array, state->item[1], state->item[2], state->item[4]);
}

double fd_pk_array_at(const fd_pk_array *a, int64_t i) {
    int64_t at = i;
    int bytes = element_bytes(a);
    if (a->fortran) {                 /* the first index runs fastest in memory */
        int64_t place = 0, rest = i;
        for (int k = a->rank; k-- > 0; rest /= a->dim[k]) {
            int64_t stride = 1;
            for (int j = 0; j < k; j++) stride *= a->dim[j];
            place += rest % a->dim[k] * stride;
        }
        at = place;
    }
    uint64_t v = 0;
    for (int b = 0; b < bytes; b++)
        v |= (uint64_t)a->data.data[at * bytes + (a->big_endian ? bytes - 1 - b : b)] << (8 * b);
    if (a->type[0] == 'b') return v != 0;
    if (a->type[0] == 'u') return (double)v;
    if (a->type[0] == 'i') return (double)((int64_t)(v << (64 - 8 * bytes)) >> (64 - 8 * bytes));
    if (bytes == 2) {
        float half;
        fd_st_to_f32(FD_ST_F16, &(uint16_t){(uint16_t)v}, 1, &half);
        return half;
    }
    if (bytes == 4) {
        uint32_t w = (uint32_t)v;
        float f;
        memcpy(&f, &w, 4);
        return f;
    }
    double d;
    memcpy(&d, &v, 8);
    return d;
}
