/* checkpoint.h — what a file of weights holds, whoever wrote it: named trees of tensors, arrays and notes.
 *
 * Formats: torch zip and legacy containers, EDM's network pickles, pickles of NumPy statistics, npz, safetensors.
 * A tree is a dict with tensors in it, or a module (its parameters and buffers under their state_dict names); its path
 * is the keys of the dicts around it joined by '/', "" at the top. Dicts are followed through text keys and lists;
 * optimiser states, which have numbers as keys, are left out.
 */
#ifndef FD_IO_CHECKPOINT_H
#define FD_IO_CHECKPOINT_H

#include "io/torch.h"

typedef struct fd_ck_tensor {
    const char *name;
    const char *dtype;            /* torch's name: "float32" */
    int st_dtype;                 /* fd_st_dtype, or -1: a type that cannot be converted */
    int rank;
    int64_t dim[FD_ST_MAX_RANK], count;
    const void *data;             /* in place; NULL: view says where */
    const fd_tensor *view;
} fd_ck_tensor;

typedef struct fd_ck_tree {
    const char *path;
    fd_ck_tensor *tensor;
    int n;
    const fd_pk *object;          /* the module or dict; NULL in safetensors */
} fd_ck_tree;

typedef struct { const char *path; const fd_pk_array *array; } fd_ck_array;

typedef struct fd_checkpoint {
    const char *path, *format;    /* format: "torch zip archive" and so on, for people */
    fd_ck_tree *tree;
    int n;
    fd_ck_array *array;
    int narrays;
    const fd_pk *root;            /* top of the pickle; NULL: none */
    const fd_pk *source;          /* program text that came along, unread except for its head; NULL: none */
    fd_safetensors st;            /* safetensors files: metadata */
    /* owned */
    fd_pk_session session;
    fd_zip *zip;
    fd_bytes file, map;           /* map: size 0 when the memory is the caller's */
    int64_t expanded;             /* bytes that all tensors may have together, views counted like copies */
    bool script;                  /* TorchScript: objects without _parameters have tensors as plain attributes */
} fd_checkpoint;

/* FORMAT, UNSUPPORTED: the message begins with the path and says what is wrong. A web page, a Git LFS pointer and
 * other common mistakes are called by their names. Owner: the caller, until fd_checkpoint_close. */
fd_status fd_checkpoint_open(fd_ctx *ctx, const char *path, fd_checkpoint **out);
/* The same from memory that the caller keeps; `name` begins messages, and ".safetensors" at its end is believed. */
fd_status fd_checkpoint_parse(fd_ctx *ctx, fd_bytes file, const char *name, fd_checkpoint **out);
void fd_checkpoint_close(fd_checkpoint *c);                           /* NULL is allowed */

const fd_ck_tree *fd_checkpoint_tree(const fd_checkpoint *c, const char *path);      /* NULL: not there */
/* -1: not there. */
int fd_ck_find(const fd_ck_tree *t, const char *name);
/* The tensor as a plain array: in place where it lies so, else copied into the arena. UNSUPPORTED for st_dtype -1. */
fd_status fd_checkpoint_tensor(fd_ctx *ctx, const fd_checkpoint *c, const fd_ck_tensor *t, fd_arena *arena,
                               fd_st_tensor *out);
/* The attributes of a tree that is a module: a DICT; NULL else. */
const fd_pk *fd_ck_attributes(const fd_ck_tree *t);

#endif
