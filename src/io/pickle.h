/* pickle.h — Python's pickle format read as plain data.
 *
 * A pickle is a program for a small stack machine. This machine knows the opcodes of protocols 0 to 5, but it has no
 * interpreter behind it: it can only build values of the kinds below. Names of classes and functions are looked up in
 * a short list (pickle_names.c) of constructors that build data; any other name is refused where it stands, called or
 * not. Nothing is ever executed or imported, and program text that a file carries is text.
 *
 * A hostile file costs little: stack, marks, memo, nesting, opcodes, memory and the bytes handled twice are all
 * limited by a session, which nested pickles share. Texts and bytes are not copied: they point into the file.
 * Source: the opcode descriptions of CPython's pickletools.
 */
#ifndef FD_IO_PICKLE_H
#define FD_IO_PICKLE_H

#include "base/file.h"

typedef enum {
    FD_PK_NONE, FD_PK_BOOL, FD_PK_INT, FD_PK_BIG, FD_PK_REAL, FD_PK_TEXT, FD_PK_BYTES, FD_PK_TUPLE, FD_PK_LIST,
    FD_PK_SET, FD_PK_DICT,
    FD_PK_GLOBAL,                 /* a name of the list, not called yet                        */
    FD_PK_OBJECT,                 /* of a class: its name and the dict of its attributes       */
    FD_PK_STORAGE, FD_PK_TENSOR,  /* torch.h                                                   */
    FD_PK_DTYPE, FD_PK_ARRAY      /* NumPy's                                                   */
} fd_pk_kind;

struct fd_pk_name;
struct fd_storage;
struct fd_tensor;
struct fd_pk_array;

typedef struct fd_pk fd_pk;
struct fd_pk {
    uint8_t kind;                 /* fd_pk_kind */
    uint8_t truth;                /* BOOL */
    uint16_t depth;               /* levels of nesting below, as far as they were known when items were added */
    uint32_t n, room;             /* items of a TUPLE, LIST, SET; a DICT has 2n: key, value, key, value … */
    union {
        int64_t i;                                    /* INT */
        double r;                                     /* REAL */
        struct { const char *p; size_t n; } text;     /* TEXT (valid UTF-8), BYTES, BIG (little-endian) */
        fd_pk **item;
        const struct fd_pk_name *name;                /* GLOBAL */
        struct { const fd_pk *cls, *state; } object;  /* cls: TEXT; state: DICT, or NULL before BUILD */
        struct fd_storage *storage;
        struct fd_tensor *tensor;
        struct fd_pk_array *array;                    /* DTYPE: only its dtype is set */
    };
};

/* A NumPy array of numbers: as the file has them. */
typedef struct fd_pk_array {
    char type[3];                 /* "f8", "i4", "b1" … */
    bool big_endian, fortran, scalar, done;
    int rank;
    int64_t dim[8];
    int64_t count;
    fd_bytes data;                /* exactly count elements */
} fd_pk_array;
/* Element i in row-major order, as a double. */
double fd_pk_array_at(const fd_pk_array *a, int64_t i);

/* Groups of names that a pickle may use. */
enum {
    FD_PK_DATA = 1,               /* collections, sets, NumPy numbers, argparse.Namespace              */
    FD_PK_TORCH = 2,              /* torch's constructors of tensors, parameters and module containers */
    FD_PK_STORAGES = 4,           /* torch's storage classes                                           */
    FD_PK_BLOBS = 8,              /* torch.storage._load_from_bytes: a storage as bytes                */
    FD_PK_PERSISTENT = 16,        /* EDM's persistent objects                                          */
    FD_PK_SCRIPT = 32             /* any class below __torch__, as TorchScript archives have them      */
};

typedef struct fd_pk_session fd_pk_session;

/* What surrounds a pickle. */
typedef struct fd_pk_host {
    unsigned names;               /* groups allowed */
    /* A persistent id (BINPERSID); NULL: refused. */
    fd_status (*persistent)(fd_ctx *ctx, fd_pk_session *s, void *user, const fd_pk *id, fd_pk **out);
    void *user;
} fd_pk_host;

struct fd_pk_session {
    const char *where;            /* file (and member), begins every message */
    fd_arena arena;               /* of all values; the file must outlive it too */
    int64_t memory, opcodes, bytes;     /* what may still be spent */
    const fd_pk_host *host;
    const fd_pk *source;          /* program text of the first persistent object: where licence notes stand */
    fd_pk *slab, *constant[3];    /* None, False, True: one value each */
    int slab_left;
};

void fd_pk_session_init(fd_pk_session *s, const char *where, size_t file_bytes);
void fd_pk_session_free(fd_pk_session *s);
/* Runs the pickle at the start of `in` up to its STOP; *used = its bytes. FORMAT, UNSUPPORTED with name, place and
 * reason. */
fd_status fd_pickle_run(fd_ctx *ctx, fd_pk_session *s, fd_bytes in, size_t *used, fd_pk **out);

/* ---- looking at values; all are safe on any kind, and on NULL */

bool fd_pk_is(const fd_pk *v, fd_pk_kind kind);
const char *fd_pk_kind_name(const fd_pk *v);                          /* "text", "a list" … for messages */
const fd_pk *fd_pk_get(const fd_pk *dict, const char *key);           /* NULL: no dict, or no such text key */
bool fd_pk_is_text(const fd_pk *v, const char *text);                 /* equal? */
bool fd_pk_int(const fd_pk *v, int64_t *out);                         /* INT, BOOL or a NumPy integer */
bool fd_pk_real(const fd_pk *v, double *out);                         /* numbers of any kind */
/* The text with '?' for control characters, cut to size - 1 bytes; "" if it is none. */
void fd_pk_copy(const fd_pk *v, char *out, size_t size);

#endif
