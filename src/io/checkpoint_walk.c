/* From the values of a pickle to named trees of tensors. Values may be shared and may contain themselves: every way
 * to a value is walked, with limits on depth and on the number of visits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/checkpoint_parts.h"

enum { MAX_LEVELS = 64, MAX_VISITS = 1 << 20, MAX_NAME = 1000 };

typedef struct {
    fd_ctx *ctx;
    fd_checkpoint *c;
    int64_t visits, bytes;        /* that may still be spent; bytes: of tensors, each counted where it is named */
    int level;
    uint32_t trees_room, arrays_room;
    char path[MAX_NAME + 1], name[MAX_NAME + 1];      /* of the place where we are, as long as they reach */
} walker;

/* n: how many values will be looked at here. */
static fd_status enter(walker *w, uint32_t n) {
    if (w->level == MAX_LEVELS)
        return FD_FAIL(w->ctx, FD_E_FORMAT, "%s: the values contain themselves, or are nested more than %d deep",
                       w->c->path, MAX_LEVELS);
    if ((w->visits -= 1 + (int64_t)n) < 0)
        return FD_FAIL(w->ctx, FD_E_FORMAT, "%s: more than %d values, counting shared ones each time: refused",
                       w->c->path, MAX_VISITS);
    w->level++;
    return FD_OK;
}

/* Appends ("" or separator) + key to a path; *end is its length. */
static fd_status extend(walker *w, char *path, size_t *end, char separator, const char *key, size_t n) {
    size_t at = *end;
    if (memchr(key, 0, n))
        return FD_FAIL(w->ctx, FD_E_FORMAT, "%s: a name with a NUL byte in it, after '%.*s'", w->c->path, (int)at,
                       path);
    if (at + n + 1 > MAX_NAME)
        return FD_FAIL(w->ctx, FD_E_FORMAT, "%s: a name longer than %d bytes, after '%.*s'", w->c->path, MAX_NAME,
                       at < 100 ? (int)at : 100, path);
    if (at) path[at++] = separator;
    memcpy(path + at, key, n);
    path[*end = at + n] = 0;
    return FD_OK;
}

static fd_status copy_text(walker *w, const char *text, const char **out) {
    char *p = fd_pk_alloc(w->ctx, &w->c->session, strlen(text) + 1);
    if (!p) return w->ctx->code;
    *out = strcpy(p, text);
    return FD_OK;
}

/* ---- trees ----------------------------------------------------------------------------------------------------- */

typedef struct { fd_ck_tree tree; uint32_t room; } growing;

static fd_status add_tensor(walker *w, growing *g, const fd_tensor *t) {
    fd_checkpoint *c = w->c;
    int64_t bytes = 0;
    bool overflow = __builtin_mul_overflow(t->count, (int64_t)t->type->bytes, &bytes);
    if (overflow || (w->bytes -= bytes) < 0)
        return FD_FAIL(w->ctx, FD_E_FORMAT, "%s: tensor '%.200s' shows the same few numbers again and again, more than "
                       "the file's size explains: refused", c->path, w->name);
    void *array = g->tree.tensor;
    FD_TRY(fd_pk_grow(w->ctx, &c->session, &array, (uint32_t)g->tree.n, &g->room, sizeof *g->tree.tensor,
                      FD_PK_MAX_STACK, "tensors"));
    g->tree.tensor = array;
    fd_ck_tensor *e = &g->tree.tensor[g->tree.n];
    *e = (fd_ck_tensor){.dtype = t->type->name, .st_dtype = t->type->dtype, .rank = t->rank, .count = t->count,
                        .view = t};
    memcpy(e->dim, t->dim, sizeof e->dim);
    FD_TRY(copy_text(w, w->name, &e->name));
    g->tree.n++;
    return FD_OK;
}

static fd_status add_module(walker *w, growing *g, const fd_pk *state, size_t end);

static bool in_set(const fd_pk *set, const fd_pk *text) {
    for (uint32_t i = 0; fd_pk_is(set, FD_PK_SET) && i < set->n; i++) {
        const fd_pk *v = set->item[i];
        if (fd_pk_is(v, FD_PK_TEXT) && v->text.n == text->text.n && !memcmp(v->text.p, text->text.p, v->text.n))
            return true;
    }
    return false;
}

/* Tensors and objects of a dict, each below its key. skip: names that a state_dict leaves out. */
static fd_status add_members(walker *w, growing *g, const fd_pk *dict, const fd_pk *skip, size_t end) {
    for (uint32_t i = 0; fd_pk_is(dict, FD_PK_DICT) && i < dict->n; i++) {
        const fd_pk *key = dict->item[2 * i], *v = dict->item[2 * i + 1];
        size_t here = end;
        if (!fd_pk_is(key, FD_PK_TEXT) || (!fd_pk_is(v, FD_PK_TENSOR) && !fd_pk_is(v, FD_PK_OBJECT))) continue;
        if (skip && (w->visits -= skip->n) >= 0 && in_set(skip, key)) continue;
        FD_TRY(extend(w, w->name, &here, '.', key->text.p, key->text.n));
        if (fd_pk_is(v, FD_PK_TENSOR)) FD_TRY(add_tensor(w, g, v->tensor));
        else FD_TRY(add_module(w, g, v->object.state, here));
    }
    w->name[end] = 0;
    return FD_OK;
}

/* A module's parameters, buffers and children, in the order of torch's state_dict; a TorchScript object has them all
 * as plain attributes. */
static fd_status add_module(walker *w, growing *g, const fd_pk *state, size_t end) {
    FD_TRY(enter(w, state ? state->n : 0));
    if (fd_pk_get(state, "_parameters") || fd_pk_get(state, "_modules")) {
        FD_TRY(add_members(w, g, fd_pk_get(state, "_parameters"), NULL, end));
        FD_TRY(add_members(w, g, fd_pk_get(state, "_buffers"), fd_pk_get(state, "_non_persistent_buffers_set"), end));
        FD_TRY(add_members(w, g, fd_pk_get(state, "_modules"), NULL, end));
    } else if (w->c->script) {
        FD_TRY(add_members(w, g, state, NULL, end));
    }
    w->level--;
    return FD_OK;
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const fd_ck_tensor *const *)a)->name, (*(const fd_ck_tensor *const *)b)->name);
}

static fd_status add_tree(walker *w, growing *g, const fd_pk *object) {
    fd_checkpoint *c = w->c;
    int n = g->tree.n;
    if (!n) return FD_OK;
    const fd_ck_tensor **sorted = fd_pk_alloc(w->ctx, &c->session, (size_t)n * sizeof *sorted);
    if (!sorted) return w->ctx->code;
    for (int i = 0; i < n; i++) sorted[i] = &g->tree.tensor[i];
    qsort(sorted, (size_t)n, sizeof *sorted, by_name);
    for (int i = 1; i < n; i++)
        if (!strcmp(sorted[i]->name, sorted[i - 1]->name))
            return FD_FAIL(w->ctx, FD_E_FORMAT, "%s: two tensors are called '%.200s'", c->path, sorted[i]->name);
    void *array = c->tree;
    FD_TRY(fd_pk_grow(w->ctx, &c->session, &array, (uint32_t)c->n, &w->trees_room, sizeof *c->tree, FD_PK_MAX_STACK,
                      "groups of tensors"));
    c->tree = array;
    g->tree.object = object;
    FD_TRY(copy_text(w, w->path, &g->tree.path));
    c->tree[c->n++] = g->tree;
    return FD_OK;
}

/* ---- the walk -------------------------------------------------------------------------------------------------- */

static fd_status visit(walker *w, const fd_pk *v, size_t end);

static fd_status add_array(walker *w, const fd_pk_array *a) {
    fd_checkpoint *c = w->c;
    if (!a->done || a->scalar) return FD_OK;
    void *array = c->array;
    FD_TRY(fd_pk_grow(w->ctx, &c->session, &array, (uint32_t)c->narrays, &w->arrays_room, sizeof *c->array,
                      FD_PK_MAX_STACK, "arrays"));
    c->array = array;
    c->array[c->narrays].array = a;
    FD_TRY(copy_text(w, w->path, &c->array[c->narrays].path));
    c->narrays++;
    return FD_OK;
}

static fd_status visit_dict(walker *w, const fd_pk *dict, size_t end) {
    growing g = {0};
    for (uint32_t i = 0; i < dict->n; i++) {
        const fd_pk *key = dict->item[2 * i], *v = dict->item[2 * i + 1];
        size_t here = 0;
        if (!fd_pk_is(key, FD_PK_TEXT) || !fd_pk_is(v, FD_PK_TENSOR)) continue;
        FD_TRY(extend(w, w->name, &here, '.', key->text.p, key->text.n));
        FD_TRY(add_tensor(w, &g, v->tensor));
    }
    FD_TRY(add_tree(w, &g, dict));
    for (uint32_t i = 0; i < dict->n; i++) {
        const fd_pk *key = dict->item[2 * i];
        size_t here = end;
        if (!fd_pk_is(key, FD_PK_TEXT)) continue;
        switch (dict->item[2 * i + 1]->kind) {      /* what can hold a tree or an array */
        case FD_PK_DICT: case FD_PK_LIST: case FD_PK_TUPLE: case FD_PK_OBJECT: case FD_PK_ARRAY: break;
        default: continue;
        }
        FD_TRY(extend(w, w->path, &here, '/', key->text.p, key->text.n));
        FD_TRY(visit(w, dict->item[2 * i + 1], here));
    }
    return FD_OK;
}

static fd_status visit_list(walker *w, const fd_pk *list, size_t end) {
    for (uint32_t i = 0; i < list->n; i++) {
        char number[16];
        size_t here = end;
        int n = snprintf(number, sizeof number, "%u", i);
        switch (list->item[i]->kind) {
        case FD_PK_DICT: case FD_PK_LIST: case FD_PK_TUPLE: case FD_PK_OBJECT: case FD_PK_ARRAY: break;
        default: continue;
        }
        FD_TRY(extend(w, w->path, &here, '/', number, (size_t)n));
        FD_TRY(visit(w, list->item[i], here));
    }
    return FD_OK;
}

static fd_status visit(walker *w, const fd_pk *v, size_t end) {
    FD_TRY(enter(w, v->n));
    if (v->kind == FD_PK_DICT) FD_TRY(visit_dict(w, v, end));
    else if (v->kind == FD_PK_LIST || v->kind == FD_PK_TUPLE) FD_TRY(visit_list(w, v, end));
    else if (v->kind == FD_PK_ARRAY) FD_TRY(add_array(w, v->array));
    else if (v->kind == FD_PK_OBJECT) {
        growing g = {0};
        w->name[0] = 0;
        FD_TRY(add_module(w, &g, v->object.state, 0));
        FD_TRY(add_tree(w, &g, v));
    }
    w->path[end] = 0;
    w->level--;
    return FD_OK;
}

fd_status fd_checkpoint_walk(fd_ctx *ctx, fd_checkpoint *c) {
    walker w = {.ctx = ctx, .c = c, .visits = MAX_VISITS, .bytes = c->expanded};
    return visit(&w, c->root, 0);
}
