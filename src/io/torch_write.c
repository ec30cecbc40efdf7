/* State dicts as torch.save writes them: a zip of a pickle of protocol 2 and one record per tensor. Names and opcodes
 * are those that torch.load's weights_only reader allows. */
#include <stdio.h>
#include <string.h>

#include "io/torch.h"

typedef struct { uint8_t *p; size_t n; } text;      /* with room for everything: see pickle_room */

static void put(text *t, const void *data, size_t n) {
    memcpy(t->p + t->n, data, n);
    t->n += n;
}

static void put_op(text *t, char op) { t->p[t->n++] = (uint8_t)op; }

static void put_number(text *t, uint64_t v, int bytes) {
    for (int i = 0; i < bytes; i++) t->p[t->n++] = (uint8_t)(v >> (8 * i));
}

static void put_text(text *t, const char *s) {      /* BINUNICODE */
    put_op(t, 'X');
    put_number(t, strlen(s), 4);
    put(t, s, strlen(s));
}

static void put_int(text *t, int64_t v) {           /* BININT, or LONG1 of 8 bytes */
    if (v < INT32_MAX) {
        put_op(t, 'J');
        put_number(t, (uint64_t)v, 4);
    } else {
        put(t, "\x8a\x08", 2);
        put_number(t, (uint64_t)v, 8);
    }
}

static void put_name(text *t, const char *two_lines) {      /* GLOBAL */
    put_op(t, 'c');
    put(t, two_lines, strlen(two_lines));
}

static void put_tuple(text *t, const int64_t *v, int n) {
    put_op(t, '(');
    for (int i = 0; i < n; i++) put_int(t, v[i]);
    put_op(t, 't');
}

static const char *storage_name(fd_st_dtype d) {
    static const char *const names[FD_ST_DTYPES] = {
        [FD_ST_F64] = "torch\nDoubleStorage\n", [FD_ST_F32] = "torch\nFloatStorage\n",
        [FD_ST_F16] = "torch\nHalfStorage\n",   [FD_ST_BF16] = "torch\nBFloat16Storage\n",
        [FD_ST_I64] = "torch\nLongStorage\n",   [FD_ST_I32] = "torch\nIntStorage\n",
        [FD_ST_I16] = "torch\nShortStorage\n",  [FD_ST_I8] = "torch\nCharStorage\n",
        [FD_ST_U8] = "torch\nByteStorage\n",    [FD_ST_BOOL] = "torch\nBoolStorage\n"};
    return names[d];
}

/* name: _rebuild_tensor_v2(storage 'key', 0, shape, strides, False, OrderedDict()) */
static void put_tensor(text *t, const fd_st_tensor *st, int number, int64_t count) {
    char key[16];
    int64_t stride[FD_ST_MAX_RANK], step = 1;
    for (int i = st->rank; i-- > 0; step *= st->dim[i] ? st->dim[i] : 1) stride[i] = step;
    snprintf(key, sizeof key, "%d", number);
    put_text(t, st->name);
    put_name(t, "torch._utils\n_rebuild_tensor_v2\n");
    put(t, "((", 2);
    put_text(t, "storage");
    put_name(t, storage_name(st->dtype));
    put_text(t, key);
    put_text(t, "cpu");
    put_int(t, count);
    put(t, "tQ", 2);
    put_int(t, 0);
    put_tuple(t, st->dim, st->rank);
    put_tuple(t, stride, st->rank);
    put_op(t, '\x89');
    put_name(t, "collections\nOrderedDict\n");
    put(t, ")RtR", 4);
}

static size_t pickle_room(const fd_st_tensor *tensor, int n) {
    size_t room = 64;
    for (int i = 0; i < n; i++) room += 512 + strlen(tensor[i].name);
    return room;
}

static int64_t elements(const fd_st_tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dim[i];
    return n;
}

static fd_status add_records(fd_ctx *ctx, fd_zip_writer *w, const fd_st_tensor *tensor, int n, text *pickle) {
    fd_bytes b = {pickle->p, pickle->n};
    FD_TRY(fd_zip_add(ctx, w, "archive/data.pkl", &b, 1));
    b = (fd_bytes){(const uint8_t *)"little", 6};
    FD_TRY(fd_zip_add(ctx, w, "archive/byteorder", &b, 1));
    for (int i = 0; i < n; i++) {
        char name[40];
        snprintf(name, sizeof name, "archive/data/%d", i);
        b = (fd_bytes){tensor[i].data, (size_t)elements(&tensor[i]) * fd_st_dtype_bytes(tensor[i].dtype)};
        FD_TRY(fd_zip_add(ctx, w, name, &b, 1));
    }
    b = (fd_bytes){(const uint8_t *)"3\n", 2};
    return fd_zip_add(ctx, w, "archive/version", &b, 1);
}

fd_status fd_torch_save(fd_ctx *ctx, const char *path, const fd_st_tensor *tensor, int n) {
    for (int i = 0; i < n; i++)
        if (!storage_name(tensor[i].dtype))
            return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: tensor '%s': torch's old storages have no type %s", path,
                           tensor[i].name, fd_st_dtype_name(tensor[i].dtype));
    text pickle = {fd_alloc(ctx, pickle_room(tensor, n)), 0};
    if (!pickle.p) return FD_E_NOMEM;
    put(&pickle, "\x80\x02}(", 4);
    for (int i = 0; i < n; i++) put_tensor(&pickle, &tensor[i], i, elements(&tensor[i]));
    put(&pickle, "u.", 2);
    fd_zip_writer *w = NULL;
    fd_status s = fd_zip_create(ctx, path, &w);
    if (s == FD_OK) {
        s = add_records(ctx, w, tensor, n, &pickle);
        if (s == FD_OK) s = fd_zip_commit(ctx, w);
        else fd_zip_abandon(w);
    }
    fd_free(pickle.p);
    return s;
}
