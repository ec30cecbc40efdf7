/* mem.c — the only caller of malloc and free. */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/arena.h"

static _Atomic uint64_t calls;
static _Atomic int64_t live;
static _Atomic uint64_t fail_countdown;     /* 0 = off, 1 = the next call fails */

static bool injected_failure(void) {
    uint64_t n = atomic_load_explicit(&fail_countdown, memory_order_relaxed);
    while (n && !atomic_compare_exchange_weak(&fail_countdown, &n, n - 1)) {}
    return n == 1;
}

/* calloc instead of aligned_alloc + memset: big blocks come from fresh pages, which then cost memory only where they
 * are used. The pointer that free wants is kept in the word before the block. */
void *fd_alloc(fd_ctx *ctx, size_t bytes) {
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    char *raw = NULL;
    if (bytes <= SIZE_MAX / 2 && !injected_failure()) raw = calloc(1, bytes + FD_ALIGN + sizeof raw);
    if (!raw) {
        FD_FAIL(ctx, FD_E_NOMEM, "out of memory: %.1f MiB were asked for: use a smaller batch or network, or a "
                "machine with more memory", (double)bytes / 1048576.0);
        return NULL;
    }
    atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    uintptr_t first = (uintptr_t)raw + sizeof raw;
    char *p = raw + ((first + FD_ALIGN - 1) / FD_ALIGN * FD_ALIGN - (uintptr_t)raw);
    ((char **)p)[-1] = raw;
    return p;
}

void fd_free(void *p) {
    if (!p) return;
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    free(((void **)p)[-1]);
}

uint64_t fd_alloc_calls(void) { return atomic_load_explicit(&calls, memory_order_relaxed); }

int64_t fd_alloc_live(void) { return atomic_load_explicit(&live, memory_order_relaxed); }

void fd_alloc_fail_at(uint64_t n) { atomic_store(&fail_countdown, n); }

/* What was freed is not given back to the bound: it then needs no sizes of blocks, and such libraries free little while they
 * read. */
static _Thread_local struct { size_t left; bool on, hit; } bound;

void *fd_bounded_alloc(size_t bytes) {
    if (bound.on && bytes > bound.left) {
        bound.hit = true;
        return NULL;
    }
    if (bound.on) bound.left -= bytes;
    return malloc(bytes);
}

void fd_bounded_free(void *p) { free(p); }

void fd_bounded_begin(size_t bytes) {
    bound.left = bytes;
    bound.on = true;
    bound.hit = false;
}

bool fd_bounded_end(void) {
    bound.on = false;
    return bound.hit;
}
