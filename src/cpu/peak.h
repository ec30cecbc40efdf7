/* peak.h — what this machine can do at most, measured: the denominators of `fdistill bench --ops`. */
#ifndef FD_CPU_PEAK_H
#define FD_CPU_PEAK_H

#include "base/err.h"

typedef struct fd_cpu_peak {
    double f32;        /* floating-point operations per second: multiply-adds in registers, widest vectors in use    */
    double bf16;       /* the same for bf16: AMX tiles, else a large matrix product of oneDNN's; 0: there are no bf16 products */
    double memory;     /* bytes per second to and from memory: reading, or adding two arrays, whichever is faster    */
} fd_cpu_peak;

/* On `threads` threads; takes about half a second and 192 MiB. */
fd_status fd_cpu_peak_measure(fd_ctx *ctx, int threads, fd_cpu_peak *out);

#endif
