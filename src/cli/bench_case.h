/* bench_case.h — the works that `fdistill bench` times, on made-up data: one call is one repetition. */
#ifndef FD_CLI_BENCH_CASE_H
#define FD_CLI_BENCH_CASE_H

#include "models/net.h"
#include "train/edm_step.h"
#include "train/sampler.h"

typedef enum {
    FD_BENCH_DENOISE,     /* D(x; sigma) of one batch                                                              */
    FD_BENCH_TRAIN,       /* a step of EDM training: gradients set to zero, forward and backward in passes as train
                             makes them, gradient norm, Adam, average of the weights                              */
    FD_BENCH_GENERATE,    /* `images` images from seeds to bytes in passes of a batch, as generate makes them       */
    FD_BENCH_DISTILL,     /* five iterations of f-distill on a batch each: four of the critic, one of the student */
    FD_BENCH_FEATURES     /* features of a batch of uint8 pictures, as fid measures them; Inception's are 32x32 and
                             resized by pytorch-fid's rule                                                         */
} fd_bench_kind;

typedef struct fd_bench_spec {
    fd_bench_kind kind;
    int batch;
    int pass;             /* TRAIN, DISTILL: images of one pass, a divisor of batch; 0: as the jobs choose it */
    int64_t images;       /* GENERATE */
    fd_dtype dtype;
    const fd_backend *backend;      /* NULL: the CPU's */
} fd_bench_spec;

typedef struct fd_bench fd_bench;

/* The net must outlive it; TRAIN changes its weights. */
fd_status fd_bench_new(fd_ctx *ctx, fd_net *net, const fd_bench_spec *spec, fd_bench **out);
void fd_bench_free(fd_bench *b);                 /* NULL is allowed */
fd_status fd_bench_run(fd_ctx *ctx, fd_bench *b);
int64_t fd_bench_images(const fd_bench *b);      /* of one repetition */
int64_t fd_bench_passes(const fd_bench *b);      /* runs of the plan in one repetition */
fd_exec *fd_bench_exec(fd_bench *b);              /* NULL for DISTILL, which has several */
size_t fd_bench_bytes(fd_bench *b);              /* of values between operations */

#endif
