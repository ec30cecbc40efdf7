#include "cli/seeds.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool number_at(const char **p, uint64_t *out) {
    char *end;
    if (!isdigit((unsigned char)**p)) return false;
    errno = 0;
    *out = strtoull(*p, &end, 10);
    *p = end;
    return errno == 0;
}

/* Walks the list; with out it also writes. */
static fd_status walk(fd_ctx *ctx, const char *flag, const char *text, uint64_t *out, int64_t *n) {
    int64_t count = 0;
    for (const char *p = text;; p++) {
        uint64_t first, last;
        bool good = number_at(&p, &first);
        last = first;
        if (good && *p == '-') {
            p++;
            good = number_at(&p, &last);
        }
        if (!good || (*p && *p != ','))
            return FD_FAIL(ctx, FD_E_ARG, "--%s: '%.200s' is no list of seeds; write for instance 0-63,70", flag,
                           text);
        if (last < first)
            return FD_FAIL(ctx, FD_E_ARG, "--%s: the range %llu-%llu runs backwards", flag, (unsigned long long)first,
                           (unsigned long long)last);
        if (last - first >= FD_SEEDS_MAX || count + (int64_t)(last - first) + 1 > FD_SEEDS_MAX)
            return FD_FAIL(ctx, FD_E_ARG, "--%s: more than %d seeds; split the work", flag, FD_SEEDS_MAX);
        for (uint64_t i = 0; i <= last - first; i++, count++)
            if (out) out[count] = first + i;
        if (!*p) break;
    }
    *n = count;
    return FD_OK;
}

fd_status fd_seeds_parse(fd_ctx *ctx, fd_arena *arena, const char *flag, const char *text, uint64_t **seeds,
                         int64_t *n) {
    FD_TRY(walk(ctx, flag, text, NULL, n));
    FD_NEW(ctx, arena, *seeds, *n);
    return walk(ctx, flag, text, *seeds, n);
}
