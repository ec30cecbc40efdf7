/* fuzz_checkpoint.h — a file of weights in memory: its trees are found and all its numbers read. Shared by the targets
 * of the containers, which differ in their corpus. */
#ifndef FD_TESTS_FUZZ_CHECKPOINT_H
#define FD_TESTS_FUZZ_CHECKPOINT_H

#include "fuzz.h"
#include "io/checkpoint.h"

static inline fd_status fuzz_checkpoint_read(fd_ctx *ctx, const fd_checkpoint *c) {
    for (int i = 0; i < c->n; i++)
        for (int k = 0; k < c->tree[i].n; k++) {
            fd_arena a = {0};
            fd_st_tensor st = {0};
            const fd_ck_tensor *t = &c->tree[i].tensor[k];
            fd_status s = t->st_dtype < 0 ? FD_OK : fd_checkpoint_tensor(ctx, c, t, &a, &st);
            if (s == FD_OK && st.bytes) fuzz_touch(st.data, st.bytes);
            fuzz_touch(t->name, strlen(t->name));
            fd_arena_free(&a);
            FD_TRY(s);
        }
    for (int i = 0; i < c->narrays; i++) {
        const fd_pk_array *a = c->array[i].array;
        double sum = 0;
        for (int64_t k = 0; k < a->count && k < 100000; k++) sum += fd_pk_array_at(a, k);
        fuzz_touch(&sum, sizeof sum);
    }
    return FD_OK;
}

static inline int fuzz_checkpoint(const uint8_t *data, size_t size) {
    fd_ctx ctx = fuzz_ctx();
    fd_checkpoint *c;
    fd_status s = fd_checkpoint_parse(&ctx, (fd_bytes){data, size}, "input", &c);
    if (s == FD_OK) {
        s = fuzz_checkpoint_read(&ctx, c);
        fd_checkpoint_close(c);
    }
    fuzz_judge(&ctx, s);
    return 0;
}

#endif
