/* safetensors.h — named tensors in one file: 8-byte little-endian header length, JSON header, data.
 *
 * Reading maps the file; nothing is copied before a tensor is asked for. The file is hostile until proven otherwise:
 * header length, every dtype, shape product and offset are checked at open, and the tensors must tile the data
 * section without holes or overlaps. Source: the format description of huggingface/safetensors.
 */
#ifndef FD_IO_SAFETENSORS_H
#define FD_IO_SAFETENSORS_H

#include "base/file.h"

#define FD_ST_MAX_RANK 8

typedef enum {
    FD_ST_F64, FD_ST_F32, FD_ST_F16, FD_ST_BF16, FD_ST_I64, FD_ST_I32, FD_ST_I16, FD_ST_I8, FD_ST_U64, FD_ST_U32,
    FD_ST_U16, FD_ST_U8, FD_ST_BOOL, FD_ST_DTYPES
} fd_st_dtype;
const char *fd_st_dtype_name(fd_st_dtype d);      /* "F32" */
size_t fd_st_dtype_bytes(fd_st_dtype d);

typedef struct fd_st_tensor {
    const char *name;
    fd_st_dtype dtype;
    int rank;
    int64_t dim[FD_ST_MAX_RANK];
    const void *data;             /* row-major, little-endian; from a foreign file possibly unaligned for its type */
    int64_t count;                /* elements; the writer computes it itself */
    size_t bytes;                 /* likewise */
} fd_st_tensor;

typedef struct { const char *key, *value; } fd_st_meta;

typedef struct fd_safetensors {
    const char *path;             /* for messages */
    const fd_st_tensor *tensor;   /* in the order of the header */
    const fd_st_tensor **by_name; /* sorted; what fd_safetensors_find searches */
    int n;
    const fd_st_meta *meta;       /* __metadata__ */
    int nmeta;
    fd_bytes map;                 /* size 0 when the memory is the caller's */
    fd_arena arena;
} fd_safetensors;

/* Owner: the caller, until fd_safetensors_close; tensor data and names live as long. On failure *out is closed. */
fd_status fd_safetensors_open(fd_ctx *ctx, const char *path, fd_safetensors *out);
/* The same from memory that the caller keeps. */
fd_status fd_safetensors_parse(fd_ctx *ctx, fd_bytes file, const char *name, fd_safetensors *out);
void fd_safetensors_close(fd_safetensors *s);                                /* safe on {0} */

const fd_st_tensor *fd_safetensors_find(const fd_safetensors *s, const char *name);        /* NULL: not there */
const char *fd_safetensors_meta(const fd_safetensors *s, const char *key);                 /* NULL: not there */

/* Converts a tensor of any dtype. rank, dim: the shape expected, or rank -1 for any (see ->count for the size of
 * out). SHAPE if it differs, ARG if absent; the message names file and tensor. Integers beyond 2^24 (2^53) are
 * rounded. */
fd_status fd_safetensors_read_f32(fd_ctx *ctx, const fd_safetensors *s, const char *name, int rank,
                                  const int64_t *dim, float *out);
fd_status fd_safetensors_read_f64(fd_ctx *ctx, const fd_safetensors *s, const char *name, int rank,
                                  const int64_t *dim, double *out);
/* Integer dtypes only (and BOOL). */
fd_status fd_safetensors_read_i64(fd_ctx *ctx, const fd_safetensors *s, const char *name, int rank,
                                  const int64_t *dim, int64_t *out);
/* Elements of any little-endian buffer to float; the conversion of the three functions above. */
void fd_st_to_f32(fd_st_dtype dtype, const void *data, int64_t count, float *out);

/* Writes atomically: tensors in the order given, the data section starting at a multiple of 64 bytes, so equal input
 * gives equal bytes. Tensors of odd sizes should come last if alignment of the others matters. */
fd_status fd_safetensors_write(fd_ctx *ctx, const char *path, const fd_st_tensor *tensor, int n,
                               const fd_st_meta *meta, int nmeta);
/* SHA-256 over name, dtype, shape and data of all tensors, sorted by name: does not depend on their order, the
 * metadata or padding. Identifies a network. NOMEM is possible. */
fd_status fd_safetensors_digest(fd_ctx *ctx, const fd_st_tensor *tensor, int n, char out[65]);

#endif
