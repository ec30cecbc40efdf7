/* Opening a file of weights: what it is, by its first bytes. */
#include "io/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "io/checkpoint_parts.h"
#include "io/npy.h"

#define NAMES_OF_A_PICKLE (FD_PK_DATA | FD_PK_TORCH | FD_PK_STORAGES | FD_PK_BLOBS | FD_PK_PERSISTENT)

/* ---- formats --------------------------------------------------------------------------------------------------- */

static fd_status open_legacy(fd_ctx *ctx, fd_checkpoint *c) {
    fd_pk *root;
    c->format = "torch file of the old kind";
    FD_TRY(fd_torch_legacy_read(ctx, &c->session, c->file, &root));
    c->root = root;
    return fd_checkpoint_walk(ctx, c);
}

static fd_status open_pickle(fd_ctx *ctx, fd_checkpoint *c) {
    static const fd_pk_host host = {.names = NAMES_OF_A_PICKLE};
    size_t used;
    fd_pk *root;
    c->format = "pickle";
    c->session.host = &host;
    FD_TRY(fd_pickle_run(ctx, &c->session, c->file, &used, &root));
    if (used != c->file.size)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: %zu bytes after the end of the pickle", c->path, c->file.size - used);
    if (c->session.source) c->format = "EDM network pickle";
    c->root = root;
    return fd_checkpoint_walk(ctx, c);
}

/* An array of an npz becomes what NumPy's pickles give. */
static fd_status take_npy(fd_ctx *ctx, fd_checkpoint *c, const char *name, size_t n, fd_npy *a) {
    fd_pk_array *p = fd_pk_alloc(ctx, &c->session, sizeof *p);
    char *path = fd_pk_alloc(ctx, &c->session, n + 1);
    if (!p || !path) return ctx->code;
    const char *type = fd_npy_dtype_name(a->dtype);
    memcpy(path, name, n);
    memcpy(p->type, type + 1, 2);
    p->rank = a->rank;
    memcpy(p->dim, a->dim, sizeof p->dim);
    p->count = a->count;
    p->data = (fd_bytes){a->data, (size_t)a->count * fd_npy_dtype_bytes(a->dtype)};
    p->done = true;
    c->array[c->narrays++] = (fd_ck_array){path, p};
    return FD_OK;
}

static fd_status open_npz(fd_ctx *ctx, fd_checkpoint *c) {
    int64_t n = fd_zip_count(c->zip);
    c->format = "npz archive";
    c->array = fd_pk_alloc(ctx, &c->session, fd_mul_size((size_t)n, sizeof *c->array));
    if (!c->array) return ctx->code;
    for (int64_t i = 0; i < n; i++) {
        const char *name = fd_zip_name(c->zip, i);
        size_t length = strlen(name);
        char stem[256];
        fd_npy a;
        if (length < 5 || length > sizeof stem || strcmp(name + length - 4, ".npy")) continue;
        memcpy(stem, name, length - 4);
        stem[length - 4] = 0;
        if ((c->expanded -= (int64_t)fd_zip_size(c->zip, i)) < 0)
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: its arrays expand to far more than the file's size: refused",
                           c->path);
        FD_TRY(fd_npz_read(ctx, c->zip, stem, &c->session.arena, &a));
        FD_TRY(take_npy(ctx, c, stem, length - 4, &a));
    }
    return FD_OK;
}

static fd_status open_zip(fd_ctx *ctx, fd_checkpoint *c) {
    fd_pk *root;
    FD_TRY(fd_zip_open_memory(ctx, c->file, c->path, &c->zip));
    bool npz = false;
    for (int64_t i = 0; i < fd_zip_count(c->zip); i++) {
        const char *name = fd_zip_name(c->zip, i), *end = strrchr(name, '.');
        npz |= end && !strcmp(end, ".npy");
    }
    if (npz && !fd_torch_zip_is(c->zip)) return open_npz(ctx, c);
    c->format = "torch zip archive";
    FD_TRY(fd_torch_zip_read(ctx, &c->session, c->zip, &c->script, &root));
    if (c->script) c->format = "TorchScript archive";
    c->root = root;
    return fd_checkpoint_walk(ctx, c);
}

static const char *torch_name(fd_st_dtype d) {
    static const char *const names[FD_ST_DTYPES] = {
        [FD_ST_F64] = "float64", [FD_ST_F32] = "float32", [FD_ST_F16] = "float16", [FD_ST_BF16] = "bfloat16",
        [FD_ST_I64] = "int64",   [FD_ST_I32] = "int32",   [FD_ST_I16] = "int16",   [FD_ST_I8] = "int8",
        [FD_ST_U64] = "uint64",  [FD_ST_U32] = "uint32",  [FD_ST_U16] = "uint16",  [FD_ST_U8] = "uint8",
        [FD_ST_BOOL] = "bool"};
    return names[d];
}

static fd_status open_safetensors(fd_ctx *ctx, fd_checkpoint *c) {
    c->format = "safetensors file";
    FD_TRY(fd_safetensors_parse(ctx, c->file, c->path, &c->st));
    FD_NEW(ctx, &c->session.arena, c->tree, 1);
    fd_ck_tree *t = c->tree;
    FD_NEW(ctx, &c->session.arena, t->tensor, c->st.n);
    c->n = 1;
    t->path = "";
    t->n = c->st.n;
    for (int i = 0; i < t->n; i++) {
        const fd_st_tensor *s = &c->st.tensor[i];
        t->tensor[i] = (fd_ck_tensor){.name = s->name, .dtype = torch_name(s->dtype), .st_dtype = (int)s->dtype,
                                      .rank = s->rank, .count = s->count, .data = s->data};
        memcpy(t->tensor[i].dim, s->dim, sizeof s->dim);
    }
    return FD_OK;
}

/* ---- what a file is -------------------------------------------------------------------------------------------- */

static bool begins(fd_bytes f, const char *text, size_t n) { return f.size >= n && memcmp(f.data, text, n) == 0; }

/* Files that are taken for weights now and then, by their first bytes. */
static fd_status refuse_known(fd_ctx *ctx, const fd_checkpoint *c) {
    static const struct { const char *head; uint8_t n; const char *what; } table[] = {
        {"version https://git-lfs", 23, "a Git LFS pointer; the file itself was not fetched: 'git lfs pull' does it"},
        {"<", 1, "a web page or XML, perhaps the answer of a server instead of the file; download it again"},
        {"GGUF", 4, "a GGUF file; export the network as a torch state dict or safetensors"},
        {"\x89HDF", 4, "an HDF5 file; export the network as a torch state dict or safetensors"},
        {"\x1f\x8b", 2, "compressed by gzip; unpack it first"},
        {"\x28\xb5\x2f\xfd", 4, "compressed by zstd; unpack it first"},
        {"BZh", 3, "compressed by bzip2; unpack it first"},
        {"\xfd" "7zXZ", 5, "compressed by xz; unpack it first"},
        {"\x89PNG", 4, "a picture"},
        {"\xff\xd8\xff", 3, "a picture"},
        {"\x93NUMPY", 6, "a NumPy array; weights are read from torch files, EDM pickles and safetensors"},
    };
    fd_bytes f = c->file;
    if (!f.size) return FD_FAIL(ctx, FD_E_FORMAT, "%s: is empty", c->path);
    for (size_t i = 0; i < FD_COUNT(table); i++)
        if (begins(f, table[i].head, table[i].n))
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: is %s", c->path, table[i].what);
    if (f.size > 262 && (!memcmp(f.data + 257, "ustar", 5) || begins(f, "sys_info", 8)))
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: is a tar archive, as torch before 0.1.10 wrote; unpack it, or save "
                       "it again with a newer torch", c->path);
    return FD_OK;
}

static bool is_safetensors(const fd_checkpoint *c) {
    size_t n = strlen(c->path);
    uint64_t length = 0;
    if (n > 12 && !strcmp(c->path + n - 12, ".safetensors")) return true;
    if (c->file.size < 10) return false;
    memcpy(&length, c->file.data, 8);
    return length <= c->file.size - 8 && c->file.data[8] == '{';
}

static fd_status read_file(fd_ctx *ctx, fd_checkpoint *c) {
    if (is_safetensors(c)) return open_safetensors(ctx, c);
    FD_TRY(refuse_known(ctx, c));
    if (begins(c->file, "PK\3\4", 4) || begins(c->file, "PK\5\6", 4)) return open_zip(ctx, c);
    return fd_torch_legacy_is(c->file) ? open_legacy(ctx, c) : open_pickle(ctx, c);
}

fd_status fd_checkpoint_parse(fd_ctx *ctx, fd_bytes file, const char *name, fd_checkpoint **out) {
    *out = NULL;
    fd_checkpoint *c = fd_alloc(ctx, sizeof *c);
    if (!c) return FD_E_NOMEM;
    c->file = file;
    fd_pk_session_init(&c->session, name, file.size);
    c->path = fd_arena_strdup(ctx, &c->session.arena, name);
    c->expanded = 2 * (int64_t)file.size + (16 << 20);
    fd_status s = c->path ? FD_OK : FD_E_NOMEM;
    if (s == FD_OK) {
        c->session.where = c->path;
        s = read_file(ctx, c);
    }
    c->source = c->session.source;
    if (s == FD_OK && !c->n && !c->narrays)
        s = FD_FAIL(ctx, FD_E_FORMAT, "%s: no tensors in its dicts and modules (%s)", name, c->format);
    if (s == FD_OK) *out = c;
    else fd_checkpoint_close(c);
    return s;
}

fd_status fd_checkpoint_open(fd_ctx *ctx, const char *path, fd_checkpoint **out) {
    *out = NULL;
    fd_bytes map;
    FD_TRY(fd_file_map(ctx, path, &map));
    fd_status s = fd_checkpoint_parse(ctx, map, path, out);
    if (s == FD_OK) (*out)->map = map;
    else fd_file_unmap(&map);
    return s;
}

void fd_checkpoint_close(fd_checkpoint *c) {
    if (!c) return;
    fd_zip_close(c->zip);
    fd_safetensors_close(&c->st);
    fd_pk_session_free(&c->session);
    fd_file_unmap(&c->map);
    fd_free(c);
}

/* ---- looking --------------------------------------------------------------------------------------------------- */

const fd_ck_tree *fd_checkpoint_tree(const fd_checkpoint *c, const char *path) {
    for (int i = 0; i < c->n; i++)
        if (!strcmp(c->tree[i].path, path)) return &c->tree[i];
    return NULL;
}

int fd_ck_find(const fd_ck_tree *t, const char *name) {
    for (int i = 0; i < t->n; i++)
        if (!strcmp(t->tensor[i].name, name)) return i;
    return -1;
}

fd_status fd_checkpoint_tensor(fd_ctx *ctx, const fd_checkpoint *c, const fd_ck_tensor *t, fd_arena *arena,
                               fd_st_tensor *out) {
    if (t->st_dtype < 0)
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: tensor '%.200s' is %s, which cannot be converted", c->path, t->name,
                       t->dtype);
    *out = (fd_st_tensor){.name = t->name, .dtype = (fd_st_dtype)t->st_dtype, .rank = t->rank, .data = t->data,
                          .count = t->count, .bytes = (size_t)t->count * fd_st_dtype_bytes((fd_st_dtype)t->st_dtype)};
    memcpy(out->dim, t->dim, sizeof t->dim);
    return t->view ? fd_tensor_elements(ctx, arena, t->view, &out->data) : FD_OK;
}

const fd_pk *fd_ck_attributes(const fd_ck_tree *t) {
    return t->object && t->object->kind == FD_PK_OBJECT ? t->object->object.state : NULL;
}
