/* describe.h — what the CPU backend found on this machine, in words for --version and doctor. */
#ifndef FD_CPU_DESCRIBE_H
#define FD_CPU_DESCRIBE_H

#include "base/err.h"

typedef struct {
    char onednn[48];       /* "oneDNN 2.6.3 (OpenMP)"                                         */
    char isa[32];          /* widest instructions in use: "AVX-512 with bf16 and AMX", "AVX2" */
    char processor[96];    /* as the system names it; "" if it does not                       */
    int cores;             /* this process may run on                                         */
} fd_cpu_facts;

void fd_cpu_describe(fd_cpu_facts *out);

#endif
