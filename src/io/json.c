#include "io/json.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void take_allocator(void) { json_set_alloc_funcs(fd_bounded_alloc, fd_bounded_free); }

fd_status fd_json_parse(fd_ctx *ctx, fd_bytes text, const char *what, json_t **out) {
    return fd_json_parse_within(ctx, text, what, FD_JSON_MEMORY + text.size, out);
}

fd_status fd_json_parse_within(fd_ctx *ctx, fd_bytes text, const char *what, size_t memory, json_t **out) {
    json_error_t e;
    pthread_once(&once, take_allocator);
    fd_bounded_begin(memory);
    *out = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &e);
    if (fd_bounded_end() && !*out)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: %zu bytes of JSON that would take more than %zu MiB of memory: no file of this kind "
                       "holds so many values", what, text.size, memory >> 20);
    if (*out) return FD_OK;
    if (json_error_code(&e) == json_error_out_of_memory)
        return FD_FAIL(ctx, FD_E_NOMEM, "%s: out of memory while reading JSON of %zu bytes", what, text.size);
    return FD_FAIL(ctx, FD_E_FORMAT, "%s: line %d, column %d: not valid JSON: %s", what, e.line, e.column, e.text);
}

fd_status fd_json_load(fd_ctx *ctx, const char *path, json_t **out) {
    *out = NULL;
    fd_bytes file;
    FD_TRY(fd_file_map(ctx, path, &file));
    fd_status s;
    if (file.size > (512u << 20))
        s = FD_FAIL(ctx, FD_E_FORMAT, "%s: %zu bytes of JSON; at most 512 MiB are read", path, file.size);
    else
        s = fd_json_parse(ctx, file, path, out);
    fd_file_unmap(&file);
    return s;
}

/* Finds key. *value is NULL when it is absent (or null) and may be. */
static fd_status find(fd_ctx *ctx, const json_t *object, const char *key, const char *what, fd_json_need need,
                      const json_t **value) {
    *value = NULL;
    if (!json_is_object(object)) return FD_FAIL(ctx, FD_E_FORMAT, "%s: not a JSON object (looking for '%s')", what,
                                                key);
    const json_t *v = json_object_get(object, key);
    if (v && !json_is_null(v)) *value = v;
    else if (need == FD_REQUIRED) return FD_FAIL(ctx, FD_E_FORMAT, "%s: key '%s' is missing", what, key);
    return FD_OK;
}

static fd_status mistyped(fd_ctx *ctx, const char *what, const char *key, const char *wanted, const json_t *v) {
    static const char *const name[] = {"an object", "a list", "text", "an integer", "a number", "true", "false",
                                       "null"};
    return FD_FAIL(ctx, FD_E_FORMAT, "%s: key '%s' must be %s, is %s", what, key, wanted, name[json_typeof(v)]);
}

static fd_status out_of_range(fd_ctx *ctx, const char *what, const char *key, int64_t v, int64_t lo, int64_t hi) {
    return FD_FAIL(ctx, FD_E_FORMAT, "%s: key '%s' is %lld; allowed are %lld to %lld", what, key, (long long)v,
                   (long long)lo, (long long)hi);
}

fd_status fd_json_int(fd_ctx *ctx, const json_t *object, const char *key, const char *what, fd_json_need need,
                      int64_t lo, int64_t hi, int64_t *out) {
    const json_t *v;
    FD_TRY(find(ctx, object, key, what, need, &v));
    if (!v) return FD_OK;
    if (!json_is_integer(v)) return mistyped(ctx, what, key, "an integer", v);
    int64_t i = json_integer_value(v);
    if (i < lo || i > hi) return out_of_range(ctx, what, key, i, lo, hi);
    *out = i;
    return FD_OK;
}

fd_status fd_json_number(fd_ctx *ctx, const json_t *object, const char *key, const char *what, fd_json_need need,
                         double *out) {
    const json_t *v;
    FD_TRY(find(ctx, object, key, what, need, &v));
    if (!v) return FD_OK;
    if (!json_is_number(v)) return mistyped(ctx, what, key, "a number", v);
    *out = json_number_value(v);
    return FD_OK;
}

fd_status fd_json_bool(fd_ctx *ctx, const json_t *object, const char *key, const char *what, fd_json_need need,
                       bool *out) {
    const json_t *v;
    FD_TRY(find(ctx, object, key, what, need, &v));
    if (!v) return FD_OK;
    if (!json_is_boolean(v)) return mistyped(ctx, what, key, "true or false", v);
    *out = json_is_true(v);
    return FD_OK;
}

fd_status fd_json_text(fd_ctx *ctx, const json_t *object, const char *key, const char *what, fd_json_need need,
                       const char **out) {
    const json_t *v;
    FD_TRY(find(ctx, object, key, what, need, &v));
    if (!v) return FD_OK;
    if (!json_is_string(v)) return mistyped(ctx, what, key, "text", v);
    *out = json_string_value(v);
    return FD_OK;
}

fd_status fd_json_object(fd_ctx *ctx, const json_t *object, const char *key, const char *what, fd_json_need need,
                         json_t **out) {
    const json_t *v;
    FD_TRY(find(ctx, object, key, what, need, &v));
    if (!v) return FD_OK;
    if (!json_is_object(v)) return mistyped(ctx, what, key, "an object", v);
    *out = (json_t *)v;
    return FD_OK;
}

fd_status fd_json_array(fd_ctx *ctx, const json_t *object, const char *key, const char *what, fd_json_need need,
                        json_t **out) {
    const json_t *v;
    FD_TRY(find(ctx, object, key, what, need, &v));
    if (!v) return FD_OK;
    if (!json_is_array(v)) return mistyped(ctx, what, key, "a list", v);
    *out = (json_t *)v;
    return FD_OK;
}

fd_status fd_json_ints(fd_ctx *ctx, const json_t *object, const char *key, const char *what, fd_json_need need,
                       int64_t lo, int64_t hi, int most, int64_t *out, int *n) {
    json_t *list = NULL;
    FD_TRY(fd_json_array(ctx, object, key, what, need, &list));
    if (!list) return FD_OK;
    size_t count = json_array_size(list);
    if (count > (size_t)most)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: key '%s' lists %zu numbers; at most %d are allowed", what, key, count,
                       most);
    for (size_t i = 0; i < count; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_integer(v)) return mistyped(ctx, what, key, "a list of integers", v);
        out[i] = json_integer_value(v);
        if (out[i] < lo || out[i] > hi) return out_of_range(ctx, what, key, out[i], lo, hi);
    }
    *n = (int)count;
    return FD_OK;
}

json_t *fd_json_real(double v) { return isfinite(v) ? json_real(v) : json_null(); }

/* ---- writing */

typedef struct { fd_ctx *ctx; char *p; size_t n, capacity; int indent; bool failed; } sink;

static void put(sink *s, const char *text, size_t n) {
    if (s->failed) return;
    if (s->capacity - s->n < n) {
        size_t capacity = s->capacity * 2 > s->n + n ? s->capacity * 2 : s->n + n + 1024;
        char *p = fd_alloc(s->ctx, capacity);
        if (!p) {
            s->failed = true;
            return;
        }
        if (s->n) memcpy(p, s->p, s->n);
        fd_free(s->p);
        s->p = p;
        s->capacity = capacity;
    }
    memcpy(s->p + s->n, text, n);
    s->n += n;
}

static void puts_(sink *s, const char *text) { put(s, text, strlen(text)); }

static void put_text(sink *s, const char *text, size_t n) {
    put(s, "\"", 1);
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        put(s, text + from, i - from);
        from = i + 1;
        char escaped[8];
        if (c == '\n') strcpy(escaped, "\\n");
        else if (c == '\t') strcpy(escaped, "\\t");
        else if (c < 0x20) snprintf(escaped, sizeof escaped, "\\u%04x", c);
        else snprintf(escaped, sizeof escaped, "\\%c", c);
        puts_(s, escaped);
    }
    put(s, text + from, n - from);
    put(s, "\"", 1);
}

/* Fewest digits that read back exactly; always with '.' or 'e', so that a real number stays one. */
/* The fewest digits that give the same number back; 80.0, not 8e+01. */
static void put_real(sink *s, double v) {
    char t[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(t, sizeof t, "%.*g", digits, v);
        if (strtod(t, NULL) == v) break;
    }
    if (fabs(v) >= 1 && fabs(v) < 1e15 && strchr(t, 'e')) snprintf(t, sizeof t, "%.0f", v);    /* few digits of a whole number */
    if (!strpbrk(t, ".e")) strcat(t, ".0");
    puts_(s, t);
}

static void new_line(sink *s, int level) {
    if (!s->indent) return;
    put(s, "\n", 1);
    for (int i = 0; i < level * s->indent; i++) put(s, " ", 1);
}

static bool is_flat(const json_t *list) {      /* lists of plain values stay on one line */
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_is_object(json_array_get(list, i)) || json_is_array(json_array_get(list, i))) return false;
    return true;
}

static void put_value(sink *s, const json_t *v, int level) {
    switch (json_typeof(v)) {
    case JSON_OBJECT: {
        const char *key;
        json_t *item;
        bool first = true;
        put(s, "{", 1);
        json_object_foreach((json_t *)v, key, item) {
            if (!first) puts_(s, s->indent ? "," : ", ");
            first = false;
            new_line(s, level + 1);
            put_text(s, key, strlen(key));
            puts_(s, ": ");
            put_value(s, item, level + 1);
        }
        if (!first) new_line(s, level);
        put(s, "}", 1);
        break;
    }
    case JSON_ARRAY: {
        bool flat = is_flat(v);
        put(s, "[", 1);
        for (size_t i = 0; i < json_array_size(v); i++) {
            if (i) puts_(s, flat || !s->indent ? ", " : ",");
            if (!flat) new_line(s, level + 1);
            put_value(s, json_array_get(v, i), level + 1);
        }
        if (!flat) new_line(s, level);
        put(s, "]", 1);
        break;
    }
    case JSON_STRING: put_text(s, json_string_value(v), json_string_length(v)); break;
    case JSON_INTEGER: {
        char t[32];
        snprintf(t, sizeof t, "%lld", (long long)json_integer_value(v));
        puts_(s, t);
        break;
    }
    case JSON_REAL: put_real(s, json_real_value(v)); break;
    case JSON_TRUE: puts_(s, "true"); break;
    case JSON_FALSE: puts_(s, "false"); break;
    case JSON_NULL: puts_(s, "null"); break;
    }
}

char *fd_json_dump(fd_ctx *ctx, fd_arena *arena, const json_t *value, int indent) {
    sink s = {.ctx = ctx, .indent = indent};
    put_value(&s, value, 0);
    if (indent) put(&s, "\n", 1);
    put(&s, "", 1);
    char *text = s.failed ? NULL : fd_arena_alloc(ctx, arena, s.n);
    if (text) memcpy(text, s.p, s.n);
    fd_free(s.p);
    return text;
}

fd_status fd_json_save(fd_ctx *ctx, const char *path, const json_t *value) {
    fd_arena arena = {0};
    char *text = fd_json_dump(ctx, &arena, value, 2);
    fd_status s = text ? fd_file_write(ctx, path, text, strlen(text)) : FD_E_NOMEM;
    fd_arena_free(&arena);
    return s;
}
