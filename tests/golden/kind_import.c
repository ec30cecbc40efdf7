/* Files of weights in every container: a folder with expected.json, which says of each file beside it whether it must
 * be read ("accept"), must not ("refuse") or may ("accept_or_refuse"), and what is in it. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "golden.h"
#include "io/checkpoint.h"
#include "io/json.h"

typedef struct {
    const char *folder;
    const golden_options *o;
    bool spoiled;
    int read, refused, wrong;
    int tensors;
} run;

static void wrong(run *r, const char *file, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void wrong(run *r, const char *file, const char *fmt, ...) {
    va_list ap;
    r->wrong++;
    if (r->o->perturb) return;        /* expected */
    va_start(ap, fmt);
    printf("      %s: ", file);
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
}

static bool same_shape(const fd_ck_tensor *t, const json_t *shape) {
    bool same = (int)json_array_size(shape) == t->rank;
    for (int i = 0; same && i < t->rank; i++)
        same = json_integer_value(json_array_get(shape, (size_t)i)) == t->dim[i];
    return same;
}

/* dtype and shape as stored; CRC-32 of the values as float32; their sum in double. */
static fd_status check_tensor(fd_ctx *ctx, run *r, const char *file, const fd_checkpoint *c, const fd_ck_tensor *t,
                              const json_t *want) {
    fd_arena a = {0};
    fd_st_tensor st;
    const char *dtype = json_string_value(json_object_get(want, "dtype"));
    if (!dtype || strcmp(dtype, t->dtype) || !same_shape(t, json_object_get(want, "shape")))
        wrong(r, file, "tensor '%s' has another type or shape", t->name);
    fd_status s = fd_checkpoint_tensor(ctx, c, t, &a, &st);
    float *v = s == FD_OK ? fd_arena_alloc(ctx, &a, (size_t)t->count * sizeof *v) : NULL;
    if (v) {
        double sum = 0;
        const json_t *right = json_object_get(want, "sum");
        fd_st_to_f32(st.dtype, st.data, st.count, v);
        if (r->o->perturb && !r->spoiled && st.count && v[0] != 0) {
            v[0] *= 1.001f;
            r->spoiled = true;
        }
        for (int64_t i = 0; i < st.count; i++) sum += v[i];
        if (crc32_z(crc32(0, NULL, 0), (const Bytef *)v, (size_t)st.count * sizeof *v) !=
            (uLong)json_integer_value(json_object_get(want, "crc32")))
            wrong(r, file, "tensor '%s' has other values", t->name);
        /* Summing floats: integers and doubles that float32 rounds are judged by the CRC alone. */
        else if (json_is_number(right) && st.dtype != FD_ST_F64 && st.dtype != FD_ST_I64 &&
                 fabs(sum - json_number_value(right)) > 1e-9 * fmax(1, fabs(sum)))
            wrong(r, file, "tensor '%s' sums to %.17g", t->name, sum);
        r->tensors++;
    }
    fd_arena_free(&a);
    return s == FD_OK && !v ? FD_E_NOMEM : s;
}

static double element(const json_t *v, int64_t i, const fd_pk_array *a) {
    int64_t size = a->count;
    for (int k = 0; k < a->rank; k++) {
        size /= a->dim[k];
        v = json_array_get(v, (size_t)(i / size));
        i %= size;
    }
    return json_number_value(v);
}

static void check_array(run *r, const char *file, const fd_checkpoint *c, const char *path, const json_t *want) {
    for (int i = 0; i < c->narrays; i++) {
        const fd_pk_array *a = c->array[i].array;
        if (strcmp(c->array[i].path, path)) continue;
        for (int64_t k = 0; k < a->count; k++)
            if (fd_pk_array_at(a, k) != element(want, k, a)) {
                wrong(r, file, "array '%s' has another element %lld", path, (long long)k);
                return;
            }
        r->tensors++;
        return;
    }
    wrong(r, file, "array '%s' was not found", path);
}

static fd_status check_contents(fd_ctx *ctx, run *r, const char *file, const fd_checkpoint *c, const json_t *want) {
    const char *path, *name;
    json_t *tree, *tensor;
    json_object_foreach(json_object_get(want, "trees"), path, tree) {
        const fd_ck_tree *t = fd_checkpoint_tree(c, path);
        if (!t) {
            wrong(r, file, "no tensors at '%s'", path);
            continue;
        }
        json_object_foreach(tree, name, tensor) {
            int i = fd_ck_find(t, name);
            if (i < 0) wrong(r, file, "tensor '%s' was not found", name);
            else FD_TRY(check_tensor(ctx, r, file, c, &t->tensor[i], tensor));
        }
        for (int i = 0; i < t->n; i++)
            if (!json_object_get(tree, t->tensor[i].name) && t->tensor[i].st_dtype >= 0)
                wrong(r, file, "tensor '%s' should not be there", t->tensor[i].name);
    }
    json_object_foreach(json_object_get(want, "arrays"), path, tensor) check_array(r, file, c, path, tensor);
    return FD_OK;
}

/* Hostile files say nothing of their contents: what is good in them is one tensor, 0 to 11 as 3 x 4. */
static fd_status check_control(fd_ctx *ctx, run *r, const char *file, const fd_checkpoint *c) {
    for (int i = 0; i < c->n; i++)
        for (int k = 0; k < c->tree[i].n; k++) {
            const fd_ck_tensor *t = &c->tree[i].tensor[k];
            fd_arena a = {0};
            fd_st_tensor st;
            float v[12] = {0};
            fd_status s = fd_checkpoint_tensor(ctx, c, t, &a, &st);
            bool good = s == FD_OK && t->rank == 2 && t->dim[0] == 3 && t->dim[1] == 4;
            if (good) fd_st_to_f32(st.dtype, st.data, 12, v);
            if (good && r->o->perturb && !r->spoiled) {
                v[3] *= 1.001f;
                r->spoiled = true;
            }
            for (int e = 0; e < 12; e++) good &= v[e] == (float)e;
            if (!good) wrong(r, file, "tensor '%s' is not 0 to 11 as 3 x 4", t->name);
            r->tensors++;
            fd_arena_free(&a);
        }
    return FD_OK;
}

/* A file that holds a network: its configuration must be found and its weights be those of the formula. */
static void check_network(run *r, const char *file, const char *path, const json_t *want) {
    fd_ctx ctx = {.quiet = true};
    fd_net *net = NULL, *right = NULL;
    fd_net_config c;
    char text[2048];
    size_t n = json_dumpb(json_object_get(want, "network"), text, sizeof text, JSON_COMPACT);
    const char *salt = json_string_value(json_object_get(want, "salt"));
    fd_status s = fd_net_config_parse(&ctx, "expected.json", text, n < sizeof text ? n : 0, &c);
    if (s == FD_OK) s = fd_net_new(&ctx, &c, &right);
    if (s == FD_OK) s = fd_net_fill_formula(&ctx, right, salt ? salt : "", 1);
    if (s == FD_OK) s = fd_net_load(&ctx, path, &net);
    if (s != FD_OK) wrong(r, file, "%s", ctx.message);
    else {
        fd_arena a = {0};
        const char *found = "", *meant = "";
        fd_net_config_format(&ctx, &a, &net->config, &found);
        fd_net_config_format(&ctx, &a, &c, &meant);
        if (strcmp(found, meant)) wrong(r, file, "the configuration is %s, not %s", found, meant);
        else if (memcmp(net->params.w, right->params.w, (size_t)right->params.total * sizeof(float)))
            wrong(r, file, "the network has other weights");
        fd_arena_free(&a);
    }
    fd_net_free(net);
    fd_net_free(right);
}

static void check_file(run *r, const char *file, const json_t *want) {
    char path[4400];
    fd_ctx ctx = {.quiet = true};
    fd_checkpoint *c;
    snprintf(path, sizeof path, "%s/%s", r->folder, file);
    const char *must = json_string_value(json_object_get(want, "must"));
    fd_status s = fd_checkpoint_open(&ctx, path, &c);
    if (s == FD_OK) {
        r->read++;
        if (must && !strcmp(must, "refuse")) wrong(r, file, "was read, but must be refused");
        bool listed = json_object_get(want, "trees") || json_object_get(want, "arrays");
        if ((listed ? check_contents(&ctx, r, file, c, want) : check_control(&ctx, r, file, c)) != FD_OK)
            wrong(r, file, "%s", ctx.message);
        fd_checkpoint_close(c);
        if (json_object_get(want, "network")) check_network(r, file, path, want);
        return;
    }
    r->refused++;
    if (must && !strcmp(must, "accept")) wrong(r, file, "was refused: %s", ctx.message);
    if ((s != FD_E_FORMAT && s != FD_E_UNSUPPORTED) || strncmp(ctx.message, path, strlen(path)))
        wrong(r, file, "no proper reason: %s: %s", fd_status_name(s), ctx.message);
}

/* Is expected.json of this kind? */
bool golden_is_import(const char *folder) {
    char path[4400];
    fd_ctx ctx = {.quiet = true};
    json_t *all;
    snprintf(path, sizeof path, "%s/expected.json", folder);
    if (!fd_file_exists(path) || fd_json_load(&ctx, path, &all) != FD_OK) return false;
    const json_t *first = json_object_iter_value(json_object_iter(all));
    bool yes = json_object_get(first, "must") && (json_object_get(first, "trees") || json_object_get(first, "why"));
    json_decref(all);
    return yes;
}

bool golden_run_import(const golden_options *o, const char *folder, char *words, size_t size) {
    char path[4400];
    fd_ctx ctx = {.quiet = true};
    run r = {.folder = folder, .o = o};
    json_t *all, *want;
    const char *file;
    snprintf(path, sizeof path, "%s/expected.json", folder);
    if (fd_json_load(&ctx, path, &all) != FD_OK) {
        snprintf(words, size, "%s", ctx.message);
        return false;
    }
    json_object_foreach(all, file, want) check_file(&r, file, want);
    json_decref(all);
    snprintf(words, size, "%d files read, %d refused, %d tensors compared, %d wrong", r.read, r.refused, r.tensors,
             r.wrong);
    return o->perturb ? r.wrong == (r.tensors > 0) : r.wrong == 0;
}
