/* npy.h — NumPy arrays: .npy files (format versions 1 to 3) and .npz archives of them. Nothing pickled is ever read.
 */
#ifndef FD_IO_NPY_H
#define FD_IO_NPY_H

#include "base/file.h"
#include "io/zipfile.h"

#define FD_NPY_MAX_RANK 8

typedef enum {
    FD_NPY_F8, FD_NPY_F4, FD_NPY_F2, FD_NPY_I8, FD_NPY_I4, FD_NPY_I2, FD_NPY_I1, FD_NPY_U8, FD_NPY_U4, FD_NPY_U2,
    FD_NPY_U1, FD_NPY_B1, FD_NPY_DTYPES
} fd_npy_dtype;                   /* digits are bytes per element, as NumPy writes them */
size_t fd_npy_dtype_bytes(fd_npy_dtype d);
const char *fd_npy_dtype_name(fd_npy_dtype d);        /* "<f8", "|u1" */

typedef struct fd_npy {
    fd_npy_dtype dtype;
    int rank;
    int64_t dim[FD_NPY_MAX_RANK];
    int64_t count;                /* elements; the writer computes it itself */
    const void *data;             /* C order, this machine's byte order; 64-byte aligned when read */
} fd_npy;

/* Reads an array into the arena. Fortran order is transposed, big-endian swapped. FORMAT for other dtypes (objects,
 * structures, text), headers that do not parse, or data that is shorter or longer than the shape says. */
fd_status fd_npy_parse(fd_ctx *ctx, fd_arena *arena, fd_bytes file, const char *name, fd_npy *out);
fd_status fd_npy_load(fd_ctx *ctx, fd_arena *arena, const char *path, fd_npy *out);
fd_status fd_npy_save(fd_ctx *ctx, const char *path, const fd_npy *array);       /* version 1.0, atomic */

/* An .npz is a zip of NAME.npy entries: open it with fd_zip_open. */
bool fd_npz_has(const fd_zip *z, const char *name);
fd_status fd_npz_read(fd_ctx *ctx, fd_zip *z, const char *name, fd_arena *arena, fd_npy *out);
typedef struct { const char *name; fd_npy array; } fd_npz_entry;
fd_status fd_npz_write(fd_ctx *ctx, const char *path, const fd_npz_entry *entry, int n);      /* stored, atomic */

/* The elements as doubles, in the arena (or the array itself when it is FD_NPY_F8). NULL and NOMEM on failure. */
const double *fd_npy_doubles(fd_ctx *ctx, fd_arena *arena, const fd_npy *array);

#endif
