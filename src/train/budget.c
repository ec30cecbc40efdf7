#include "train/budget.h"

#include <stdio.h>

void fd_budget_add_frozen(fd_budget *b, const fd_params *p) { b->weights += sizeof(float) * (size_t)p->total; }

void fd_budget_add(fd_budget *b, const fd_params *p, int averages) {
    fd_budget_add_frozen(b, p);
    if (!p->g_lent) b->gradients += sizeof(float) * (size_t)p->trained;
    b->moments += 2 * sizeof(float) * (size_t)p->trained;
    b->averages += (size_t)averages * sizeof(float) * (size_t)p->total;
}

const char *fd_budget_text(fd_ctx *ctx, fd_arena *a, const fd_budget *b, int images, const fd_backend *backend) {
    const double MiB = 1 << 20;
    const size_t all = b->weights + b->gradients + b->moments + b->averages + b->pass;
    size_t used, total;
    char card[80] = "";
    if (backend && backend->device && backend->device->memory && backend->device->memory(&used, &total))
        snprintf(card, sizeof card, " on a device with %.0f MiB, of which %.0f are in use", (double)total / MiB, (double)used / MiB);
    return fd_arena_printf(ctx, a, "weights %.1f, gradients %.1f, moments %.1f, averages %.1f, a pass of %d image%s %.1f: %.1f MiB%s",
                           (double)b->weights / MiB, (double)b->gradients / MiB, (double)b->moments / MiB, (double)b->averages / MiB,
                           images, images == 1 ? "" : "s", (double)b->pass / MiB, (double)all / MiB, card);
}
