#include "io/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"
#include "io/json.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensor data is read in place: a little-endian machine is needed"
#endif

#define HEADER_MAX (100u << 20)

static const struct { const char *name; uint8_t bytes; } dtype_table[FD_ST_DTYPES] = {
    [FD_ST_F64] = {"F64", 8}, [FD_ST_F32] = {"F32", 4}, [FD_ST_F16] = {"F16", 2}, [FD_ST_BF16] = {"BF16", 2},
    [FD_ST_I64] = {"I64", 8}, [FD_ST_I32] = {"I32", 4}, [FD_ST_I16] = {"I16", 2}, [FD_ST_I8] = {"I8", 1},
    [FD_ST_U64] = {"U64", 8}, [FD_ST_U32] = {"U32", 4}, [FD_ST_U16] = {"U16", 2}, [FD_ST_U8] = {"U8", 1},
    [FD_ST_BOOL] = {"BOOL", 1}};

const char *fd_st_dtype_name(fd_st_dtype d) { return (unsigned)d < FD_ST_DTYPES ? dtype_table[d].name : "?"; }
size_t fd_st_dtype_bytes(fd_st_dtype d) { return (unsigned)d < FD_ST_DTYPES ? dtype_table[d].bytes : 0; }

/* count and bytes from dtype, rank and dim. */
static fd_status measure(fd_ctx *ctx, const char *file, fd_st_tensor *t) {
    if ((unsigned)t->dtype >= FD_ST_DTYPES || t->rank < 0 || t->rank > FD_ST_MAX_RANK)
        return FD_FAIL(ctx, FD_E_ARG, "%s: tensor '%s': unknown dtype %d or rank %d", file, t->name, t->dtype,
                       t->rank);
    int64_t count = 1, bytes;
    bool overflow = false;
    for (int i = 0; i < t->rank; i++) overflow |= t->dim[i] < 0 || __builtin_mul_overflow(count, t->dim[i], &count);
    if (overflow || __builtin_mul_overflow(count, (int64_t)fd_st_dtype_bytes(t->dtype), &bytes))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: tensor '%s': the product of its dimensions is out of range", file,
                       t->name);
    t->count = count;
    t->bytes = (size_t)bytes;
    return FD_OK;
}

/* ---- reading */

static fd_status read_entry(fd_ctx *ctx, fd_safetensors *s, const char *name, const json_t *v, fd_bytes data,
                            fd_st_tensor *t) {
    char what[512];
    snprintf(what, sizeof what, "%.250s: tensor '%.200s'", s->path, name);
    t->name = fd_arena_strdup(ctx, &s->arena, name);
    if (!t->name) return FD_E_NOMEM;
    if (!json_is_object(v)) return FD_FAIL(ctx, FD_E_FORMAT, "%s: its header entry is not an object", what);
    const char *dtype = NULL;
    FD_TRY(fd_json_text(ctx, v, "dtype", what, FD_REQUIRED, &dtype));
    int d = 0;
    while (d < FD_ST_DTYPES && strcmp(dtype, dtype_table[d].name)) d++;
    if (d == FD_ST_DTYPES)
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: dtype '%.20s' is not supported: convert it to F32", what, dtype);
    t->dtype = (fd_st_dtype)d;
    FD_TRY(fd_json_ints(ctx, v, "shape", what, FD_REQUIRED, 0, INT64_MAX, FD_ST_MAX_RANK, t->dim, &t->rank));
    FD_TRY(measure(ctx, s->path, t));
    int64_t offset[2];
    int n = 0;
    FD_TRY(fd_json_ints(ctx, v, "data_offsets", what, FD_REQUIRED, 0, INT64_MAX, 2, offset, &n));
    if (n != 2) return FD_FAIL(ctx, FD_E_FORMAT, "%s: data_offsets must have two numbers", what);
    if (json_object_size(v) != 3) return FD_FAIL(ctx, FD_E_FORMAT, "%s: unknown key in its header entry", what);
    if (offset[0] > offset[1] || (uint64_t)offset[1] > data.size)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: data lies at bytes %" PRId64 " to %" PRId64 ", the file has %zu: the "
                       "file is truncated or damaged", what, offset[0], offset[1], data.size);
    if ((uint64_t)(offset[1] - offset[0]) != t->bytes)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: its shape needs %zu bytes, its offsets give %" PRId64, what, t->bytes,
                       offset[1] - offset[0]);
    t->data = data.data + offset[0];
    return FD_OK;
}

static int by_place(const void *a, const void *b) {
    const fd_st_tensor *x = *(const fd_st_tensor *const *)a, *y = *(const fd_st_tensor *const *)b;
    const char *p = x->data, *q = y->data;
    if (p != q) return p < q ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int by_name(const void *a, const void *b) {
    const fd_st_tensor *x = *(const fd_st_tensor *const *)a, *y = *(const fd_st_tensor *const *)b;
    return strcmp(x->name, y->name);
}

static fd_status check_tiling(fd_ctx *ctx, const fd_safetensors *s, const fd_st_tensor **sorted, fd_bytes data) {
    qsort(sorted, (size_t)s->n, sizeof *sorted, by_place);
    const uint8_t *end = data.data;
    for (int i = 0; i < s->n; i++) {
        const uint8_t *begin = sorted[i]->data;
        if (begin != end)
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: tensor '%s': %s at data byte %td", s->path, sorted[i]->name,
                           begin < end ? "overlaps another one" : "bytes that belong to no tensor lie before it",
                           begin < end ? begin - data.data : end - data.data);
        end = begin + sorted[i]->bytes;
    }
    if (end != data.data + data.size)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: %td bytes after the last tensor belong to none", s->path,
                       data.data + data.size - end);
    return FD_OK;
}

static fd_status read_header(fd_ctx *ctx, fd_safetensors *s, const json_t *header, fd_bytes data) {
    if (!json_is_object(header)) return FD_FAIL(ctx, FD_E_FORMAT, "%s: the header is not a JSON object", s->path);
    const json_t *meta = json_object_get(header, "__metadata__");
    int n = (int)json_object_size(header) - (meta != NULL), i = 0;
    fd_st_tensor *tensor;
    const fd_st_tensor **sorted;
    FD_NEW(ctx, &s->arena, tensor, n);
    FD_NEW(ctx, &s->arena, sorted, n);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)header, key, value) {
        if (value == meta) continue;
        sorted[i] = &tensor[i];
        FD_TRY(read_entry(ctx, s, key, value, data, &tensor[i++]));
    }
    s->tensor = tensor;
    s->n = n;
    FD_TRY(check_tiling(ctx, s, sorted, data));
    qsort(sorted, (size_t)n, sizeof *sorted, by_name);
    s->by_name = sorted;
    if (!meta) return FD_OK;
    if (!json_is_object(meta)) return FD_FAIL(ctx, FD_E_FORMAT, "%s: __metadata__ is not an object", s->path);
    fd_st_meta *m;
    FD_NEW(ctx, &s->arena, m, json_object_size(meta));
    s->meta = m;
    json_object_foreach((json_t *)meta, key, value) {
        if (!json_is_string(value))
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: __metadata__ key '%s' is not text", s->path, key);
        m[s->nmeta].key = fd_arena_strdup(ctx, &s->arena, key);
        m[s->nmeta].value = fd_arena_strdup(ctx, &s->arena, json_string_value(value));
        if (!m[s->nmeta].key || !m[s->nmeta].value) return FD_E_NOMEM;
        s->nmeta++;
    }
    return FD_OK;
}

fd_status fd_safetensors_parse(fd_ctx *ctx, fd_bytes file, const char *name, fd_safetensors *out) {
    *out = (fd_safetensors){0};
    out->path = fd_arena_strdup(ctx, &out->arena, name);
    if (!out->path) return FD_E_NOMEM;
    uint64_t length = 0;
    fd_status status;
    if (file.size >= 8) memcpy(&length, file.data, 8);
    if (file.size < 8 || length > file.size - 8 || length > HEADER_MAX) {
        status = FD_FAIL(ctx, FD_E_FORMAT, "%s: no safetensors file, or a truncated one: it has %zu bytes and "
                         "announces a header of %" PRIu64, name, file.size, length);
    } else {
        json_t *header = NULL;
        char what[300];
        snprintf(what, sizeof what, "%.270s: header", name);
        status = fd_json_parse(ctx, (fd_bytes){file.data + 8, length}, what, &header);
        if (status == FD_OK)
            status = read_header(ctx, out, header, (fd_bytes){file.data + 8 + length, file.size - 8 - length});
        json_decref(header);
    }
    if (status != FD_OK) fd_safetensors_close(out);
    return status;
}

fd_status fd_safetensors_open(fd_ctx *ctx, const char *path, fd_safetensors *out) {
    *out = (fd_safetensors){0};
    fd_bytes map;
    FD_TRY(fd_file_map(ctx, path, &map));
    fd_status s = fd_safetensors_parse(ctx, map, path, out);
    if (s != FD_OK) fd_file_unmap(&map);
    else out->map = map;
    return s;
}

void fd_safetensors_close(fd_safetensors *s) {
    fd_file_unmap(&s->map);
    fd_arena_free(&s->arena);
    *s = (fd_safetensors){0};
}

const fd_st_tensor *fd_safetensors_find(const fd_safetensors *s, const char *name) {
    fd_st_tensor key = {.name = name};
    const fd_st_tensor *p = &key;
    const fd_st_tensor **hit = s->n ? bsearch(&p, s->by_name, (size_t)s->n, sizeof p, by_name) : NULL;
    return hit ? *hit : NULL;
}

const char *fd_safetensors_meta(const fd_safetensors *s, const char *key) {
    for (int i = 0; i < s->nmeta; i++)
        if (!strcmp(s->meta[i].key, key)) return s->meta[i].value;
    return NULL;
}

/* ---- conversion */

static float f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ffu, u;
    if (exponent == 31) u = sign | 0x7f800000u | fraction << 13;
    else if (exponent) u = sign | (exponent + 112) << 23 | fraction << 13;
    else {                                           /* zero or subnormal: fraction * 2^-24, exact */
        float f = (float)fraction * 0x1p-24f;
        memcpy(&u, &f, 4);
        u |= sign;
    }
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static float bf16_to_f32(uint16_t v) {
    uint32_t u = (uint32_t)v << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* Elements are fetched with memcpy because data from a foreign file may be unaligned. */
#define EACH(type, expression)                                        \
    for (int64_t i = 0; i < count; i++) {                             \
        type x;                                                       \
        memcpy(&x, (const char *)data + i * (int64_t)sizeof x, sizeof x); \
        out[i] = (expression);                                        \
    }                                                                 \
    break
#define CONVERT_ALL(to)                                    \
    switch (dtype) {                                       \
    case FD_ST_F64: EACH(double, (to)x);                   \
    case FD_ST_F32: EACH(float, (to)x);                    \
    case FD_ST_F16: EACH(uint16_t, (to)f16_to_f32(x));     \
    case FD_ST_BF16: EACH(uint16_t, (to)bf16_to_f32(x));   \
    case FD_ST_I64: EACH(int64_t, (to)x);                  \
    case FD_ST_I32: EACH(int32_t, (to)x);                  \
    case FD_ST_I16: EACH(int16_t, (to)x);                  \
    case FD_ST_I8: EACH(int8_t, (to)x);                    \
    case FD_ST_U64: EACH(uint64_t, (to)x);                 \
    case FD_ST_U32: EACH(uint32_t, (to)x);                 \
    case FD_ST_U16: EACH(uint16_t, (to)x);                 \
    case FD_ST_U8: EACH(uint8_t, (to)x);                   \
    case FD_ST_BOOL: EACH(uint8_t, (to)(x != 0));          \
    case FD_ST_DTYPES: break;                              \
    }

void fd_st_to_f32(fd_st_dtype dtype, const void *data, int64_t count, float *out) {
    if (dtype == FD_ST_F32) {
        if (count) memcpy(out, data, (size_t)count * sizeof *out);
        return;
    }
    CONVERT_ALL(float)
}

static void to_f64(fd_st_dtype dtype, const void *data, int64_t count, double *out) { CONVERT_ALL(double) }

static void to_i64(fd_st_dtype dtype, const void *data, int64_t count, int64_t *out) { CONVERT_ALL(int64_t) }

static void shape_text(int rank, const int64_t *dim, char out[256]) {
    int n = snprintf(out, 256, "[");
    for (int i = 0; i < rank && n < 230; i++) n += snprintf(out + n, 256 - (size_t)n, i ? ",%" PRId64 : "%" PRId64,
                                                            dim[i]);
    snprintf(out + n, 256 - (size_t)n, "]");
}

static fd_status checked(fd_ctx *ctx, const fd_safetensors *s, const char *name, int rank, const int64_t *dim,
                         const fd_st_tensor **out) {
    const fd_st_tensor *t = *out = fd_safetensors_find(s, name);
    if (!t) return FD_FAIL(ctx, FD_E_ARG, "%s: tensor '%s' is missing", s->path, name);
    bool same = rank < 0 || rank == t->rank;
    for (int i = 0; same && i < rank; i++) same = dim[i] == t->dim[i];
    if (same) return FD_OK;
    char has[256], wanted[256];
    shape_text(t->rank, t->dim, has);
    shape_text(rank, dim, wanted);
    return FD_FAIL(ctx, FD_E_SHAPE, "%s: tensor '%s' has shape %s, %s is needed", s->path, name, has, wanted);
}

fd_status fd_safetensors_read_f32(fd_ctx *ctx, const fd_safetensors *s, const char *name, int rank,
                                  const int64_t *dim, float *out) {
    const fd_st_tensor *t;
    FD_TRY(checked(ctx, s, name, rank, dim, &t));
    fd_st_to_f32(t->dtype, t->data, t->count, out);
    return FD_OK;
}

fd_status fd_safetensors_read_f64(fd_ctx *ctx, const fd_safetensors *s, const char *name, int rank,
                                  const int64_t *dim, double *out) {
    const fd_st_tensor *t;
    FD_TRY(checked(ctx, s, name, rank, dim, &t));
    to_f64(t->dtype, t->data, t->count, out);
    return FD_OK;
}

fd_status fd_safetensors_read_i64(fd_ctx *ctx, const fd_safetensors *s, const char *name, int rank,
                                  const int64_t *dim, int64_t *out) {
    const fd_st_tensor *t;
    FD_TRY(checked(ctx, s, name, rank, dim, &t));
    if (t->dtype <= FD_ST_BF16)
        return FD_FAIL(ctx, FD_E_SHAPE, "%s: tensor '%s' is %s, integers are needed", s->path, name,
                       fd_st_dtype_name(t->dtype));
    to_i64(t->dtype, t->data, t->count, out);
    return FD_OK;
}

/* ---- writing */

/* json_object_set_new, but a failure (memory, text that is not UTF-8) is reported. */
static fd_status set_new(fd_ctx *ctx, json_t *object, const char *key, json_t *value, const char *path) {
    if (value && json_object_set_new(object, key, value) == 0) return FD_OK;
    return FD_FAIL(ctx, FD_E_ARG, "%s: '%s': name or value is not UTF-8 text, or memory ran out", path, key);
}

static fd_status build_header(fd_ctx *ctx, const char *path, const fd_st_tensor *tensor, int n,
                              const fd_st_meta *meta, int nmeta, json_t *header) {
    if (nmeta) {
        json_t *m = json_object();
        FD_TRY(set_new(ctx, header, "__metadata__", m, path));
        for (int i = 0; i < nmeta; i++) FD_TRY(set_new(ctx, m, meta[i].key, json_string(meta[i].value), path));
    }
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        fd_st_tensor t = tensor[i];
        FD_TRY(measure(ctx, path, &t));
        if (json_object_get(header, t.name) || !strcmp(t.name, "__metadata__"))
            return FD_FAIL(ctx, FD_E_ARG, "%s: tensor name '%s' is used twice or reserved", path, t.name);
        json_t *entry = json_object(), *shape = json_array(), *place = json_array();
        fd_status s = set_new(ctx, header, t.name, entry, path);
        for (int k = 0; k < t.rank; k++) json_array_append_new(shape, json_integer(t.dim[k]));
        json_array_append_new(place, json_integer(at));
        at += (int64_t)t.bytes;
        json_array_append_new(place, json_integer(at));
        if (s != FD_OK) {
            json_decref(shape);
            json_decref(place);
            return s;
        }
        s = set_new(ctx, entry, "dtype", json_string(fd_st_dtype_name(t.dtype)), path);
        fd_status s2 = set_new(ctx, entry, "shape", shape, path), s3 = set_new(ctx, entry, "data_offsets", place,
                                                                               path);
        if (s != FD_OK || s2 != FD_OK || s3 != FD_OK) return ctx->code;
    }
    return FD_OK;
}

static fd_status write_all(fd_ctx *ctx, fd_outfile *o, const char *text, const fd_st_tensor *tensor, int n) {
    static const char blanks[64] = "                                                               ";
    size_t length = strlen(text), padding = (64 - (8 + length) % 64) % 64;
    uint64_t announced = length + padding;
    FD_TRY(fd_outfile_write(ctx, o, &announced, 8));
    FD_TRY(fd_outfile_write(ctx, o, text, length));
    for (; padding; padding--) FD_TRY(fd_outfile_write(ctx, o, blanks, 1));
    for (int i = 0; i < n; i++) {
        fd_st_tensor t = tensor[i];
        FD_TRY(measure(ctx, o->path, &t));
        FD_TRY(fd_outfile_write(ctx, o, t.data, t.bytes));
    }
    return FD_OK;
}

fd_status fd_safetensors_write(fd_ctx *ctx, const char *path, const fd_st_tensor *tensor, int n,
                               const fd_st_meta *meta, int nmeta) {
    fd_arena arena = {0};
    json_t *header = json_object();
    fd_status s = header ? FD_OK : FD_FAIL(ctx, FD_E_NOMEM, "%s: out of memory", path);
    char *text = NULL;
    if (s == FD_OK) s = build_header(ctx, path, tensor, n, meta, nmeta, header);
    if (s == FD_OK && !(text = fd_json_dump(ctx, &arena, header, 0))) s = FD_E_NOMEM;
    json_decref(header);
    fd_outfile o = {0};
    if (s == FD_OK) s = fd_outfile_open(ctx, path, &o);
    if (s == FD_OK) s = write_all(ctx, &o, text, tensor, n);
    if (s == FD_OK) s = fd_outfile_commit(ctx, &o);
    fd_outfile_abandon(&o);
    fd_arena_free(&arena);
    return s;
}

static void add_u64(fd_sha256 *h, uint64_t v) { fd_sha256_add(h, &v, sizeof v); }

fd_status fd_safetensors_digest(fd_ctx *ctx, const fd_st_tensor *tensor, int n, char out[65]) {
    const fd_st_tensor **sorted = fd_alloc(ctx, fd_mul_size((size_t)n, sizeof *sorted));
    if (!sorted) return FD_E_NOMEM;
    for (int i = 0; i < n; i++) sorted[i] = &tensor[i];
    qsort(sorted, (size_t)n, sizeof *sorted, by_name);
    fd_sha256 h;
    fd_sha256_init(&h);
    fd_status s = FD_OK;
    for (int i = 0; i < n && s == FD_OK; i++) {
        fd_st_tensor t = *sorted[i];
        s = measure(ctx, "digest", &t);
        if (s != FD_OK) break;
        fd_sha256_add(&h, t.name, strlen(t.name) + 1);
        fd_sha256_add(&h, fd_st_dtype_name(t.dtype), strlen(fd_st_dtype_name(t.dtype)) + 1);
        add_u64(&h, (uint64_t)t.rank);
        for (int k = 0; k < t.rank; k++) add_u64(&h, (uint64_t)t.dim[k]);
        fd_sha256_add(&h, t.data, t.bytes);
    }
    fd_sha256_hex(&h, out);
    fd_free(sorted);
    return s;
}
