#include "base/arena.h"

#include <stdio.h>
#include <string.h>

struct fd_arena_chunk {
    struct fd_arena_chunk *below;
    size_t size, used;               /* of the bytes after this header, which fills one alignment unit */
};

enum { FIRST_CHUNK = 16 << 10, LAST_CHUNK = 4 << 20 };

void *fd_arena_alloc(fd_ctx *ctx, fd_arena *a, size_t bytes) {
    if (bytes > SIZE_MAX / 4) return fd_alloc(ctx, SIZE_MAX);     /* reports the failure */
    size_t need = (bytes ? bytes + FD_ALIGN - 1 : FD_ALIGN) / FD_ALIGN * FD_ALIGN;
    struct fd_arena_chunk *c = a->top;
    if (!c || c->size - c->used < need) {
        size_t size = c ? c->size * 2 : FIRST_CHUNK;
        if (size > LAST_CHUNK) size = LAST_CHUNK;
        if (size < need) size = need;
        struct fd_arena_chunk *fresh = fd_alloc(ctx, FD_ALIGN + size);
        if (!fresh) return NULL;
        fresh->size = size;
        /* A big block goes under a chunk that still has room, so that the room stays in use. */
        if (c && size == need && c->size - c->used > 1024) {
            fresh->below = c->below;
            c->below = fresh;
        } else {
            fresh->below = c;
            a->top = fresh;
        }
        c = fresh;
    }
    void *p = (char *)c + FD_ALIGN + c->used;
    c->used += need;
    a->used += need;
    return p;
}

char *fd_arena_strdup(fd_ctx *ctx, fd_arena *a, const char *s) {
    size_t n = strlen(s) + 1;
    char *p = fd_arena_alloc(ctx, a, n);
    return p ? memcpy(p, s, n) : NULL;
}

char *fd_arena_printf(fd_ctx *ctx, fd_arena *a, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : fd_arena_alloc(ctx, a, (size_t)n + 1);
    if (p) vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}

void fd_arena_free(fd_arena *a) {
    for (struct fd_arena_chunk *c = a->top, *below; c; c = below) {
        below = c->below;
        fd_free(c);
    }
    *a = (fd_arena){0};
}
