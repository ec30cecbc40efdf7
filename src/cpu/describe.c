#include "cpu/describe.h"

#include <dnnl.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "cpu/cpu.h"

/* The best of what is known; a library newer than this list has more names, each with the bits of those it includes. */
static const char *isa_words(dnnl_cpu_isa_t isa) {
    static const struct { dnnl_cpu_isa_t isa; const char *words; } known[] = {
        {dnnl_cpu_isa_avx512_core_amx, "AVX-512 with bf16 and AMX"},
        {dnnl_cpu_isa_avx512_core_bf16, "AVX-512 with bf16"},
        {dnnl_cpu_isa_avx512_core_vnni, "AVX-512 with VNNI"},
        {dnnl_cpu_isa_avx512_core, "AVX-512"},
        {dnnl_cpu_isa_avx2_vnni, "AVX2 with VNNI"},
        {dnnl_cpu_isa_avx2, "AVX2"},
        {dnnl_cpu_isa_avx, "AVX"},
        {dnnl_cpu_isa_sse41, "SSE4.1"},
    };
    for (size_t i = 0; i < FD_COUNT(known); i++)
        if ((isa & known[i].isa) == known[i].isa) return known[i].words;
    return "no known vector instructions";
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
