/* packed.h — weights in the order a kernel wants, re-laid once per update of the weights and shared by every node that
 * wants the same order of the same tensor (the views of one network, or forward passes of several plans).
 */
#ifndef FD_CPU_PACKED_H
#define FD_CPU_PACKED_H

#include "cpu/cpu.h"

/* How to re-lay: `key` (plain bytes, compared with memcmp) and `pack` together say what the result looks like. */
typedef struct fd_packing {
    size_t bytes;                 /* of the result */
    const void *key;
    size_t key_bytes;
    void *self;                   /* handed to pack */
    fd_status (*pack)(fd_ctx *ctx, void *self, const float *w, void *to, const fd_call *c);
} fd_packing;

typedef struct fd_packed fd_packed;

/* The packed form of parameter input k of the call, up to date. *slot is the node's hold on it, NULL at first. The
 * first call allocates; later ones do not unless the parameter moved to another address. Without a version (an
 * ordinary value as weights) it is packed anew at each call. */
fd_status fd_packed_get(fd_ctx *ctx, fd_packed **slot, const fd_packing *how, const fd_call *c, int k, void **data);
void fd_packed_release(fd_packed *p);      /* NULL is allowed */
size_t fd_packed_bytes(void);              /* held now by all nodes */

#endif
