#include "cpu/packed.h"

#include <pthread.h>
#include <string.h>

#include "base/arena.h"

struct fd_packed {
    fd_packed *next;
    int holders;
    const float *w;                /* what it was packed from ...                                     */
    const uint64_t *version;       /* ... whose counter this is; NULL: private to one node, never kept */
    uint64_t seen;                 /* counter at the time of packing                                  */
    bool valid;
    fd_status (*pack)(fd_ctx *ctx, void *self, const float *w, void *to, const fd_call *c);
    void *data;
    size_t bytes, key_bytes;
    unsigned char *key;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static fd_packed *all;
static size_t held;

static void drop(fd_packed *p) {
    if (!p || --p->holders > 0) return;
    for (fd_packed **q = &all; *q; q = &(*q)->next)
        if (*q == p) {
            *q = p->next;
            break;
        }
    held -= p->bytes;
    fd_free(p->data);
    fd_free(p);
}

static fd_packed *find(const fd_packing *how, const float *w, const uint64_t *version) {
    if (!version) return NULL;
    for (fd_packed *p = all; p; p = p->next)
        if (p->w == w && p->version == version && p->pack == how->pack && p->key_bytes == how->key_bytes &&
            !memcmp(p->key, how->key, how->key_bytes)) return p;
    return NULL;
}

static fd_packed *make(fd_ctx *ctx, const fd_packing *how, const float *w, const uint64_t *version) {
    fd_packed *p = fd_alloc(ctx, sizeof *p + how->key_bytes);
    if (!p) return NULL;
    *p = (fd_packed){.w = w, .version = version, .pack = how->pack, .bytes = how->bytes, .key_bytes = how->key_bytes};
    p->key = (unsigned char *)(p + 1);
    memcpy(p->key, how->key, how->key_bytes);
    p->data = fd_alloc(ctx, how->bytes);
    if (!p->data) {
        fd_free(p);
        return NULL;
    }
    held += p->bytes;
    p->next = all;
    all = p;
    return p;
}

static fd_status get(fd_ctx *ctx, fd_packed **slot, const fd_packing *how, const fd_call *c, int k, void **data) {
    const float *w = c->in[k].p;
    const uint64_t *version = c->version[k];
    fd_packed *p = *slot;
    if (p && (p->version != version || (version && p->w != w))) {
        drop(p);
        p = *slot = NULL;
    }
    if (!p) {
        p = find(how, w, version);
        if (!p) p = make(ctx, how, w, version);
        if (!p) return FD_E_NOMEM;
        p->holders++;
        *slot = p;
    }
    if (!version || !p->valid || p->seen != *version) {
        p->valid = false;
        FD_TRY(how->pack(ctx, how->self, w, p->data, c));
        p->seen = version ? *version : 0;
        p->valid = true;
    }
    *data = p->data;
    return FD_OK;
}

fd_status fd_packed_get(fd_ctx *ctx, fd_packed **slot, const fd_packing *how, const fd_call *c, int k, void **data) {
    pthread_mutex_lock(&lock);
    fd_status s = get(ctx, slot, how, c, k, data);
    pthread_mutex_unlock(&lock);
    return s;
}

void fd_packed_release(fd_packed *p) {
    pthread_mutex_lock(&lock);
    drop(p);
    pthread_mutex_unlock(&lock);
}

size_t fd_packed_bytes(void) {
    pthread_mutex_lock(&lock);
    size_t b = held;
    pthread_mutex_unlock(&lock);
    return b;
}
