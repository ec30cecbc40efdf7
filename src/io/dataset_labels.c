/* dataset_labels.c — labels from dataset.json or from folder names. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "io/dataset_parts.h"
#include "io/json.h"

enum { CLASSES_MAX = 1 << 20, VECTOR_MAX = 1 << 16 };

fd_status fd_fault(fd_faults *f, bool fatal, const char *member, const char *fmt, ...) {
    if (!f->report && !fatal) return FD_OK;
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!f->report)
        return member[0] ? FD_FAIL(f->ctx, FD_E_FORMAT, "%s: '%s': %s", f->set, member, text)
                         : FD_FAIL(f->ctx, FD_E_FORMAT, "%s: %s", f->set, text);
    fd_dataset_report *r = f->report;
    r->total++;
    r->fatal += fatal;
    if (r->n == FD_DATASET_PROBLEMS) return FD_OK;
    fd_dataset_problem *p = &r->problem[r->n];
    p->fatal = fatal;
    p->path = fd_arena_strdup(f->ctx, &r->arena, member);
    p->text = fd_arena_strdup(f->ctx, &r->arena, text);
    if (!p->path || !p->text) return FD_E_NOMEM;
    r->n++;
    return FD_OK;
}

/* Number among the pictures (sorted by name) of a name in the JSON; Windows' separators are taken as '/'. */
static int64_t find_image(const fd_source *s, const int64_t *image, int64_t n, const char *name) {
    char plain[1024];
    if (strchr(name, '\\') && strlen(name) < sizeof plain) {
        strcpy(plain, name);
        for (char *p = plain; *p; p++)
            if (*p == '\\') *p = '/';
        name = plain;
    }
    for (int64_t low = 0, high = n; low < high;) {
        int64_t mid = low + (high - low) / 2;
        int order = strcmp(name, s->file[image[mid]].name);
        if (!order) return mid;
        if (order < 0) high = mid;
        else low = mid + 1;
    }
    return -1;
}

static bool whole_number(const json_t *v, int64_t *out) {
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return true;
    }
    double r = json_is_real(v) ? json_real_value(v) : 0.5;
    if (r != floor(r) || fabs(r) > 1e15) return false;
    *out = (int64_t)r;
    return true;
}

static const char *const JSON_NAME = "dataset.json";

/* Finds the JSON value of every picture. value[i] stays NULL where there is none. */
static fd_status match(fd_faults *f, const fd_source *s, const int64_t *image, int64_t n, const json_t *list,
                       const json_t **value) {
    int64_t absent = 0;
    const char *example = NULL;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *pair = json_array_get(list, i);
        const char *name = json_string_value(json_array_get(pair, 0));
        if (json_array_size(pair) != 2 || !name) {
            FD_TRY(fd_fault(f, true, JSON_NAME, "entry %zu of \"labels\" is not a [file name, label] pair", i));
            continue;
        }
        const json_t *label = json_array_get(pair, 1);
        int64_t at = find_image(s, image, n, name);
        if (at < 0) {
            example = absent++ ? example : name;
        } else if (value[at] && !json_equal(value[at], label)) {
            FD_TRY(fd_fault(f, true, JSON_NAME, "'%s' is listed twice with different labels", name));
        } else {
            value[at] = label;
        }
    }
    if (absent)
        FD_TRY(fd_fault(f, false, JSON_NAME, "%lld entries name files that are not there, the first is '%.200s'",
                        (long long)absent, example));
    return FD_OK;
}

static fd_status take_classes(fd_faults *f, const fd_source *s, const int64_t *image, int64_t n, const json_t **value,
                              fd_arena *arena, fd_labels *out) {
    FD_NEW(f->ctx, arena, out->number, n);
    out->classes = true;
    for (int64_t i = 0; i < n; i++) {
        int64_t v = -1;
        const char *name = s->file[image[i]].name;
        if (!value[i]) FD_TRY(fd_fault(f, true, name, "dataset.json has no label for it"));
        else if (json_is_array(value[i]))
            FD_TRY(fd_fault(f, true, name, "its label is a list, the first picture's is a number"));
        else if (!whole_number(value[i], &v)) FD_TRY(fd_fault(f, true, name, "its label is not a whole number"));
        else if (v < 0) FD_TRY(fd_fault(f, true, name, "its label is negative (%lld)", (long long)v));
        else if (v >= CLASSES_MAX)
            FD_TRY(fd_fault(f, true, name, "its label is %lld; classes are counted from 0 and at most %d",
                            (long long)v, CLASSES_MAX - 1));
        if (v < 0 || v >= CLASSES_MAX) v = -1;
        out->number[i] = (int32_t)v;
        if (v >= out->dim) out->dim = (int)v + 1;
    }
    return FD_OK;
}

static fd_status take_vectors(fd_faults *f, const fd_source *s, const int64_t *image, int64_t n, const json_t **value,
                              size_t dim, fd_arena *arena, fd_labels *out) {
    if (dim < 1 || dim > VECTOR_MAX)
        return fd_fault(f, true, s->file[image[0]].name, "its label has %zu numbers; 1 to %d are allowed", dim,
                        VECTOR_MAX);
    FD_NEW(f->ctx, arena, out->vector, fd_mul_size((size_t)n, dim));
    out->dim = (int)dim;
    for (int64_t i = 0; i < n; i++) {
        const char *name = s->file[image[i]].name;
        if (!value[i]) FD_TRY(fd_fault(f, true, name, "dataset.json has no label for it"));
        else if (!json_is_array(value[i]))
            FD_TRY(fd_fault(f, true, name, "its label is no list, the first picture's is one"));
        else if (json_array_size(value[i]) != dim)
            FD_TRY(fd_fault(f, true, name, "its label has %zu numbers, the first picture's has %zu",
                            json_array_size(value[i]), dim));
        else
            for (size_t k = 0; k < dim; k++) {
                const json_t *v = json_array_get(value[i], k);
                if (!json_is_number(v)) {
                    FD_TRY(fd_fault(f, true, name, "number %zu of its label is not a number", k));
                    break;
                }
                out->vector[(size_t)i * dim + k] = (float)json_number_value(v);
            }
    }
    return FD_OK;
}

static void take_crop(const json_t *root, char out[FD_CROP_MAX]) {
    const char *crop = json_string_value(json_object_get(json_object_get(root, "fdistill"), "crop"));
    if (crop && fd_crop_valid(crop)) strcpy(out, crop);
}

static fd_status take_labels(fd_faults *f, const fd_source *s, const int64_t *image, int64_t n, const json_t *root,
                             fd_arena *arena, fd_labels *out) {
    const json_t *list = json_object_get(root, "labels");
    if (!json_is_object(root)) return fd_fault(f, true, JSON_NAME, "it is not a JSON object");
    if (!list) return fd_fault(f, true, JSON_NAME, "the key \"labels\" is missing");
    if (json_is_null(list)) return FD_OK;
    if (!json_is_array(list)) return fd_fault(f, true, JSON_NAME, "\"labels\" is neither null nor a list");
    const json_t **value;
    FD_NEW(f->ctx, arena, value, n);
    FD_TRY(match(f, s, image, n, list, value));
    const json_t *first = NULL;
    for (int64_t i = 0; i < n && !first; i++) first = value[i];
    if (!first) return fd_fault(f, true, JSON_NAME, "no picture has a label");
    if (json_is_array(first)) return take_vectors(f, s, image, n, value, json_array_size(first), arena, out);
    return take_classes(f, s, image, n, value, arena, out);
}

fd_status fd_labels_from_json(fd_faults *f, const fd_source *s, const int64_t *image, int64_t n, bool needed,
                              fd_arena *arena, fd_labels *out) {
    *out = (fd_labels){0};
    fd_arena scratch = {0};
    fd_bytes text;
    json_t *root = NULL;
    char what[300];
    snprintf(what, sizeof what, "%.250s: %s", s->path, JSON_NAME);
    /* Room for generous names and label vectors, but not for a small archive that inflates to gigabytes. */
    size_t limit = ((size_t)1 << 20) + (size_t)n * (64 << 10), memory;
    if (limit > (size_t)1 << 30) limit = (size_t)1 << 30;
    fd_ctx own = {0};                             /* a damaged file is a fault like others */
    fd_status status = fd_source_read(&own, s, s->json, &scratch, limit, &text);
    if (status == FD_OK) {
        memory = s->zip ? fd_zip_bytes(s->zip) : text.size;
        memory = FD_JSON_MEMORY + 2 * memory + 512 * (size_t)n;      /* a tree is two to ten times its text */
        status = fd_json_parse_within(&own, text, what, memory, &root);
    }
    fd_arena_free(&scratch);
    if (status == FD_E_NOMEM) return FD_FAIL(f->ctx, FD_E_NOMEM, "%s", own.message);
    if (status != FD_OK && !f->report) return FD_FAIL(f->ctx, status, "%s", own.message);
    if (status != FD_OK) status = fd_fault(f, true, JSON_NAME, "%s", own.message);
    else if (needed) status = take_labels(f, s, image, n, root, arena, out);
    take_crop(root, out->crop);
    json_decref(root);
    return status;
}

bool fd_crop_valid(const char *crop) {
    size_t n = strspn(crop, "abcdefghijklmnopqrstuvwxyz-, ");
    return !crop[n] && n < FD_CROP_MAX;
}

bool fd_source_has_labels(const fd_source *s) { return s->json >= 0 || (s->arrays && s->arrays->classes); }

fd_status fd_labels_from_source(fd_faults *f, const fd_source *s, const int64_t *image, int64_t n, bool needed, fd_arena *arena,
                                fd_labels *out) {
    if (!s->arrays) return fd_labels_from_json(f, s, image, n, needed, arena, out);
    *out = (fd_labels){.classes = true, .dim = s->arrays->classes};
    FD_NEW(f->ctx, arena, out->number, n);
    for (int64_t i = 0; i < n; i++) out->number[i] = s->arrays->label[s->file[image[i]].entry];
    return FD_OK;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

fd_status fd_labels_from_folders(fd_faults *f, const fd_source *s, const int64_t *image, int64_t n, fd_arena *arena,
                                 fd_labels *out) {
    *out = (fd_labels){.classes = true};
    FD_NEW(f->ctx, arena, out->number, n);
    char **folder = NULL, **sorted = NULL;
    int count = 0, capacity = 0;
    for (int64_t i = 0; i < n; i++) {             /* sorted by name, so a folder's pictures come one after another */
        const char *name = s->file[image[i]].name, *slash = strchr(name, '/');
        if (!slash)
            return fd_fault(f, true, name, "it is in no folder, so it has no class: labels from folder names need "
                            "one folder per class");
        size_t length = (size_t)(slash - name);
        if (!count || strlen(folder[count - 1]) != length || strncmp(name, folder[count - 1], length)) {
            if (count == CLASSES_MAX) return fd_fault(f, true, "", "more than %d folders", CLASSES_MAX);
            if (count == capacity) {
                char **more;
                capacity = capacity * 2 + 64;
                FD_NEW(f->ctx, arena, more, capacity);
                if (count) memcpy(more, folder, (size_t)count * sizeof *more);
                folder = more;
            }
            folder[count] = fd_arena_printf(f->ctx, arena, "%.*s", (int)length, name);
            if (!folder[count++]) return FD_E_NOMEM;
        }
        out->number[i] = count - 1;
    }
    /* "a-b/x" sorts before "a/x", but the folder "a" before "a-b". */
    FD_NEW(f->ctx, arena, sorted, count);
    if (count) memcpy(sorted, folder, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, by_text);
    for (int64_t i = 0; i < n; i++) {
        char **hit = bsearch(&folder[out->number[i]], sorted, (size_t)count, sizeof *sorted, by_text);
        out->number[i] = (int32_t)(hit - sorted);
    }
    out->dim = count;
    return FD_OK;
}
