/* device.c — one call of a kernel whose operands must lie on a device: there and back, with a look at what surrounds them. */
#include <string.h>

#include "base/arena.h"
#include "ops.h"

typedef struct { void *host; size_t bytes; char *there; } copy;
typedef struct { const fd_device *d; copy list[FD_MAX_IN + FD_MAX_OUT + 1]; int n; unsigned char *stage; size_t stage_bytes; } copies;

static fd_status stage_for(fd_ctx *ctx, copies *c, size_t bytes) {
    if (c->stage_bytes >= bytes) return FD_OK;
    fd_free(c->stage);
    c->stage = fd_alloc(ctx, bytes);
    c->stage_bytes = c->stage ? bytes : 0;
    return c->stage ? FD_OK : FD_E_NOMEM;
}

/* Operands that share memory (in place) share their copy. */
static fd_status send(fd_ctx *ctx, copies *c, void **p, size_t bytes) {
    if (!*p) return FD_OK;
    for (int i = 0; i < c->n; i++)
        if (c->list[i].host == *p) {
            *p = c->list[i].there + GUARD;
            return FD_OK;
        }
    copy *k = &c->list[c->n];
    void *there;
    FD_TRY(stage_for(ctx, c, bytes + 2 * GUARD));
    FD_TRY(c->d->alloc(ctx, bytes + 2 * GUARD, &there));
    *k = (copy){*p, bytes, there};
    c->n++;
    memset(c->stage, 0xFF, bytes + 2 * GUARD);
    memcpy(c->stage + GUARD, *p, bytes);
    *p = k->there + GUARD;
    return c->d->put(ctx, k->there, c->stage, bytes + 2 * GUARD);
}

static fd_status fetch(fd_ctx *ctx, copies *c) {
    for (int i = 0; i < c->n; i++) {
        copy *k = &c->list[i];
        FD_TRY(c->d->get(ctx, c->stage, k->there, k->bytes + 2 * GUARD));
        for (int j = 0; j < GUARD; j++)
            if (c->stage[j] != 0xFF || c->stage[GUARD + k->bytes + (size_t)j] != 0xFF)
                return FD_FAIL(ctx, FD_E_DEVICE, "writes outside operand %d of %d", i + 1, c->n);
        memcpy(k->host, c->stage + GUARD, k->bytes);
    }
    return FD_OK;
}

static fd_status run_there(fd_ctx *ctx, copies *k, const fd_kernel *kernel, fd_call *c) {
    for (int i = 0; i < FD_MAX_IN; i++) FD_TRY(send(ctx, k, &c->in[i].p, fd_tensor_bytes(c->in[i].s, c->in[i].dt)));
    for (int i = 0; i < FD_MAX_OUT; i++) FD_TRY(send(ctx, k, &c->out[i].p, fd_tensor_bytes(c->out[i].s, c->out[i].dt)));
    FD_TRY(send(ctx, k, &c->work, c->work_bytes));
    FD_TRY(kernel->run(ctx, c));
    return fetch(ctx, k);
}

fd_status run_call(fd_ctx *ctx, const fd_backend *backend, const fd_kernel *kernel, fd_call *c) {
    if (!backend->device) return kernel->run(ctx, c);
    copies k = {.d = backend->device};
    fd_call there = *c;
    fd_status s = run_there(ctx, &k, kernel, &there);
    for (int i = 0; i < k.n; i++) k.d->release(k.list[i].there);
    fd_free(k.stage);
    return s;
}
