/* mem.c — the only caller of malloc and free. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/arena.h"

static _Atomic uint64_t calls;
static _Atomic int64_t live;
static _Atomic uint64_t fail_countdown;     /* 0 = off, 1 = the next call fails */

static bool injected_failure(void) {
    uint64_t n = atomic_load_explicit(&fail_countdown, memory_order_relaxed);
    while (n && !atomic_compare_exchange_weak(&fail_countdown, &n, n - 1)) {}
    return n == 1;
}

/* ---- what fits ---------------------------------------------------------------------------------------------------- */

typedef struct { void *raw; size_t bytes; } head;      /* before every block */

enum { LARGE = 1 << 20,                                 /* smaller blocks are not worth the question */
       HUGE_PAGE = 2 << 20 };
static _Atomic size_t held;                             /* bytes of all blocks */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static size_t at_first;                                 /* free when the question came up first, and what was held then */
static const char *wish;                                /* FD_MEMORY_MIB: the user's limit instead */
static char *wish_end;

/* A number of a file of the system's: that behind `key`, or the first one. SIZE_MAX when there is none ("max"). */
static size_t system_number(const char *path, const char *key, size_t unit) {
    char line[256];
    size_t out = SIZE_MAX;
    FILE *f = fopen(path, "r");
    while (f && out == SIZE_MAX && fgets(line, sizeof line, f)) {
        char *end, *number = line + (strncmp(line, key, strlen(key)) ? sizeof line : strlen(key));
        if (number >= line + sizeof line) continue;
        const unsigned long long v = strtoull(number, &end, 10);
        if (end != number && v < SIZE_MAX / unit) out = (size_t)v * unit;
    }
    if (f) fclose(f);
    return out;
}

/* Of the machine with its swap, and of the container when it has a limit of its own. */
static size_t free_now(void) {
    size_t machine = system_number("/proc/meminfo", "MemAvailable:", 1024), swap = system_number("/proc/meminfo", "SwapFree:", 1024);
    if (machine != SIZE_MAX && swap != SIZE_MAX) machine += swap;
    const size_t most = system_number("/sys/fs/cgroup/memory.max", "", 1), used = system_number("/sys/fs/cgroup/memory.current", "", 1);
    const size_t container = most == SIZE_MAX || used == SIZE_MAX ? SIZE_MAX : most > used ? most - used : 0;
    return machine < container ? machine : container;
}

static void ask(void) {
    wish = getenv("FD_MEMORY_MIB");
    if (wish && *wish) {
        const unsigned long long v = strtoull(wish, &wish_end, 10);
        at_first = v < SIZE_MAX >> 20 ? (size_t)v << 20 : SIZE_MAX;
        return;
    }
    wish = NULL;
    at_first = free_now();
    const size_t already = atomic_load(&held);
    at_first = at_first < SIZE_MAX - already ? at_first + already : SIZE_MAX;
}

/* Whether a block fits the memory there is. Linux gives out more than it has and kills who uses it; better one line now. Pages that
 * were not touched yet count as free for the system, so the blocks are summed up here; and others may have freed some since. */
static bool fits(fd_ctx *ctx, size_t bytes) {
    pthread_once(&once, ask);
    if (wish && *wish_end) {
        FD_FAIL(ctx, FD_E_ARG, "FD_MEMORY_MIB is '%.40s': a whole number of MiB is needed", wish);
        return false;
    }
    const size_t mine = atomic_load_explicit(&held, memory_order_relaxed);
    if (bytes <= at_first && mine <= at_first - bytes) return true;
    if (!wish && bytes <= free_now()) return true;
    FD_FAIL(ctx, FD_E_NOMEM, "not enough memory: %.0f MiB more are needed beside the %.0f in use, %s %.0f: use a smaller --batch-gpu, batch "
            "or network", (double)bytes / 1048576, (double)mine / 1048576, wish ? "FD_MEMORY_MIB allows" : "this machine had",
            (double)at_first / 1048576);
    return false;
}

/* ---- blocks ------------------------------------------------------------------------------------------------------- */

/* Large pages where the system has them for whoever asks: work that walks through gigabytes is a tenth faster. To make them the
 * system may have to move other pages first, half a second per 200 MB: so it is for long work only. */
static void prefer_huge_pages(char *p, size_t bytes) {
#if defined(MADV_HUGEPAGE)
    if (bytes < 2 * HUGE_PAGE) return;
    const uintptr_t from = ((uintptr_t)p + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    const uintptr_t to = ((uintptr_t)p + bytes) / HUGE_PAGE * HUGE_PAGE;
    (void)madvise((void *)from, to - from, MADV_HUGEPAGE);
#else
    (void)p, (void)bytes;
#endif
}

/* calloc instead of aligned_alloc + memset: big blocks come from fresh pages, which then cost memory only where they
 * are used. The pointer that free wants is kept before the block. */
void *fd_alloc(fd_ctx *ctx, size_t bytes) {
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    char *raw = NULL;
    if (bytes >= LARGE && !fits(ctx, bytes)) return NULL;
    if (bytes <= SIZE_MAX / 2 && !injected_failure()) raw = calloc(1, bytes + FD_ALIGN + sizeof(head));
    if (!raw) {
        FD_FAIL(ctx, FD_E_NOMEM, "out of memory: %.1f MiB were asked for: use a smaller batch or network, or a "
                "machine with more memory", (double)bytes / 1048576.0);
        return NULL;
    }
    atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&held, bytes, memory_order_relaxed);
    uintptr_t first = (uintptr_t)raw + sizeof(head);
    char *p = raw + ((first + FD_ALIGN - 1) / FD_ALIGN * FD_ALIGN - (uintptr_t)raw);
    ((head *)p)[-1] = (head){raw, bytes};
    if (ctx && ctx->large_pages) prefer_huge_pages(p, bytes);
    return p;
}

void fd_free(void *p) {
    if (!p) return;
    const head h = ((head *)p)[-1];
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&held, h.bytes, memory_order_relaxed);
    free(h.raw);
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
