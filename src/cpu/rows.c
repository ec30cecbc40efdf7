/* Picks the inner loops for the machine. */
#include "cpu/isa/rows.h"

#include "cpu/cpu.h"

extern const fd_rows fd_rows_base;
#if defined(__x86_64__)
extern const fd_rows fd_rows_avx2, fd_rows_avx512;
#if defined(FD_HAVE_AVX512_BF16)
extern const fd_rows fd_rows_avx512_bf16;
#endif
#endif

const fd_rows *fd_cpu_rows(void) {
#if defined(__x86_64__)
    switch (fd_cpu_isa()) {
#if defined(FD_HAVE_AVX512_BF16)
    case FD_ISA_AVX512_BF16: return &fd_rows_avx512_bf16;
#endif
    case FD_ISA_AVX512: return &fd_rows_avx512;
    case FD_ISA_AVX2: return &fd_rows_avx2;
    default: break;
    }
#endif
    return &fd_rows_base;
}
