#include "cpu/describe.h"

#include <dnnl.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "cpu/cpu.h"

static const char *isa_words(dnnl_cpu_isa_t isa) {
    switch (isa) {
    case dnnl_cpu_isa_avx512_core_amx: return "AVX-512 with bf16 and AMX";
    case dnnl_cpu_isa_avx512_core_bf16: return "AVX-512 with bf16";
    case dnnl_cpu_isa_avx512_core_vnni: return "AVX-512 with VNNI";
    case dnnl_cpu_isa_avx512_core: return "AVX-512";
    case dnnl_cpu_isa_avx2_vnni: return "AVX2 with VNNI";
    case dnnl_cpu_isa_avx2: return "AVX2";
    case dnnl_cpu_isa_avx: return "AVX";
    case dnnl_cpu_isa_sse41: return "SSE4.1";
    default: return "no known vector instructions";
    }
}

static void processor_name(char *out, size_t size) {
    char line[256];
    out[0] = 0;
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f) return;
    while (fgets(line, sizeof line, f)) {
        char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !value) continue;
        value += strspn(value, ": \t");
        value[strcspn(value, "\n")] = 0;
        snprintf(out, size, "%s", value);
        break;
    }
    fclose(f);
}

void fd_cpu_describe(fd_cpu_facts *out) {
    fd_cpu_isa();                                  /* FD_MAX_ISA holds for oneDNN too */
    const dnnl_version_t *v = dnnl_version();
    const char *team = v->cpu_runtime == DNNL_RUNTIME_OMP ? "OpenMP" :
                       v->cpu_runtime == DNNL_RUNTIME_SEQ ? "one thread" : "own threads";
    snprintf(out->onednn, sizeof out->onednn, "oneDNN %d.%d.%d (%s)", v->major, v->minor, v->patch, team);
    snprintf(out->isa, sizeof out->isa, "%s", isa_words(dnnl_get_effective_cpu_isa()));
    processor_name(out->processor, sizeof out->processor);
    out->cores = omp_get_num_procs();
}
