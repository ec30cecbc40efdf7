#include "cli/import_list.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "io/json.h"
#include "models/import.h"

enum { LISTED_NUMBERS = 100000,   /* bigger arrays are described, not listed */
       VALUE_LEVELS = 16 };

/* ---- numbers of a tensor --------------------------------------------------------------------------------------- */

typedef struct { double sum; uint32_t crc; } digest;

static double to_double(fd_st_dtype d, const void *p) {
    switch (d) {
    case FD_ST_F64: { double v; memcpy(&v, p, 8); return v; }
    case FD_ST_I64: { int64_t v; memcpy(&v, p, 8); return (double)v; }
    case FD_ST_I32: { int32_t v; memcpy(&v, p, 4); return v; }
    case FD_ST_U64: { uint64_t v; memcpy(&v, p, 8); return (double)v; }
    case FD_ST_U32: { uint32_t v; memcpy(&v, p, 4); return v; }
    default: break;
    }
    float f;                      /* everything else fits */
    fd_st_to_f32(d, p, 1, &f);
    return f;
}

static fd_status measure(fd_ctx *ctx, const fd_checkpoint *c, const fd_ck_tensor *t, digest *out) {
    fd_arena a = {0};
    fd_st_tensor st = {0};
    float chunk[4096];
    uLong crc = crc32(0, NULL, 0);
    double sum = 0;
    fd_status s = fd_checkpoint_tensor(ctx, c, t, &a, &st);
    size_t width = fd_st_dtype_bytes(st.dtype);
    bool wide = width > 4 || st.dtype == FD_ST_I32 || st.dtype == FD_ST_U32;
    for (int64_t at = 0, n; s == FD_OK && at < st.count; at += n) {
        n = st.count - at < (int64_t)FD_COUNT(chunk) ? st.count - at : (int64_t)FD_COUNT(chunk);
        const char *p = (const char *)st.data + (size_t)at * width;
        fd_st_to_f32(st.dtype, p, n, chunk);
        for (int64_t k = 0; k < n; k++) sum += wide ? to_double(st.dtype, p + (size_t)k * width) : chunk[k];
        crc = crc32_z(crc, (const Bytef *)chunk, (size_t)n * sizeof *chunk);
    }
    *out = (digest){sum, (uint32_t)crc};
    fd_arena_free(&a);
    return s;
}

/* ---- JSON ------------------------------------------------------------------------------------------------------ */

/* Values as JSON; what JSON has not (objects, tensors, bytes) becomes a text in angle brackets. */
static json_t *value_json(const fd_pk *v, int level) {
    double real;
    int64_t integer;
    char text[1024];
    if (!v || level == VALUE_LEVELS) return json_null();
    switch (v->kind) {
    case FD_PK_NONE: return json_null();
    case FD_PK_BOOL: return json_boolean(v->truth);
    case FD_PK_TEXT: fd_pk_copy(v, text, sizeof text); return json_string(text);
    case FD_PK_DICT: {
        json_t *o = json_object();
        for (uint32_t i = 0; i < v->n && i < 256; i++) {
            if (!fd_pk_is(v->item[2 * i], FD_PK_TEXT)) continue;
            fd_pk_copy(v->item[2 * i], text, sizeof text);
            json_object_set_new(o, text, value_json(v->item[2 * i + 1], level + 1));
        }
        return o;
    }
    case FD_PK_LIST: case FD_PK_TUPLE: case FD_PK_SET: {
        json_t *a = json_array();
        for (uint32_t i = 0; i < v->n && i < 256; i++) json_array_append_new(a, value_json(v->item[i], level + 1));
        return a;
    }
    }
    if (v->kind == FD_PK_INT && fd_pk_int(v, &integer)) return json_integer(integer);
    if (fd_pk_real(v, &real)) return fd_json_real(real);
    snprintf(text, sizeof text, "<%s>", fd_pk_kind_name(v));
    return json_string(text);
}

static fd_status tensor_json(fd_ctx *ctx, const fd_checkpoint *c, const fd_ck_tensor *t, json_t *into) {
    digest d = {0};
    json_t *shape = json_array(), *o = json_object();
    for (int i = 0; i < t->rank; i++) json_array_append_new(shape, json_integer(t->dim[i]));
    json_object_set_new(o, "dtype", json_string(t->dtype));
    json_object_set_new(o, "shape", shape);
    json_object_set_new(into, t->name, o);
    bool known = t->st_dtype >= 0;
    if (known) FD_TRY(measure(ctx, c, t, &d));
    json_object_set_new(o, "sum", known ? fd_json_real(d.sum) : json_null());
    json_object_set_new(o, "crc32", known ? json_integer(d.crc) : json_null());
    return FD_OK;
}

static json_t *array_json(const fd_pk_array *a, int axis, int64_t *at) {
    if (axis == a->rank) return fd_json_real(fd_pk_array_at(a, (*at)++));
    json_t *list = json_array();
    for (int64_t i = 0; i < a->dim[axis]; i++) json_array_append_new(list, array_json(a, axis + 1, at));
    return list;
}

static json_t *arrays_json(const fd_checkpoint *c) {
    json_t *all = json_object();
    int64_t left = LISTED_NUMBERS;
    for (int i = 0; i < c->narrays; i++) {
        const fd_pk_array *a = c->array[i].array;
        int64_t at = 0, outer = 1;
        for (int k = 0; k + 1 < a->rank; k++) outer *= a->dim[k] < LISTED_NUMBERS ? a->dim[k] + 1 : LISTED_NUMBERS;
        if (a->count + outer <= left && outer <= left) {
            left -= a->count + outer;
            json_object_set_new(all, c->array[i].path, array_json(a, 0, &at));
            continue;
        }
        json_t *shape = json_array();
        for (int k = 0; k < a->rank; k++) json_array_append_new(shape, json_integer(a->dim[k]));
        json_object_set_new(all, c->array[i].path, json_pack("{s:s, s:o}", "dtype", a->type, "shape", shape));
    }
    return all;
}

/* What EDM's pickles say beside the tensors. */
static void origin_json(const fd_checkpoint *c, json_t *o) {
    const fd_pk *loss = fd_pk_get(c->root, "loss_fn");
    for (int i = 0; i < c->n; i++) {
        const fd_pk *attributes = fd_ck_attributes(&c->tree[i]);
        if (!attributes || !fd_pk_get(attributes, "_init_kwargs")) continue;
        json_object_set_new(o, "class_name", value_json(c->tree[i].object->object.cls, 0));
        json_object_set_new(o, "init_kwargs", value_json(fd_pk_get(attributes, "_init_kwargs"), 0));
        break;
    }
    if (fd_pk_get(c->root, "dataset_kwargs"))
        json_object_set_new(o, "dataset_kwargs", value_json(fd_pk_get(c->root, "dataset_kwargs"), 0));
    if (!fd_pk_is(loss, FD_PK_OBJECT)) return;
    json_t *l = json_object();
    json_object_set_new(l, "class_name", value_json(loss->object.cls, 0));
    for (uint32_t i = 0; fd_pk_is(loss->object.state, FD_PK_DICT) && i < loss->object.state->n && i < 256; i++) {
        const fd_pk *key = loss->object.state->item[2 * i], *v = loss->object.state->item[2 * i + 1];
        char name[64];
        double real;
        fd_pk_copy(key, name, sizeof name);
        if (name[0] && name[0] != '_' && fd_pk_real(v, &real)) json_object_set_new(l, name, value_json(v, 0));
    }
    json_object_set_new(o, "loss", l);
}

static fd_status list_json(fd_ctx *ctx, const fd_checkpoint *c, json_t *o) {
    char licence[256];
    json_object_set_new(o, "file", json_string(c->path));
    json_object_set_new(o, "format", json_string(c->format));
    json_t *trees = json_object();
    json_object_set_new(o, "trees", trees);
    for (int i = 0; i < c->n; i++) {
        json_t *tree = json_object();
        json_object_set_new(trees, c->tree[i].path, tree);
        for (int k = 0; k < c->tree[i].n; k++) FD_TRY(tensor_json(ctx, c, &c->tree[i].tensor[k], tree));
    }
    if (c->narrays) json_object_set_new(o, "arrays", arrays_json(c));
    if (c->st.nmeta) {
        json_t *meta = json_object();
        for (int i = 0; i < c->st.nmeta; i++)
            json_object_set_new(meta, c->st.meta[i].key, json_string(c->st.meta[i].value));
        json_object_set_new(o, "metadata", meta);
    }
    origin_json(c, o);
    fd_import_licence(c, licence, sizeof licence);
    if (licence[0]) json_object_set_new(o, "licence", json_string(licence));
    return FD_OK;
}

/* ---- text ------------------------------------------------------------------------------------------------------ */

static void print_name(const char *name) {      /* one line, whatever the file says */
    for (; *name; name++) putchar((unsigned char)*name < 0x20 || *name == 0x7f ? '?' : *name);
}

static void list_text(const fd_checkpoint *c) {
    char licence[256];
    printf("%-12s %s\n%-12s %s\n", "file", c->path, "format", c->format);
    fd_import_licence(c, licence, sizeof licence);
    if (licence[0]) printf("%-12s %s\n", "licence", licence);
    for (int i = 0; i < c->n; i++) {
        int64_t count = 0;
        const fd_ck_tree *t = &c->tree[i];
        for (int k = 0; k < t->n; k++) count += t->tensor[k].count;
        printf("%-12s '", "tensors");
        print_name(t->path);
        printf("' %d of them, %" PRId64 " numbers", t->n, count);
        if (fd_ck_attributes(t)) {
            char cls[64];
            fd_pk_copy(t->object->object.cls, cls, sizeof cls);
            printf(", a %s", cls);
        }
        printf("\n");
        for (int k = 0; k < t->n; k++) {
            printf("  ");
            print_name(t->tensor[k].name);
            printf(" %s [", t->tensor[k].dtype);
            for (int d = 0; d < t->tensor[k].rank; d++) printf("%s%" PRId64, d ? ", " : "", t->tensor[k].dim[d]);
            printf("]\n");
        }
    }
    for (int i = 0; i < c->narrays; i++) {
        const fd_pk_array *a = c->array[i].array;
        printf("%-12s '", "array");
        print_name(c->array[i].path);
        printf("' %s [", a->type);
        for (int d = 0; d < a->rank; d++) printf("%s%" PRId64, d ? ", " : "", a->dim[d]);
        printf("]\n");
    }
}

fd_status fd_import_list(fd_ctx *ctx, const fd_checkpoint *c, bool json) {
    if (!json) {
        list_text(c);
        return FD_OK;
    }
    fd_arena a = {0};
    json_t *o = json_object();
    fd_status s = o ? list_json(ctx, c, o) : FD_FAIL(ctx, FD_E_NOMEM, "%s: out of memory", c->path);
    char *text = s == FD_OK ? fd_json_dump(ctx, &a, o, 1) : NULL;
    if (text) fputs(text, stdout);
    else if (s == FD_OK) s = ctx->code;
    json_decref(o);
    fd_arena_free(&a);
    return s;
}
