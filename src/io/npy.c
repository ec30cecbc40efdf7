#include "io/npy.h"

#include <inttypes.h>
#include <string.h>

#include "io/safetensors.h"

static const struct { char kind; uint8_t bytes; const char *name; } dtype_table[FD_NPY_DTYPES] = {
    [FD_NPY_F8] = {'f', 8, "<f8"}, [FD_NPY_F4] = {'f', 4, "<f4"}, [FD_NPY_F2] = {'f', 2, "<f2"},
    [FD_NPY_I8] = {'i', 8, "<i8"}, [FD_NPY_I4] = {'i', 4, "<i4"}, [FD_NPY_I2] = {'i', 2, "<i2"},
    [FD_NPY_I1] = {'i', 1, "|i1"}, [FD_NPY_U8] = {'u', 8, "<u8"}, [FD_NPY_U4] = {'u', 4, "<u4"},
    [FD_NPY_U2] = {'u', 2, "<u2"}, [FD_NPY_U1] = {'u', 1, "|u1"}, [FD_NPY_B1] = {'b', 1, "|b1"}};

size_t fd_npy_dtype_bytes(fd_npy_dtype d) { return (unsigned)d < FD_NPY_DTYPES ? dtype_table[d].bytes : 0; }
const char *fd_npy_dtype_name(fd_npy_dtype d) { return (unsigned)d < FD_NPY_DTYPES ? dtype_table[d].name : "?"; }

/* ---- the header: a Python dictionary such as {'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), } */

typedef struct { const char *p, *end; } cursor;

static void skip_blanks(cursor *c) {
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\n')) c->p++;
}

static bool take(cursor *c, const char *text) {
    skip_blanks(c);
    size_t n = strlen(text);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, text, n)) return false;
    c->p += n;
    return true;
}

/* A quoted word of at most size-1 characters. */
static bool take_word(cursor *c, char *out, size_t size) {
    skip_blanks(c);
    if (c->p == c->end || (*c->p != '\'' && *c->p != '"')) return false;
    char quote = *c->p++;
    size_t n = 0;
    while (c->p < c->end && *c->p != quote) {
        if (n + 1 == size || *c->p == '\\') return false;
        out[n++] = *c->p++;
    }
    out[n] = 0;
    return take(c, quote == '"' ? "\"" : "'");
}

static bool take_shape(cursor *c, fd_npy *a) {
    if (!take(c, "(")) return false;
    for (a->rank = 0; !take(c, ")");) {
        if (a->rank && !take(c, ",")) return false;
        if (a->rank && take(c, ")")) return true;          /* (5,) */
        skip_blanks(c);
        if (a->rank == FD_NPY_MAX_RANK || c->p == c->end || *c->p < '0' || *c->p > '9') return false;
        int64_t v = 0;
        for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
            if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *c->p - '0', &v)) return false;
        if (c->p < c->end && *c->p == 'L') c->p++;         /* Python 2 */
        a->dim[a->rank++] = v;
    }
    return true;
}

static bool take_header(cursor *c, fd_npy *a, char descr[16], bool *fortran) {
    bool seen[3] = {false, false, false};
    char key[16];
    if (!take(c, "{")) return false;
    while (!take(c, "}")) {
        if (!take_word(c, key, sizeof key) || !take(c, ":")) return false;
        int which = !strcmp(key, "descr") ? 0 : !strcmp(key, "fortran_order") ? 1 : !strcmp(key, "shape") ? 2 : -1;
        if (which < 0 || seen[which]) return false;
        seen[which] = true;
        if (which == 0) {
            skip_blanks(c);
            if (c->p < c->end && *c->p == '[') {           /* fields of a structure */
                strcpy(descr, "a structure");
                return true;
            }
            if (!take_word(c, descr, 16)) return false;
        } else if (which == 1) {
            *fortran = take(c, "True");
            if (!*fortran && !take(c, "False")) return false;
        } else if (!take_shape(c, a)) {
            return false;
        }
        if (!take(c, ",") && !(c->p < c->end && *c->p == '}')) return false;
    }
    skip_blanks(c);
    return seen[0] && seen[1] && seen[2] && c->p == c->end;
}

/* ---- data */

static bool find_dtype(const char *descr, fd_npy_dtype *dtype, bool *swap) {
    if (strlen(descr) != 3 || !strchr("<>=|", descr[0])) return false;
    for (int d = 0; d < FD_NPY_DTYPES; d++)
        if (descr[1] == dtype_table[d].kind && descr[2] == '0' + dtype_table[d].bytes) {
            *dtype = (fd_npy_dtype)d;
            *swap = descr[0] == '>' && dtype_table[d].bytes > 1;
            return true;
        }
    return false;
}

/* Copies element by element; in Fortran order the first index runs fastest. */
static void copy_elements(const fd_npy *a, const uint8_t *from, uint8_t *to, bool swap, bool fortran) {
    size_t size = fd_npy_dtype_bytes(a->dtype);
    int64_t index[FD_NPY_MAX_RANK] = {0}, stride[FD_NPY_MAX_RANK], place = 0, step = 1;
    if (!a->count) return;              /* other dimensions could overflow the products below */
    for (int k = a->rank - 1; k >= 0; step *= a->dim[k--]) stride[k] = step;
    for (int64_t i = 0; i < a->count; i++, from += size) {
        uint8_t *p = to + (size_t)(fortran ? place : i) * size;
        for (size_t b = 0; b < size; b++) p[b] = from[swap ? size - 1 - b : b];
        for (int k = 0; fortran && k < a->rank; k++) {
            place += stride[k];
            if (++index[k] < a->dim[k]) break;
            place -= stride[k] * a->dim[k];
            index[k] = 0;
        }
    }
}

/* in_place: the file lies in the arena already and plain data may stay where it is. */
static fd_status parse(fd_ctx *ctx, fd_arena *arena, fd_bytes f, const char *name, bool in_place, fd_npy *out) {
    *out = (fd_npy){0};
    if (f.size < 10 || memcmp(f.data, "\x93NUMPY", 6) || f.data[6] < 1 || f.data[6] > 3)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: no .npy array, or a truncated one (%zu bytes)", name, f.size);
    size_t start = f.data[6] == 1 ? 10 : 12, length = 0;
    for (size_t i = start; i-- > 8;) length = length << 8 | (i < f.size ? f.data[i] : 0);
    if (f.size < start || length > f.size - start)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: the header of the array is cut off at byte %zu", name, f.size);
    cursor c = {(const char *)f.data + start, (const char *)f.data + start + length};
    char descr[16];
    bool fortran = false, swap = false;
    if (!take_header(&c, out, descr, &fortran))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: the array's header is damaged at byte %td", name,
                       c.p - (const char *)f.data);
    if (!find_dtype(descr, &out->dtype, &swap))
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: elements of type %s are not supported; save numbers", name, descr);
    int64_t count = 1, bytes = 0;
    bool overflow = false;
    for (int i = 0; i < out->rank; i++) overflow |= __builtin_mul_overflow(count, out->dim[i], &count);
    overflow |= __builtin_mul_overflow(count, (int64_t)fd_npy_dtype_bytes(out->dtype), &bytes);
    size_t have = f.size - start - length;
    if (overflow || (uint64_t)bytes != have)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: the array's shape needs %" PRId64 " bytes, the file has %zu", name,
                       overflow ? INT64_MAX : bytes, have);
    out->count = count;
    const uint8_t *data = f.data + start + length;
    if (in_place && !swap && !fortran && (uintptr_t)data % FD_ALIGN == 0) {
        out->data = data;
        return FD_OK;
    }
    uint8_t *copy = fd_arena_alloc(ctx, arena, have);
    if (!copy) return FD_E_NOMEM;
    if (swap || fortran) copy_elements(out, data, copy, swap, fortran);
    else if (have) memcpy(copy, data, have);
    out->data = copy;
    return FD_OK;
}

fd_status fd_npy_parse(fd_ctx *ctx, fd_arena *arena, fd_bytes file, const char *name, fd_npy *out) {
    return parse(ctx, arena, file, name, false, out);
}

fd_status fd_npy_load(fd_ctx *ctx, fd_arena *arena, const char *path, fd_npy *out) {
    *out = (fd_npy){0};
    fd_bytes file;
    FD_TRY(fd_file_map(ctx, path, &file));
    fd_status s = parse(ctx, arena, file, path, false, out);
    fd_file_unmap(&file);
    return s;
}

static bool member_name(const char *name, char out[256]) { return snprintf(out, 256, "%s.npy", name) < 256; }

bool fd_npz_has(const fd_zip *z, const char *name) {
    char member[256];
    return member_name(name, member) && fd_zip_find(z, member) >= 0;
}

fd_status fd_npz_read(fd_ctx *ctx, fd_zip *z, const char *name, fd_arena *arena, fd_npy *out) {
    *out = (fd_npy){0};
    char member[256], what[512];
    int64_t i = member_name(name, member) ? fd_zip_find(z, member) : -1;
    if (i < 0) return FD_FAIL(ctx, FD_E_FORMAT, "%s: array '%s' is missing", fd_zip_path(z), name);
    fd_bytes file;
    FD_TRY(fd_zip_read(ctx, z, i, arena, (size_t)8 << 30, &file));
    snprintf(what, sizeof what, "%.200s: array '%s'", fd_zip_path(z), name);
    return parse(ctx, arena, file, what, true, out);
}

const double *fd_npy_doubles(fd_ctx *ctx, fd_arena *arena, const fd_npy *a) {
    if (a->dtype == FD_NPY_F8) return a->data;
    double *out = fd_arena_alloc(ctx, arena, fd_mul_size((size_t)a->count, sizeof *out));
    if (!out) return NULL;
#define EACH(type) for (int64_t i = 0; i < a->count; i++) out[i] = (double)((const type *)a->data)[i]; break
    switch (a->dtype) {
    case FD_NPY_F4: EACH(float);
    case FD_NPY_F2:
        for (int64_t i = 0; i < a->count; i++) {
            float f;
            fd_st_to_f32(FD_ST_F16, (const uint16_t *)a->data + i, 1, &f);
            out[i] = f;
        }
        break;
    case FD_NPY_I8: EACH(int64_t);
    case FD_NPY_I4: EACH(int32_t);
    case FD_NPY_I2: EACH(int16_t);
    case FD_NPY_I1: EACH(int8_t);
    case FD_NPY_U8: EACH(uint64_t);
    case FD_NPY_U4: EACH(uint32_t);
    case FD_NPY_U2: EACH(uint16_t);
    case FD_NPY_U1: EACH(uint8_t);
    case FD_NPY_B1: EACH(uint8_t);
    case FD_NPY_F8: case FD_NPY_DTYPES: break;
    }
#undef EACH
    return out;
}

/* ---- writing: header as NumPy writes it, padded so that the data starts at a multiple of 64 bytes */

static fd_status make_header(fd_ctx *ctx, const char *what, const fd_npy *a, char out[512], size_t *size,
                             size_t *bytes) {
    if (a->rank < 0 || a->rank > FD_NPY_MAX_RANK || (unsigned)a->dtype >= FD_NPY_DTYPES)
        return FD_FAIL(ctx, FD_E_ARG, "%s: array of unknown dtype %d or rank %d", what, a->dtype, a->rank);
    int64_t count = (int64_t)fd_npy_dtype_bytes(a->dtype);
    char text[400];
    int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                     fd_npy_dtype_name(a->dtype));
    for (int i = 0; i < a->rank; i++) {
        if (a->dim[i] < 0 || __builtin_mul_overflow(count, a->dim[i], &count))
            return FD_FAIL(ctx, FD_E_ARG, "%s: the product of the array's dimensions is out of range", what);
        n += snprintf(text + n, sizeof text - (size_t)n, i ? ", %" PRId64 : "%" PRId64, a->dim[i]);
    }
    n += snprintf(text + n, sizeof text - (size_t)n, a->rank == 1 ? ",), }" : "), }");
    *size = (10 + (size_t)n + 1 + 63) / 64 * 64;
    *bytes = (size_t)count;
    size_t announced = *size - 10;
    memset(out, ' ', *size);
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (char)(announced & 255);
    out[9] = (char)(announced >> 8);
    memcpy(out + 10, text, (size_t)n);
    out[*size - 1] = '\n';
    return FD_OK;
}

fd_status fd_npy_save(fd_ctx *ctx, const char *path, const fd_npy *a) {
    char header[512];
    size_t size, bytes;
    FD_TRY(make_header(ctx, path, a, header, &size, &bytes));
    fd_outfile o;
    FD_TRY(fd_outfile_open(ctx, path, &o));
    fd_status s = fd_outfile_write(ctx, &o, header, size);
    if (s == FD_OK) s = fd_outfile_write(ctx, &o, a->data, bytes);
    if (s == FD_OK) s = fd_outfile_commit(ctx, &o);
    fd_outfile_abandon(&o);
    return s;
}

fd_status fd_npz_write(fd_ctx *ctx, const char *path, const fd_npz_entry *e, int n) {
    fd_zip_writer *w;
    FD_TRY(fd_zip_create(ctx, path, &w));
    fd_status s = FD_OK;
    for (int i = 0; i < n && s == FD_OK; i++) {
        char header[512], member[256];
        size_t size, bytes;
        if (!member_name(e[i].name, member)) s = FD_FAIL(ctx, FD_E_ARG, "%s: array name too long", path);
        if (s == FD_OK) s = make_header(ctx, path, &e[i].array, header, &size, &bytes);
        if (s != FD_OK) break;
        fd_bytes pieces[] = {{(const uint8_t *)header, size}, {e[i].array.data, bytes}};
        s = fd_zip_add(ctx, w, member, pieces, 2);
    }
    if (s == FD_OK) return fd_zip_commit(ctx, w);
    fd_zip_abandon(w);
    return s;
}
