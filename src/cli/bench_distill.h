/* bench_distill.h — iterations of f-distill on made-up data, for `fdistill bench --case distill`. */
#ifndef FD_CLI_BENCH_DISTILL_H
#define FD_CLI_BENCH_DISTILL_H

#include "models/net.h"
#include "run/backend.h"

enum { FD_BENCH_CYCLE = 5 };      /* iterations of one repetition: four of the critic, one of the student */

typedef struct fd_bench_distill fd_bench_distill;

/* The method's published settings (js, one average) with the net as teacher; it must outlive this. pass: images at a time, a
 * divisor of batch; 0: as distill chooses it. */
fd_status fd_bench_distill_new(fd_ctx *ctx, fd_net *teacher, int batch, int pass, fd_dtype dtype, const fd_backend *backend,
                               fd_bench_distill **out);
void fd_bench_distill_free(fd_bench_distill *b);          /* NULL is allowed */
fd_status fd_bench_distill_run(fd_ctx *ctx, fd_bench_distill *b);
size_t fd_bench_distill_bytes(const fd_bench_distill *b); /* of all plans */

#endif
