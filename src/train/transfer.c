#include "train/transfer.h"

#include <string.h>

static fd_status copy(fd_ctx *ctx, const fd_net *old, const char *path, fd_params *to) {
    for (int i = 0; i < to->n; i++) {
        const fd_param *p = &to->list[i];
        int k = fd_params_find(&old->params, p->name);
        if (k < 0)
            return FD_FAIL(ctx, FD_E_SHAPE, "--transfer %s: has no tensor '%s'; is it the same architecture, with classes "
                           "and augmentation alike?", path, p->name);
        const fd_param *q = &old->params.list[k];
        if (q->rank != p->rank || memcmp(q->dim, p->dim, sizeof *p->dim * (size_t)p->rank) != 0)
            return FD_FAIL(ctx, FD_E_SHAPE, "--transfer %s: tensor '%s' has another shape than the network asked for", path,
                           p->name);
        memcpy(to->w + p->offset, old->params.w + q->offset, sizeof(float) * (size_t)p->count);
    }
    fd_params_touch(to);
    return FD_OK;
}

fd_status fd_transfer(fd_ctx *ctx, const char *path, fd_net *net, char digest[65]) {
    fd_net *old;
    FD_TRY(fd_net_load(ctx, path, &old));
    fd_status s = copy(ctx, old, path, &net->params);
    if (s == FD_OK) s = fd_net_digest(ctx, old, digest);
    fd_net_free(old);
    return s;
}
