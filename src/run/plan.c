#include "run/plan.h"

#include <stdlib.h>

static int larger_first(const void *a, const void *b) {
    const fd_slot *x = *(fd_slot *const *)a, *y = *(fd_slot *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : 1;      /* same order on every machine */
}

static int lower_first(const void *a, const void *b) {
    const fd_slot *x = *(fd_slot *const *)a, *y = *(fd_slot *const *)b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x < y ? -1 : 1;
}

fd_status fd_plan_place(fd_ctx *ctx, fd_slot *slot, int n, size_t *total) {
    fd_arena scratch = {0};
    fd_slot **order = fd_arena_alloc(ctx, &scratch, fd_mul_size((size_t)n, sizeof *order));
    fd_slot **alive = fd_arena_alloc(ctx, &scratch, fd_mul_size((size_t)n, sizeof *alive));
    if (!order || !alive) {
        fd_arena_free(&scratch);
        return FD_E_NOMEM;
    }
    for (int i = 0; i < n; i++) {
        slot[i].bytes = (slot[i].bytes + FD_ALIGN - 1) / FD_ALIGN * FD_ALIGN;
        order[i] = &slot[i];
    }
    qsort(order, (size_t)n, sizeof *order, larger_first);
    *total = 0;
    for (int i = 0; i < n; i++) {
        fd_slot *s = order[i];
        int m = 0;
        for (int j = 0; j < i; j++)
            if (order[j]->bytes && order[j]->first <= s->last && s->first <= order[j]->last) alive[m++] = order[j];
        qsort(alive, (size_t)m, sizeof *alive, lower_first);
        size_t at = 0;
        for (int j = 0; j < m && alive[j]->offset < at + s->bytes; j++)
            if (alive[j]->offset + alive[j]->bytes > at) at = alive[j]->offset + alive[j]->bytes;
        s->offset = at;
        if (at + s->bytes > *total) *total = at + s->bytes;
    }
    fd_arena_free(&scratch);
    return FD_OK;
}
