/* Picks the inner loops for the machine. */
#include "cpu/isa/rows.h"

#include "cpu/cpu.h"

extern const fd_rows fd_rows_base;
#if defined(__x86_64__)
extern const fd_rows fd_rows_avx2, fd_rows_avx512;
#endif

const fd_rows *fd_cpu_rows(void) {
#if defined(__x86_64__)
    switch (fd_cpu_isa()) {
    case FD_ISA_AVX512: return &fd_rows_avx512;
    case FD_ISA_AVX2: return &fd_rows_avx2;
    default: break;
    }
#endif
    return &fd_rows_base;
}
