#include "io/array_set.h"

#include <string.h>

#include "io/pickle.h"
#include "io/tar.h"

#define UNPACKED_FREE ((size_t)48 << 20)       /* beyond it, twice the file's size */

enum { CIFAR_SIDE = 32, CIFAR_BYTES = 3 * CIFAR_SIDE * CIFAR_SIDE, FILES_MAX = 8, PICTURES_MAX = 1 << 27 };

typedef struct {
    const char *name;             /* for people */
    const char *file[7];          /* base names; those of the training part first */
    int train;                    /* how many of them that is */
    const char *labels;           /* key in the pickles; NULL: the binary version */
    int record_head, record_label;     /* binary: bytes before the pixels, and which of them is the class */
    int classes;
} cifar_kind;

static const cifar_kind kinds[] = {
    {"CIFAR-10 for Python", {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"}, 5,
     "labels", 0, 0, 10},
    {"CIFAR-10, binary version", {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                                  "data_batch_5.bin", "test_batch.bin"}, 5, NULL, 1, 0, 10},
    {"CIFAR-100 for Python", {"train", "test"}, 1, "fine_labels", 0, 0, 100},
    {"CIFAR-100, binary version", {"train.bin", "test.bin"}, 1, NULL, 2, 1, 100},
};

typedef struct { char name[101]; fd_bytes data; } member;

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Number of the file within its kind, -1: no such name. */
static int find_kind(const char *name, const cifar_kind **kind) {
    for (size_t k = 0; k < FD_COUNT(kinds); k++)
        for (int i = 0; kinds[k].file[i]; i++)
            if (!strcmp(kinds[k].file[i], name)) {
                *kind = &kinds[k];
                return i;
            }
    return -1;
}

static fd_status map_file(fd_ctx *ctx, fd_array_set *s, const char *path, fd_bytes *out) {
    if (!s->map) FD_NEW(ctx, &s->arena, s->map, FILES_MAX);
    FD_TRY(fd_file_map(ctx, path, out));
    s->map[s->maps++] = *out;
    return FD_OK;
}

/* Maps the file and looks through gzip. */
static fd_status read_file(fd_ctx *ctx, fd_array_set *s, const char *path, fd_bytes *out) {
    FD_TRY(map_file(ctx, s, path, out));
    return fd_is_gzip(*out) ? fd_gunzip(ctx, path, *out, UNPACKED_FREE + 2 * out->size, &s->arena, out) : FD_OK;
}

static fd_status make_room(fd_ctx *ctx, fd_array_set *s, const char *where, int64_t more) {
    if (more < 0 || s->n + more > PICTURES_MAX)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: more than %d pictures", where, PICTURES_MAX);
    const uint8_t **planes;
    int32_t *label;
    FD_NEW(ctx, &s->arena, planes, s->n + more);
    FD_NEW(ctx, &s->arena, label, s->n + more);
    if (s->n) {
        memcpy(planes, s->planes, (size_t)s->n * sizeof *planes);
        memcpy(label, s->label, (size_t)s->n * sizeof *label);
    }
    s->planes = planes;
    s->label = label;
    return FD_OK;
}

static fd_status add(fd_ctx *ctx, fd_array_set *s, const char *where, const uint8_t *planes, int64_t label) {
    if (s->classes && (label < 0 || label >= s->classes))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: picture %lld has the label %lld; 0 to %d are possible", where, (long long)s->n,
                       (long long)label, s->classes - 1);
    s->planes[s->n] = planes;
    s->label[s->n++] = (int32_t)label;
    return FD_OK;
}

/* ---- CIFAR ----------------------------------------------------------------------------------------------------- */

static fd_status add_binary(fd_ctx *ctx, fd_array_set *s, const cifar_kind *k, const char *where, fd_bytes data) {
    size_t record = (size_t)k->record_head + CIFAR_BYTES;
    if (!data.size || data.size % record)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: %zu bytes are no whole number of %s's records of %zu; get it again", where,
                       data.size, k->name, record);
    FD_TRY(make_room(ctx, s, where, (int64_t)(data.size / record)));
    for (const uint8_t *p = data.data; p < data.data + data.size; p += record)
        FD_TRY(add(ctx, s, where, p + k->record_head, p[k->record_label]));
    return FD_OK;
}

static bool inside(fd_bytes file, fd_bytes part) {
    return (uintptr_t)part.data >= (uintptr_t)file.data && (uintptr_t)part.data < (uintptr_t)file.data + file.size;
}

static fd_status add_batch(fd_ctx *ctx, fd_array_set *s, const cifar_kind *k, const char *where, fd_bytes file, const fd_pk *root) {
    const fd_pk *pixels = fd_pk_get(root, "data"), *labels = fd_pk_get(root, k->labels);
    const fd_pk_array *a = fd_pk_is(pixels, FD_PK_ARRAY) ? pixels->array : NULL;
    if (!a || !fd_pk_is(labels, FD_PK_LIST))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: no array 'data' and list '%s' in it: not a batch of %s", where, k->labels, k->name);
    if (!a->done || strcmp(a->type, "u1") || a->rank != 2 || a->fortran || a->dim[1] != CIFAR_BYTES ||
        a->dim[0] != (int64_t)labels->n)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: 'data' is not uint8 [%u][%d], one row for each label", where, labels->n,
                       CIFAR_BYTES);
    FD_TRY(make_room(ctx, s, where, a->dim[0]));
    const uint8_t *pixels_of = a->data.data;
    if (!inside(file, a->data)) {                /* Python 3 wrote it as protocol 2: as a text that was decoded */
        uint8_t *copy = fd_arena_alloc(ctx, &s->arena, a->data.size);
        if (!copy) return FD_E_NOMEM;
        pixels_of = memcpy(copy, a->data.data, a->data.size);
    }
    for (int64_t i = 0; i < a->dim[0]; i++) {
        int64_t label;
        if (!fd_pk_int(labels->item[i], &label))
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: label %lld is %s", where, (long long)i, fd_pk_kind_name(labels->item[i]));
        FD_TRY(add(ctx, s, where, pixels_of + i * CIFAR_BYTES, label));
    }
    return FD_OK;
}

static fd_status add_pickle(fd_ctx *ctx, fd_array_set *s, const cifar_kind *k, const char *where, fd_bytes data) {
    static const fd_pk_host host = {.names = FD_PK_DATA};
    fd_pk_session session;
    size_t used;
    fd_pk *root;
    fd_pk_session_init(&session, where, data.size);
    session.host = &host;
    fd_status status = fd_pickle_run(ctx, &session, data, &used, &root);
    if (status == FD_OK) status = add_batch(ctx, s, k, where, data, root);
    fd_pk_session_free(&session);                /* pixels stay: they lie in the file or in the set's arena */
    return status;
}

static fd_status add_member(fd_ctx *ctx, fd_array_set *s, const cifar_kind *k, const char *path, const member *m) {
    char where[4300];
    snprintf(where, sizeof where, "%.4096s: %.100s", path, m->name);
    s->classes = k->classes;
    s->c = 3;
    s->h = s->w = CIFAR_SIDE;
    return k->labels ? add_pickle(ctx, s, k, where, m->data) : add_binary(ctx, s, k, where, m->data);
}

/* The training part of what was found. */
static fd_status add_training_part(fd_ctx *ctx, fd_array_set *s, const char *path, const member *m, int n) {
    const cifar_kind *kind = NULL;
    const member *part[FD_COUNT(kinds[0].file)] = {0};
    for (int i = 0; i < n; i++) {
        const cifar_kind *k = NULL;
        int at = find_kind(m[i].name, &k);
        if (kind && k != kind)
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: files of %s and of %s in one place", path, kind->name, k->name);
        if (part[at]) return FD_FAIL(ctx, FD_E_FORMAT, "%s: %s is there twice", path, m[i].name);
        kind = k;
        part[at] = &m[i];
    }
    if (!kind)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: an archive without files of CIFAR-10 or CIFAR-100; others must be unpacked to "
                       "pictures first", path);
    for (int i = 0; i < kind->train; i++)
        if (!part[i])
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: looks like %s, but %s is missing; get it again", path, kind->name, kind->file[i]);
    for (int i = 0; i < kind->train; i++) FD_TRY(add_member(ctx, s, kind, path, part[i]));
    return FD_OK;
}

static fd_status open_tar(fd_ctx *ctx, fd_array_set *s, const char *path, fd_bytes tar) {
    member found[FILES_MAX];
    int n = 0;
    size_t at = 0;
    for (;;) {
        fd_tar_member m;
        const cifar_kind *k;
        bool end;
        FD_TRY(fd_tar_next(ctx, path, tar, &at, &m, &end));
        if (end) return add_training_part(ctx, s, path, found, n);
        if (find_kind(base_name(m.name), &k) < 0) continue;
        if (n == FILES_MAX) return FD_FAIL(ctx, FD_E_FORMAT, "%s: too many batches in one archive", path);
        snprintf(found[n].name, sizeof found[n].name, "%s", base_name(m.name));
        found[n++].data = m.data;
    }
}

static fd_status open_folder(fd_ctx *ctx, fd_array_set *s, const char *path) {
    member found[FILES_MAX];
    int n = 0;
    for (size_t k = 0; k < FD_COUNT(kinds); k++)
        for (int i = 0; i < kinds[k].train; i++) {
            char name[4200];
            snprintf(name, sizeof name, "%.4000s/%s", path, kinds[k].file[i]);
            if (!fd_file_exists(name) || fd_is_folder(name)) continue;
            if (n == FILES_MAX) return FD_FAIL(ctx, FD_E_FORMAT, "%s: files of several sets in one folder", path);
            FD_TRY(map_file(ctx, s, name, &found[n].data));
            snprintf(found[n++].name, sizeof found[0].name, "%s", kinds[k].file[i]);
        }
    return add_training_part(ctx, s, path, found, n);
}

/* ---- MNIST ----------------------------------------------------------------------------------------------------- */

static uint32_t be32(const uint8_t *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }

static bool is_idx(fd_bytes b) { return b.size >= 4 && !b.data[0] && !b.data[1] && b.data[2] == 8 && (b.data[3] == 3 || b.data[3] == 1); }

static bool replace(char *text, size_t size, const char *from, const char *to) {
    char *p = strstr(text, from), rest[4096];
    if (!p) return false;
    snprintf(rest, sizeof rest, "%s", p + strlen(from));
    snprintf(p, size - (size_t)(p - text), "%s%s", to, rest);
    return true;
}

/* train-images-idx3-ubyte.gz: train-labels-idx1-ubyte.gz. */
static bool labels_name(const char *path, char *out, size_t size) {
    snprintf(out, size, "%s", path);
    char *name = out + (base_name(path) - path);
    size_t room = size - (size_t)(name - out);
    return replace(name, room, "images", "labels") && replace(name, room, "idx3", "idx1") && fd_file_exists(out);
}

/* dim [3]: of the first `rank` dimensions, 1 for the rest. */
static fd_status read_idx(fd_ctx *ctx, const char *path, fd_bytes b, int rank, uint32_t dim[3]) {
    dim[0] = dim[1] = dim[2] = 1;
    size_t head = 4 + 4 * (size_t)rank, bytes = 1;
    if (!is_idx(b) || b.data[3] != rank || b.size < head)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: not an idx file of bytes with %d dimension%s", path, rank, rank > 1 ? "s" : "");
    for (int i = 0; i < rank; i++) bytes = fd_mul_size(bytes, dim[i] = be32(b.data + 4 + 4 * i));
    if (bytes != b.size - head)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: announces %zu bytes and has %zu: it is damaged or cut off; get it again", path,
                       bytes, b.size - head);
    return FD_OK;
}

static fd_status open_idx(fd_ctx *ctx, fd_array_set *s, const char *path, fd_bytes images) {
    uint32_t dim[3], count[3];
    char other[4096];
    fd_bytes labels = {0};
    FD_TRY(read_idx(ctx, path, images, 3, dim));
    if (dim[0] < 1 || dim[1] < 1 || dim[2] < 1 || dim[1] > FD_IMAGE_MAX_SIDE || dim[2] > FD_IMAGE_MAX_SIDE)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: %u pictures of %u x %u pixels", path, dim[0], dim[2], dim[1]);
    bool labelled = labels_name(path, other, sizeof other);
    if (labelled) {
        FD_TRY(read_file(ctx, s, other, &labels));
        FD_TRY(read_idx(ctx, other, labels, 1, count));
        if (count[0] != dim[0])
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: %u labels for the %u pictures of %s", other, count[0], dim[0], path);
        for (uint32_t i = 0; i < count[0]; i++)
            if (labels.data[8 + i] >= s->classes) s->classes = labels.data[8 + i] + 1;
    }
    s->margin = dim[1] == 28 && dim[2] == 28 ? 2 : 0;
    s->c = 1;
    s->h = (int)dim[1] + 2 * s->margin;
    s->w = (int)dim[2] + 2 * s->margin;
    FD_TRY(make_room(ctx, s, path, dim[0]));
    for (uint32_t i = 0; i < dim[0]; i++)
        FD_TRY(add(ctx, s, path, images.data + 16 + (size_t)i * dim[1] * dim[2], labelled ? labels.data[8 + i] : -1));
    return FD_OK;
}

/* ---- all ------------------------------------------------------------------------------------------------------- */

static bool has_file(const char *folder, const char *name) {
    char path[4200];
    snprintf(path, sizeof path, "%.4000s/%s", folder, name);
    return fd_file_exists(path) && !fd_is_folder(path);
}

bool fd_array_set_is(const char *path) {
    const cifar_kind *k;
    if (fd_is_folder(path)) {
        for (size_t i = 0; i < FD_COUNT(kinds); i++)      /* a file called "train" alone may be anything */
            if (has_file(path, kinds[i].file[0]) && (kinds[i].train > 1 || has_file(path, kinds[i].file[1]))) return true;
        return false;
    }
    uint8_t start[512];
    FILE *f = fopen(path, "rb");
    if (!f) return false;
    size_t n = fread(start, 1, sizeof start, f);
    fclose(f);
    fd_bytes b = {start, n};
    return n >= 4 && memcmp(start, "PK", 2) && (find_kind(base_name(path), &k) >= 0 || fd_is_gzip(b) || fd_is_tar(b) || is_idx(b));
}

static fd_status open_one(fd_ctx *ctx, fd_array_set *s, const char *path) {
    const cifar_kind *k;
    fd_bytes b;
    if (fd_is_folder(path)) return open_folder(ctx, s, path);
    FD_TRY(read_file(ctx, s, path, &b));
    if (fd_is_tar(b)) return open_tar(ctx, s, path, b);
    if (is_idx(b)) return open_idx(ctx, s, path, b);
    if (find_kind(base_name(path), &k) >= 0) {
        member m = {.data = b};
        snprintf(m.name, sizeof m.name, "%s", base_name(path));
        return add_member(ctx, s, k, path, &m);
    }
    return FD_FAIL(ctx, FD_E_FORMAT, "%s: holds neither an archive of CIFAR nor an idx file of MNIST", path);
}

fd_status fd_array_set_open(fd_ctx *ctx, const char *path, fd_array_set *out) {
    *out = (fd_array_set){0};
    if (strlen(path) >= 4000) return FD_FAIL(ctx, FD_E_ARG, "%.60s…: the path is too long", path);
    fd_status s = open_one(ctx, out, path);
    if (s != FD_OK) fd_array_set_close(out);
    return s;
}

void fd_array_set_close(fd_array_set *s) {
    for (int i = 0; i < s->maps; i++) fd_file_unmap(&s->map[i]);
    fd_arena_free(&s->arena);
    *s = (fd_array_set){0};
}

fd_status fd_array_set_image(fd_ctx *ctx, const fd_array_set *s, int64_t i, fd_image *out) {
    int h = s->h - 2 * s->margin, w = s->w - 2 * s->margin;
    *out = (fd_image){.w = s->w, .h = s->h, .c = s->c};
    out->p = fd_alloc(ctx, (size_t)s->c * (size_t)s->h * (size_t)s->w);
    if (!out->p) return FD_E_NOMEM;
    const uint8_t *p = s->planes[i];
    for (int c = 0; c < s->c; c++)
        for (int y = 0; y < h; y++) {
            uint8_t *q = out->p + ((size_t)(y + s->margin) * (size_t)s->w + (size_t)s->margin) * (size_t)s->c + (size_t)c;
            for (int x = 0; x < w; x++) q[x * s->c] = *p++;
        }
    return FD_OK;
}
