#include "models/import.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/net_file.h"

static const char layer0[] = "map_layer0.weight";

/* A name that every U-Net has, and what stands before it: "", "model.", "module.model." … NULL: no U-Net. */
static const char *find_layer0(const fd_ck_tree *t, int *prefix) {
    for (int i = 0; i < t->n; i++) {
        const char *name = t->tensor[i].name;
        size_t n = strlen(name), tail = sizeof layer0 - 1;
        if (n < tail || strcmp(name + n - tail, layer0)) continue;
        *prefix = (int)(n - tail);
        if (!*prefix || name[*prefix - 1] == '.') return name;
    }
    return NULL;
}

/* ---- choosing a group of tensors ------------------------------------------------------------------------------- */

/* Is `word` one of the words of "a/b/c"? */
static bool has_word(const char *path, const char *word) {
    size_t n = strlen(word);
    for (const char *p = path; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL)
        if (!strncmp(p, word, n) && (p[n] == '/' || !p[n])) return true;
    return false;
}

static fd_status none_chosen(fd_ctx *ctx, const fd_checkpoint *c, const char *key, const char *why) {
    char list[600];
    int at = 0;
    list[0] = 0;
    for (int i = 0; i < c->n && at < 500; i++)
        at += snprintf(list + at, sizeof list - (size_t)at, "%s'%.80s'", i ? ", " : "", c->tree[i].path);
    return FD_FAIL(ctx, FD_E_ARG, "%s: %s%s%s; it has %d: %s", c->path, why, key ? " called " : "", key ? key : "",
                   c->n, list);
}

/* The only tree that `good` accepts. */
static int only(const fd_checkpoint *c, bool (*good)(const fd_ck_tree *, const char *), const char *key) {
    int found = -1;
    for (int i = 0; i < c->n; i++) {
        if (!good(&c->tree[i], key)) continue;
        if (found >= 0) return -2;
        found = i;
    }
    return found;
}

static bool is_called(const fd_ck_tree *t, const char *key) { return !strcmp(t->path, key); }
static bool has_key(const fd_ck_tree *t, const char *key) { return has_word(t->path, key); }
static bool is_net(const fd_ck_tree *t, const char *key) { return find_layer0(t, &(int){0}) != NULL; }
static bool is_any(const fd_ck_tree *t, const char *key) { return true; }

static fd_status choose(fd_ctx *ctx, const fd_checkpoint *c, const char *key, const fd_ck_tree **out) {
    int i = -1;
    if (!c->n)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: a %s of statistics; it holds no network", c->path, c->format);
    if (key) {
        i = only(c, is_called, key);
        if (i == -1) i = only(c, has_key, key);
        if (i < 0) return none_chosen(ctx, c, key, i == -1 ? "no group of tensors" : "several groups of tensors");
    }
    /* An average first, then what training calls the network, then what looks like one, then whatever there is. */
    static const char *const usual[] = {"ema", "model/ema", "model/net", "net", "state_dict", "model", ""};
    for (size_t k = 0; i < 0 && k < FD_COUNT(usual); k++) i = only(c, is_called, usual[k]);
    if (i < 0) i = only(c, is_net, NULL);
    if (i < 0) i = only(c, is_any, NULL);
    if (i < 0) return none_chosen(ctx, c, NULL, "say which group of tensors with --key");
    *out = &c->tree[i];
    return FD_OK;
}

/* ---- where it comes from --------------------------------------------------------------------------------------- */

static fd_status note(fd_ctx *ctx, fd_import *i, const char *text) {
    if (i->notes == (int)FD_COUNT(i->note)) return FD_OK;
    const char *copy = fd_arena_strdup(ctx, &i->arena, text);
    if (!copy) return FD_E_NOMEM;
    i->note[i->notes++] = copy;
    return FD_OK;
}

/* The first lines that begin with '#', joined, if they speak of a licence. */
void fd_import_licence(const fd_checkpoint *c, char *out, size_t size) {
    out[0] = 0;
    if (!fd_pk_is(c->source, FD_PK_TEXT)) return;
    const char *p = c->source->text.p, *end = p + (c->source->text.n < 4096 ? c->source->text.n : 4096);
    size_t n = 0;
    while (p < end && (*p == '#' || *p == '\n')) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop) break;
        while (p < stop && (*p == '#' || *p == ' ')) p++;
        for (bool gap = n > 0; p < stop && n + 2 < size; p++, gap = false) {
            if (gap) out[n++] = ' ';
            out[n++] = (unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f ? '?' : *p;
        }
        p = stop + 1;
    }
    out[n] = 0;
    if (!strstr(out, "icens") && !strstr(out, "opyright")) out[0] = 0;
}

static void base_name(const char *path, char *out, size_t size) {
    const char *slash = strrchr(path, '/');
    snprintf(out, size, "%s", slash && slash[1] ? slash + 1 : path);
}

static fd_status describe(fd_ctx *ctx, fd_import *i) {
    const fd_checkpoint *c = i->file;
    fd_net_meta *m = &i->meta;
    const fd_pk *data = fd_pk_get(c->root, "dataset_kwargs");
    const char *licence = fd_safetensors_meta(&c->st, "modelspec.license");
    char path[160];
    snprintf(m->kind, sizeof m->kind, "teacher");
    base_name(c->path, m->title, sizeof m->title);
    fd_pk_copy(fd_pk_get(data, "path"), path, sizeof path);
    if (path[0]) base_name(path, m->data, sizeof m->data);
    fd_import_licence(c, m->licence, sizeof m->licence);
    if (!licence) licence = fd_safetensors_meta(&c->st, "license");
    if (licence) snprintf(m->licence, sizeof m->licence, "%s", licence);
    double low, high;
    fd_precond_range(&i->config, &low, &high);
    m->sigma_min = fmax(0.002, low);      /* EDM's sampler */
    m->sigma_max = fmin(80, high);
    m->rho = 7;
    if (m->licence[0]) return FD_OK;
    return note(ctx, i, "the file does not say under which licence it may be used; ask its origin");
}

/* ---- the view -------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
    return strcmp((*(const fd_st_tensor *const *)a)->name, (*(const fd_st_tensor *const *)b)->name);
}

/* Tensors of `tree`, as they are, with `add` before their names. */
static fd_status make_view(fd_ctx *ctx, fd_import *i, const fd_ck_tree *tree, const char *add) {
    fd_st_tensor *t;
    const fd_st_tensor **sorted;
    FD_NEW(ctx, &i->arena, t, tree->n);
    FD_NEW(ctx, &i->arena, sorted, tree->n);
    for (int k = 0; k < tree->n; k++) {
        FD_TRY(fd_checkpoint_tensor(ctx, i->file, &tree->tensor[k], &i->arena, &t[k]));
        if (*add && !(t[k].name = fd_arena_printf(ctx, &i->arena, "%s%s", add, t[k].name))) return FD_E_NOMEM;
        sorted[k] = &t[k];
    }
    qsort(sorted, (size_t)tree->n, sizeof *sorted, by_name);
    i->view = (fd_safetensors){.path = i->file->path, .tensor = t, .by_name = sorted, .n = tree->n};
    return FD_OK;
}

/* Tensors that FastGen keeps beside the network, under any prefix, and that denoising does not use; iDDPM's noise
 * levels, which are known. */
static bool ignorable(const char *name) {
    const char *last = strrchr(name, '.');
    if (!strcmp(last ? last + 1 : name, "bins") || !strcmp(name, "u")) return true;
    const char *logvar = strstr(name, "logvar_linear.");
    return logvar && (logvar == name || logvar[-1] == '.') && strchr(logvar, '.') == last;
}

/* The tree with its names cut by the prefix, which `head` begins with. */
static fd_status strip_names(fd_ctx *ctx, fd_import *i, const char *head, int prefix, fd_ck_tree *out) {
    const fd_ck_tree *from = i->tree;
    *out = *from;
    FD_NEW(ctx, &i->arena, out->tensor, from->n);
    out->n = 0;
    for (int k = 0; k < from->n; k++) {
        const fd_ck_tensor *t = &from->tensor[k];
        bool inside = !strncmp(t->name, head, (size_t)prefix);
        if (ignorable(t->name)) {
            char text[300];
            snprintf(text, sizeof text, "tensor '%.200s' is not part of the network and was left out", t->name);
            FD_TRY(note(ctx, i, text));
            continue;
        }
        if (!inside)
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: tensor '%.200s' does not belong to the network, whose names begin "
                           "with '%.*s'", i->file->path, t->name, prefix, head);
        out->tensor[out->n] = *t;
        out->tensor[out->n++].name = t->name + prefix;
    }
    return FD_OK;
}

/* What is around the U-Net: as told, by the class of the module, or by the number of channels that come out. */
static fd_status find_precond(fd_ctx *ctx, fd_import *i, const fd_ck_tree *own, const fd_import_options *o) {
    int out = fd_ck_find(own, "out_conv.weight");
    i->config.precond = o->precond;
    if (o->precond_given || fd_import_precond(i->class_name, &i->config.precond)) return FD_OK;
    if (out >= 0 && own->tensor[out].rank == 4 && own->tensor[out].dim[0] == 2 * i->config.image_channels)
        i->config.precond = FD_PRECOND_IDDPM;
    return note(ctx, i, i->config.precond ? "twice the image's channels come out: taken for iDDPM's preconditioning"
                                          : "the file does not name its preconditioning; EDM's is taken (--precond)");
}

/* What makes a view a network's: metadata, as our files have it. */
static fd_status add_metadata(fd_ctx *ctx, fd_import *i) {
    fd_st_meta *meta;
    int n;
    FD_NEW(ctx, &i->arena, meta, FD_NET_META_MAX);
    FD_TRY(fd_net_metadata(ctx, &i->arena, &i->config, &i->meta, meta, &n));
    i->view.meta = meta;
    i->view.nmeta = n;
    i->network = true;
    return FD_OK;
}

static fd_status take_inception(fd_ctx *ctx, fd_import *i) {
    fd_ck_tree own;
    FD_TRY(fd_import_inception(ctx, i, &own));
    FD_TRY(make_view(ctx, i, &own, ""));
    return add_metadata(ctx, i);
}

static fd_status take_network(fd_ctx *ctx, fd_import *i, const char *head, int prefix, const fd_import_options *o) {
    fd_ck_tree own;
    const fd_pk *attributes = fd_ck_attributes(i->tree);
    FD_TRY(strip_names(ctx, i, head, prefix, &own));
    FD_TRY(fd_import_infer(ctx, i->file->path, &own, &i->config));
    FD_TRY(find_precond(ctx, i, &own, o));
    FD_TRY(fd_import_arguments(ctx, i->file->path, attributes, &i->config));
    FD_TRY(describe(ctx, i));
    FD_TRY(make_view(ctx, i, &own, "model."));
    return add_metadata(ctx, i);
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

static fd_status understand(fd_ctx *ctx, fd_import *i, const fd_import_options *o) {
    const fd_checkpoint *c = i->file;
    if (fd_safetensors_meta(&c->st, "fdistill.config") && !o->raw) {
        i->ours = i->network = true;
        i->view = c->st;
        i->tree = &c->tree[0];
        return FD_OK;
    }
    FD_TRY(choose(ctx, c, o->key, &i->tree));
    const fd_pk *object = i->tree->object, *attributes = fd_ck_attributes(i->tree);
    if (attributes) fd_pk_copy(object->object.cls, i->class_name, sizeof i->class_name);
    fd_pk_copy(fd_pk_get(fd_pk_get(attributes, "_init_kwargs"), "model_type"), i->model_name, sizeof i->model_name);
    int prefix = 0;
    const char *head = o->raw ? NULL : find_layer0(i->tree, &prefix);
    if (head) return take_network(ctx, i, head, prefix, o);
    if (!o->raw && fd_import_is_inception(i->tree)) return take_inception(ctx, i);
    FD_TRY(make_view(ctx, i, i->tree, ""));
    i->view.meta = c->st.meta;
    i->view.nmeta = c->st.nmeta;
    return FD_OK;
}

fd_status fd_import_open(fd_ctx *ctx, const char *path, const fd_import_options *options, fd_import *out) {
    static const fd_import_options defaults;
    *out = (fd_import){0};
    FD_TRY(fd_checkpoint_open(ctx, path, &out->file));
    fd_status s = understand(ctx, out, options ? options : &defaults);
    if (s != FD_OK) fd_import_close(out);
    return s;
}

void fd_import_close(fd_import *i) {
    fd_checkpoint_close(i->file);
    fd_arena_free(&i->arena);
    *i = (fd_import){0};
}

fd_status fd_import_tensors(fd_ctx *ctx, fd_import *i, fd_st_tensor **out, int *n, int64_t *parameters) {
    if (i->network) return fd_net_check_view(ctx, &i->view, &i->arena, out, n, parameters);
    FD_NEW(ctx, &i->arena, *out, i->view.n);
    *n = i->view.n;
    *parameters = 0;
    for (int k = 0; k < *n; k++) {
        (*out)[k] = i->view.tensor[k];
        *parameters += (*out)[k].count;
    }
    return FD_OK;
}
