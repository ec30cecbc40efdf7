/* fdistill doctor — what this build and machine can do. */
#include <omp.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/progress.h"
#include "base/version.h"
#include "cli/commands.h"
#include "cpu/describe.h"

static double physical_memory_gib(void) {
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (double)pages * (double)size / 1073741824.0 : 0;
}

fd_status fd_cmd_doctor(fd_ctx *ctx, int argc, char **argv) {
    fd_args a = {.command = "doctor",
                 .about = "Says what this build and machine can do, and whether all that is needed works."};
    FD_TRY(fd_args_parse(ctx, &a, argc, argv));
    if (a.helped) return FD_OK;
    fd_cpu_facts f;
    fd_cpu_describe(&f);
    printf("fdistill     %s\n", fd_version());
    printf("compiler     %s %s\n",
#ifdef __clang__
           "clang",
#else
           "gcc",
#endif
           __VERSION__);
    printf("processor    %s\n", f.processor[0] ? f.processor : "unknown");
    printf("instructions %s\n", f.isa);
    printf("threads      %d of %d cores\n", ctx->threads ? ctx->threads : omp_get_max_threads(), f.cores);
    printf("memory       %.1f GiB\n", physical_memory_gib());
    printf("convolutions %s\n", f.onednn);
    return FD_OK;
}
