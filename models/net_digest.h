/* net_digest.h — a network's digest, found by a thread of its own beside other work: of a large file it takes as long as an
 * image. */
#ifndef FD_MODELS_NET_DIGEST_H
#define FD_MODELS_NET_DIGEST_H

#include <pthread.h>

#include "models/net.h"

typedef struct {
    const fd_net *net;
    fd_ctx ctx;                   /* the thread's own */
    pthread_t thread;
    bool runs, known;
    char hex[65];                 /* after fd_digest_wait */
} fd_digest;

/* Begins. The weights must not change until fd_digest_wait. With one thread to use, or where no more can be had, the
 * waiting computes. */
void fd_digest_begin(fd_ctx *ctx, const fd_net *net, fd_digest *d);
/* d->hex is there when it returns FD_OK. May be called again, and on {0}. */
fd_status fd_digest_wait(fd_ctx *ctx, fd_digest *d);

#endif
