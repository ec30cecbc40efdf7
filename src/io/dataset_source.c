/* dataset_source.c — lists and reads the files behind a set of pictures. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <omp.h>

#include "io/dataset_parts.h"

enum { DEEPEST = 32 };

typedef struct { fd_ctx *ctx; fd_source *s; int64_t capacity; } lister;

static bool is_hidden(const char *name) {
    for (const char *p = name; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (*p == '.' || !strncmp(p, "__MACOSX/", 9)) return true;
    }
    return false;
}

static fd_status add(lister *l, const char *name, const char *real, int64_t entry) {
    fd_source *s = l->s;
    if (is_hidden(name)) {
        s->hidden++;
        return FD_OK;
    }
    if (s->n == l->capacity) {
        fd_source_file *more;
        l->capacity = l->capacity * 2 + 256;
        FD_NEW(l->ctx, &s->arena, more, l->capacity);
        if (s->n) memcpy(more, s->file, (size_t)s->n * sizeof *more);
        s->file = more;
    }
    s->file[s->n++] = (fd_source_file){name, real, entry};
    return FD_OK;
}

static fd_status walk(lister *l, const char *folder, const char *prefix, int depth) {
    if (depth > DEEPEST)
        return FD_FAIL(l->ctx, FD_E_FORMAT, "%s: folders nested deeper than %d", folder, DEEPEST);
    DIR *d = opendir(folder);
    if (!d) return FD_FAIL(l->ctx, FD_E_IO, "%s: cannot read folder: %s", folder, strerror(errno));
    fd_status status = FD_OK;
    for (struct dirent *e; status == FD_OK && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        char *real = fd_arena_printf(l->ctx, &l->s->arena, "%s/%s", folder, e->d_name);
        char *name = fd_arena_printf(l->ctx, &l->s->arena, "%s%s%s", prefix, *prefix ? "/" : "", e->d_name);
        struct stat st;
        if (!real || !name) status = FD_E_NOMEM;
        else if (lstat(real, &st)) status = FD_FAIL(l->ctx, FD_E_IO, "%s: cannot read: %s", real, strerror(errno));
        else if (S_ISDIR(st.st_mode)) status = walk(l, real, name,
                                                    depth + 1);       /* links to folders are not followed */
        else if (S_ISREG(st.st_mode) || (stat(real, &st) == 0 && S_ISREG(st.st_mode))) status = add(l, name, real,
                                                                                                    -1);
    }
    closedir(d);
    return status;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const fd_source_file *)a)->name, ((const fd_source_file *)b)->name);
}

static int64_t find(const fd_source *s, const char *name) {
    fd_source_file key = {.name = name};
    const fd_source_file *hit = s->n ? bsearch(&key, s->file, (size_t)s->n, sizeof key, by_name) : NULL;
    return hit ? hit - s->file : -1;
}

/* Looks through a single folder around everything: if dataset.json is in it, or if it holds folders of pictures. */
static void strip_top_folder(fd_source *s) {
    s->json = find(s, "dataset.json");
    if (s->json >= 0 || !s->n) return;
    const char *slash = strchr(s->file[0].name, '/');
    if (!slash) return;
    size_t top = (size_t)(slash - s->file[0].name) + 1;
    bool deep = true;
    int64_t json = -1;
    for (int64_t i = 0; i < s->n; i++) {
        const char *name = s->file[i].name;
        if (strncmp(name, s->file[0].name, top)) return;
        if (!strcmp(name + top, "dataset.json")) json = i;
        else if (fd_image_name(name) && !strchr(name + top, '/')) deep = false;
    }
    if (json < 0 && !deep) return;
    for (int64_t i = 0; i < s->n; i++) s->file[i].name += top;       /* the order stays */
    s->json = json;
}

static fd_status list_arrays(lister *l, const char *path) {
    fd_source *s = l->s;
    FD_NEW(l->ctx, &s->arena, s->arrays, 1);
    FD_TRY(fd_array_set_open(l->ctx, path, s->arrays));
    for (int64_t i = 0; i < s->arrays->n; i++) {
        char *name = fd_arena_printf(l->ctx, &s->arena, "%05lld/img%08lld.png", (long long)(i / 1000), (long long)i);
        if (!name) return FD_E_NOMEM;
        FD_TRY(add(l, name, name, i));
    }
    return FD_OK;
}

fd_status fd_source_open(fd_ctx *ctx, const char *path, fd_source *out) {
    *out = (fd_source){.json = -1};
    lister l = {ctx, out, 0};
    fd_status s = (out->path = fd_arena_strdup(ctx, &out->arena, path)) ? FD_OK : FD_E_NOMEM;
    if (s == FD_OK && fd_array_set_is(path)) {
        s = list_arrays(&l, path);
    } else if (s == FD_OK && fd_is_folder(path)) {
        s = walk(&l, path, "", 0);
    } else if (s == FD_OK) {
        s = fd_zip_open(ctx, path, &out->zip);
        for (int64_t i = 0; s == FD_OK && i < fd_zip_count(out->zip); i++) {
            const char *name = fd_zip_name(out->zip, i);
            if (name[strlen(name) - 1] != '/') s = add(&l, name, name, i);
        }
    }
    if (s == FD_OK) {
        if (out->n) qsort(out->file, (size_t)out->n, sizeof *out->file, by_name);
        strip_top_folder(out);
    } else {
        fd_source_close(out);
    }
    return s;
}

void fd_source_close(fd_source *s) {
    fd_zip_close(s->zip);
    if (s->arrays) fd_array_set_close(s->arrays);
    fd_arena_free(&s->arena);
    *s = (fd_source){.json = -1};
}

fd_status fd_source_read(fd_ctx *ctx, const fd_source *s, int64_t file, fd_arena *arena, size_t limit,
                         fd_bytes *out) {
    if (s->zip) return fd_zip_read(ctx, s->zip, s->file[file].entry, arena, limit, out);
    fd_bytes map;
    *out = (fd_bytes){0};
    FD_TRY(fd_file_map(ctx, s->file[file].real, &map));
    fd_status status = FD_OK;
    uint8_t *p = NULL;
    if (map.size > limit)
        status = FD_FAIL(ctx, FD_E_FORMAT, "%s: has %zu bytes; at most %zu are expected here", s->file[file].real,
                         map.size, limit);
    else if (!(p = fd_arena_alloc(ctx, arena, map.size))) status = FD_E_NOMEM;
    else *out = (fd_bytes){memcpy(p, map.data, map.size), map.size};
    fd_file_unmap(&map);
    return status;
}

void fd_source_decode(const fd_source *s, const int64_t *file, int n, int threads, int w, int h, int c,
                      fd_image *image, fd_ctx *result) {
    if (threads < 1) threads = omp_get_max_threads();
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (n > 1)
    for (int i = 0; i < n; i++) {
        fd_arena arena = {0};
        fd_bytes bytes;
        char name[512];
        fd_clear(&result[i]);
        image[i] = (fd_image){0};
        snprintf(name, sizeof name, s->zip ? "%.200s: '%.200s'" : "%.200s/%.200s", s->path, s->file[file[i]].name);
        if (s->arrays)
            fd_array_set_image(&result[i], s->arrays, s->file[file[i]].entry, &image[i]);
        else if (fd_source_read(&result[i], s, file[i], &arena, FD_IMAGE_FILE_MAX, &bytes) == FD_OK)
            fd_image_decode(&result[i], bytes, name, &image[i]);
        if (image[i].p && w && (image[i].w != w || image[i].h != h || image[i].c != c)) {
            fd_free(image[i].p);
            image[i].p = NULL;
        }
        fd_arena_free(&arena);
    }
}

fd_status fd_source_images(fd_ctx *ctx, const fd_source *s, fd_arena *arena, int64_t **image, int64_t *n) {
    FD_NEW(ctx, arena, *image, s->n);
    *n = 0;
    for (int64_t i = 0; i < s->n; i++)
        if (fd_image_name(s->file[i].name)) (*image)[(*n)++] = i;
    return FD_OK;
}
