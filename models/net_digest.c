#include "models/net_digest.h"

static void *work(void *self) {
    fd_digest *d = self;
    fd_net_digest(&d->ctx, d->net, d->hex);
    return NULL;
}

void fd_digest_begin(fd_ctx *ctx, const fd_net *net, fd_digest *d) {
    *d = (fd_digest){.net = net};
    d->runs = ctx->threads != 1 && pthread_create(&d->thread, NULL, work, d) == 0;
}

fd_status fd_digest_wait(fd_ctx *ctx, fd_digest *d) {
    if (d->known || !d->net) return FD_OK;
    if (d->runs) pthread_join(d->thread, NULL);
    else work(d);
    d->known = true;
    if (d->ctx.code == FD_OK) return FD_OK;
    return FD_FAIL(ctx, d->ctx.code, "%s", d->ctx.message);
}
