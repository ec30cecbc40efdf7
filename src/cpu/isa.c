/* Which vector instructions to use. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/amx.h"
#include "cpu/cpu.h"
#include "cpu/dnnl_glue.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static fd_isa chosen = FD_ISA_BASE;
static bool bf16, amx, channels_last;

static fd_isa detect(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq")) {
#if defined(FD_HAVE_AVX512_BF16)
        if (__builtin_cpu_supports("avx512bf16")) return FD_ISA_AVX512_BF16;
#endif
        return FD_ISA_AVX512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return FD_ISA_AVX2;
#endif
    return FD_ISA_BASE;
}

static void choose(void) {
    const char *limit = getenv("FD_MAX_ISA");
    chosen = detect();
    if (limit && *limit) {
        fd_isa most = !strncmp(limit, "avx2", 4) ? FD_ISA_AVX2 : FD_ISA_BASE;
        if (!strncmp(limit, "avx512", 6)) most = FD_ISA_AVX512_BF16;
        if (!strcmp(limit, "avx512_core") || !strcmp(limit, "avx512_core_vnni")) most = FD_ISA_AVX512;
        if (most < chosen) chosen = most;
    }
    bf16 = fd_dnnl_limit_isa(limit) && chosen >= FD_ISA_AVX512;
    const char *layout = getenv("FD_LAYOUT");
    amx = bf16 && fd_dnnl_has_amx() && fd_amx_allowed();
    channels_last = layout && *layout ? !strcmp(layout, "last") : amx;
}

fd_isa fd_cpu_isa(void) {
    pthread_once(&once, choose);
    return chosen;
}

bool fd_cpu_has_bf16(void) {
    pthread_once(&once, choose);
    return bf16;
}

bool fd_cpu_has_amx(void) {
    pthread_once(&once, choose);
    return amx;
}

bool fd_cpu_channels_last(void) {
    pthread_once(&once, choose);
    return channels_last;
}
