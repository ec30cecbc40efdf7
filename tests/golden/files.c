/* Sets of files with an expected.json: what they have in common. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "golden.h"
#include "io/json.h"

void golden_item(golden_files *f, const char *item) {
    fd_arena_free(&f->arena);
    f->item = item;
    f->items++;
}

void golden_wrong(golden_files *f, const char *fmt, ...) {
    va_list ap;
    if (f->spoiled && !strcmp(f->spoiled, f->item)) {        /* expected */
        f->noticed = true;
        return;
    }
    f->wrong++;
    va_start(ap, fmt);
    printf("      %s: ", f->item);
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
}

void golden_near(golden_files *f, const json_t *want, const char *key, double ours, double relative, double absolute) {
    const json_t *v = json_object_get(want, key);
    const double right = json_number_value(v);
    f->compared++;
    if (!json_is_number(v)) golden_wrong(f, "expected.json has no number '%s'", key);
    else if (!(fabs(ours - right) <= relative * fabs(right) + absolute))
        golden_wrong(f, "%s is %.17g, not %.17g", key, ours, right);
}

fd_status golden_npy(fd_ctx *ctx, golden_files *f, const char *name, fd_npy *out) {
    const char *path = fd_arena_printf(ctx, &f->arena, "%s/%s", f->folder, name);
    return path ? fd_npy_load(ctx, &f->arena, path, out) : FD_E_NOMEM;
}

void golden_spoil_item(golden_files *f, float *v, int64_t i) {
    if (!f->o->perturb || f->spoiled || v[i] == 0) return;
    v[i] *= 1.001f;
    f->spoiled = f->item;
}

golden_files_fn *golden_files_kind(const char *folder) {
    char path[4400];
    fd_ctx ctx = {.quiet = true};
    json_t *all;
    snprintf(path, sizeof path, "%s/expected.json", folder);
    if (!fd_file_exists(path) || fd_json_load(&ctx, path, &all) != FD_OK) return NULL;
    const char *first = json_object_iter_key(json_object_iter(all));
    const json_t *head = json_object_iter_value(json_object_iter(all));
    const size_t n = first ? strlen(first) : 0;
    golden_files_fn *kind = NULL;
    if (json_object_get(all, "images") && json_object_get(all, "weights")) kind = golden_files_inception;
    else if (json_object_get(all, "inception_score")) kind = golden_files_metrics;
    else if (n > 4 && !strcmp(first + n - 4, ".npz")) kind = golden_files_npz;
    else if (json_object_get(head, "must") && json_object_get(head, "dataset_crc32")) kind = golden_files_datasets;
    json_decref(all);
    return kind;
}

bool golden_run_files(const golden_options *o, const char *folder, char *words, size_t size) {
    char path[4400];
    fd_ctx ctx = {.quiet = true};
    golden_files f = {.o = o, .folder = folder, .item = ""};
    golden_files_fn *kind = golden_files_kind(folder);
    snprintf(path, sizeof path, "%s/expected.json", folder);
    if (!kind || fd_json_load(&ctx, path, &f.expected) != FD_OK) {
        snprintf(words, size, "%s: is no set of files", path);
        return false;
    }
    kind(&f);
    fd_arena_free(&f.arena);
    json_decref(f.expected);
    snprintf(words, size, "%d items, %d numbers or arrays compared, %d wrong%s", f.items, f.compared, f.wrong,
             f.spoiled ? f.noticed ? "; the spoiled number was noticed" : "; the spoiled number went unnoticed" : "");
    return f.wrong == 0 && (o->perturb ? f.noticed : !f.spoiled);
}
