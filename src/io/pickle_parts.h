/* pickle_parts.h — what the files of the pickle reader share; internal to src/io. */
#ifndef FD_IO_PICKLE_PARTS_H
#define FD_IO_PICKLE_PARTS_H

#include "io/pickle.h"

/* Limits of a session, whatever the file. A checkpoint of 300 M parameters in 1,500 modules needs a tenth of each. */
enum {
    FD_PK_MAX_DEPTH = 200,        /* values within values */
    FD_PK_MAX_MARKS = 1000,       /* open at a time */
    FD_PK_MAX_STACK = 1 << 20,    /* values */
    FD_PK_MAX_MEMO = 1 << 20,     /* slots */
    FD_PK_MAX_OPCODES = 8 << 20,
    FD_PK_MAX_MEMORY = 40 << 20   /* bytes of values, stack and memo */
};

/* A constructor of the list: builds a value from the arguments (a TUPLE). */
typedef struct fd_pk_name {
    const char *module, *name;
    unsigned group;
    fd_status (*call)(fd_ctx *ctx, fd_pk_session *s, const struct fd_pk_name *name, const fd_pk *args, fd_pk **out);
    int id;                       /* means something to `call` */
} fd_pk_name;

/* The entry of an allowed name. UNSUPPORTED with the name if it is not in the list or not allowed by the host. */
fd_status fd_pk_find_name(fd_ctx *ctx, fd_pk_session *s, fd_bytes module, fd_bytes name, const fd_pk_name **out);
/* REDUCE, NEWOBJ and BUILD. */
fd_status fd_pk_call(fd_ctx *ctx, fd_pk_session *s, const fd_pk *what, const fd_pk *args, fd_pk **out);
fd_status fd_pk_new_object(fd_ctx *ctx, fd_pk_session *s, const fd_pk *cls, const fd_pk *args, fd_pk **out);
fd_status fd_pk_build(fd_ctx *ctx, fd_pk_session *s, fd_pk *object, const fd_pk *state);

/* Values. All spend from the session; NOMEM or FORMAT when it is used up. */
void *fd_pk_alloc(fd_ctx *ctx, fd_pk_session *s, size_t bytes);       /* zeroed; NULL on failure */
fd_status fd_pk_new(fd_ctx *ctx, fd_pk_session *s, fd_pk_kind kind, fd_pk **out);
fd_status fd_pk_new_text(fd_ctx *ctx, fd_pk_session *s, fd_pk_kind kind, const void *p, size_t n, fd_pk **out);
fd_status fd_pk_new_items(fd_ctx *ctx, fd_pk_session *s, fd_pk_kind kind, fd_pk *const *item, uint32_t n,
                          fd_pk **out);
fd_status fd_pk_append(fd_ctx *ctx, fd_pk_session *s, fd_pk *list, fd_pk *item);
fd_status fd_pk_set(fd_ctx *ctx, fd_pk_session *s, fd_pk *dict, fd_pk *key, fd_pk *value);
/* An array of `room` elements that holds n and shall take one more. */
fd_status fd_pk_grow(fd_ctx *ctx, fd_pk_session *s, void **array, uint32_t n, uint32_t *room, size_t element,
                     uint32_t most, const char *what);
/* Bytes that will be handled once more. Together they may not exceed three times the file's size. */
fd_status fd_pk_spend(fd_ctx *ctx, fd_pk_session *s, size_t bytes);

bool fd_utf8_valid(const char *p, size_t n);

/* Constructors that live in other files. */
typedef fd_status fd_pk_constructor(fd_ctx *ctx, fd_pk_session *s, const fd_pk_name *name, const fd_pk *args,
                                    fd_pk **out);
fd_pk_constructor fd_numpy_dtype, fd_numpy_scalar, fd_numpy_reconstruct, fd_numpy_frombuffer;
fd_pk_constructor fd_torch_rebuild_tensor, fd_torch_rebuild_parameter, fd_torch_size, fd_torch_load_bytes;
/* BUILD on NumPy's values. */
fd_status fd_numpy_build(fd_ctx *ctx, fd_pk_session *s, fd_pk *v, const fd_pk *state);

#endif
