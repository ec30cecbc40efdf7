#include "run/twin.h"

#include <pthread.h>

#include "base/arena.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static fd_twin *all;

static fd_twin *find(const fd_device *device, const void *host, size_t bytes) {
    for (fd_twin *t = all; t; t = t->next)
        if (t->device == device && t->host == host && t->bytes == bytes) return t;
    return NULL;
}

static fd_status make(fd_ctx *ctx, const fd_device *device, const void *host, size_t bytes, fd_twin **out) {
    fd_twin *t = fd_alloc(ctx, sizeof *t);
    if (!t) return FD_E_NOMEM;
    *t = (fd_twin){.device = device, .host = (void *)(uintptr_t)host, .bytes = bytes};
    fd_status s = device->alloc(ctx, bytes, &t->p);
    if (s != FD_OK) {
        fd_free(t);
        return s;
    }
    t->next = all;
    all = t;
    *out = t;
    return FD_OK;
}

fd_status fd_twin_get(fd_ctx *ctx, const fd_device *device, const void *host, size_t bytes, fd_twin **out) {
    pthread_mutex_lock(&lock);
    fd_twin *t = find(device, host, bytes);
    fd_status s = t ? FD_OK : make(ctx, device, host, bytes, &t);
    if (s == FD_OK) t->users++;
    pthread_mutex_unlock(&lock);
    *out = s == FD_OK ? t : NULL;
    return s;
}

void fd_twin_put(fd_twin *t) {
    if (!t) return;
    pthread_mutex_lock(&lock);
    if (--t->users == 0) {
        fd_twin **at = &all;
        while (*at != t) at = &(*at)->next;
        *at = t->next;
        t->device->release(t->p);
        fd_free(t);
    }
    pthread_mutex_unlock(&lock);
}

fd_status fd_twins_to_host(fd_ctx *ctx) {
    pthread_mutex_lock(&lock);
    fd_status s = FD_OK;
    for (fd_twin *t = all; t && s == FD_OK; t = t->next) {
        if (!t->newer) continue;
        s = t->device->get(ctx, t->host, t->p, t->bytes);
        t->newer = s != FD_OK;
    }
    pthread_mutex_unlock(&lock);
    return s;
}
