/* arena.h — memory that is freed all at once. The only module that calls malloc (base/mem.c).
 *
 * An arena is a list of growing chunks. What is allocated from it lives until fd_arena_free; nobody frees
 * single pieces. All blocks are zeroed and aligned to 64 bytes, the width of a cache line and of an AVX-512
 * register.
 */
#ifndef FD_BASE_ARENA_H
#define FD_BASE_ARENA_H

#include <stdarg.h>
#include <stdint.h>

#include "base/err.h"

#define FD_ALIGN 64

/* Zeroed, 64-byte aligned memory outside any arena, for blocks with one clear owner (big tensors, file buffers).
 * NULL and FD_E_NOMEM in ctx on failure. bytes = 0 gives a valid pointer. */
void *fd_alloc(fd_ctx *ctx, size_t bytes);
void fd_free(void *p);                       /* NULL is allowed */
/* Calls of fd_alloc since start; a test compares two readings to show that a step allocates nothing. */
uint64_t fd_alloc_calls(void);
/* Blocks that were not freed yet; a test compares two readings to show that nothing was lost. */
int64_t fd_alloc_live(void);
/* For tests: the n-th call of fd_alloc from now on fails (1 = the next); 0 switches this off. */
void fd_alloc_fail_at(uint64_t n);

/* malloc and free for libraries that take such functions (jansson), with a bound: between fd_bounded_begin and
 * fd_bounded_end, in this thread, what is asked for may sum up to `bytes`; beyond that NULL. fd_bounded_end says whether it
 * came to that. Outside they are malloc and free. */
void *fd_bounded_alloc(size_t bytes);
void fd_bounded_free(void *p);
void fd_bounded_begin(size_t bytes);
bool fd_bounded_end(void);

typedef struct fd_arena {
    struct fd_arena_chunk *top;   /* newest chunk */
    size_t used;                  /* bytes handed out, padding included */
} fd_arena;                       /* {0} is an empty arena */

void *fd_arena_alloc(fd_ctx *ctx, fd_arena *a, size_t bytes);    /* NULL and FD_E_NOMEM on failure */
char *fd_arena_strdup(fd_ctx *ctx, fd_arena *a, const char *s);
char *fd_arena_printf(fd_ctx *ctx, fd_arena *a, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void fd_arena_free(fd_arena *a);                                  /* also resets to {0} */

/* n zeroed objects of a type, or a return of FD_E_NOMEM from the calling function. */
#define FD_NEW(ctx, arena, pointer, n)                                                                  \
    do {                                                                                                \
        (pointer) = fd_arena_alloc((ctx), (arena), fd_mul_size((size_t)(n), sizeof *(pointer)));        \
        if (!(pointer)) return FD_E_NOMEM;                                                              \
    } while (0)

/* a*b, or SIZE_MAX on overflow, which no allocation can satisfy. */
static inline size_t fd_mul_size(size_t a, size_t b) {
    size_t r;
    return __builtin_mul_overflow(a, b, &r) ? SIZE_MAX : r;
}

#endif
