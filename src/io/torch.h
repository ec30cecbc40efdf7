/* torch.h — tensors as torch saves them: storages, views of them, and the containers around them.
 */
#ifndef FD_IO_TORCH_H
#define FD_IO_TORCH_H

#include "io/pickle.h"
#include "io/safetensors.h"
#include "io/zipfile.h"

/* An element type. */
typedef struct fd_torch_type {
    const char *storage;          /* "FloatStorage"; NULL: only untyped storages hold it */
    const char *name;             /* "float32" */
    int bytes;
    int dtype;                    /* fd_st_dtype, or -1: known, but cannot be converted */
} fd_torch_type;

typedef struct fd_storage {
    const fd_torch_type *type;    /* name "" for an untyped storage, which counts bytes */
    int64_t count;                /* elements */
    const uint8_t *data;          /* count * type->bytes bytes; NULL until the container has been read on */
    bool swapped;                 /* big-endian */
    fd_bytes key;
} fd_storage;

/* A view: element (i0, i1 …) lies at offset + sum(i * stride), all counted in elements and inside the storage. */
typedef struct fd_tensor {
    const fd_storage *storage;
    const fd_torch_type *type;
    int rank;
    int64_t dim[FD_ST_MAX_RANK], stride[FD_ST_MAX_RANK], offset, count;
} fd_tensor;

/* The elements in row-major order and little-endian: in place when they lie so, else a copy in the arena. */
fd_status fd_tensor_elements(fd_ctx *ctx, fd_arena *arena, const fd_tensor *t, const void **out);

/* The persistent id ('storage', class, key, location, count[, view]) that torch writes. FORMAT otherwise. */
fd_status fd_torch_storage_id(fd_ctx *ctx, fd_pk_session *s, const fd_pk *id, int items, fd_storage **out,
                              fd_pk **value);

/* A zip container (torch.save since 1.6, TorchScript): runs ROOT/data.pkl. Storages are records of the archive, whose
 * size and CRC are checked; an archive with CRC 0 everywhere was written with checksums switched off and passes. */
fd_status fd_torch_zip_read(fd_ctx *ctx, fd_pk_session *s, fd_zip *zip, bool *script, fd_pk **out);
/* Does the archive have a ROOT/data.pkl? */
bool fd_torch_zip_is(const fd_zip *zip);

/* The container before that: five pickles, then the storages. */
bool fd_torch_legacy_is(fd_bytes file);
fd_status fd_torch_legacy_read(fd_ctx *ctx, fd_pk_session *s, fd_bytes file, fd_pk **out);

/* Writes a state dict that torch.load reads: a zip container of float32 (or other) tensors. Atomic. */
fd_status fd_torch_save(fd_ctx *ctx, const char *path, const fd_st_tensor *tensor, int n);

#endif
