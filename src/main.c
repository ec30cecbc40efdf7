/* fdistill — the program: a table of subcommands, one line on stderr when something fails, and the exit code.
 * 0 good, 1 the work failed, 2 wrong usage, 130 interrupted with the state saved. */
#include <errno.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "cli/commands.h"
#include "cli/ranks.h"
#include "cli/waiting.h"
#include "cpu/describe.h"

static const fd_command commands[] = {
    {"dataset", "Make, check and count image sets.", fd_cmd_dataset, FD_ALONE},
    {"train", "Train a diffusion teacher (EDM).", fd_cmd_train, FD_RANKS},
    {"distill", "Distil a teacher into a one-step student.", fd_cmd_distill, FD_RANKS},
    {"generate", "Make images from a network: PNG files, a grid, a zip or npz.", fd_cmd_generate, FD_RANKS},
    {"fid", "Measure images: reference statistics, Fréchet distance, the judge of the sprites.", fd_cmd_fid, FD_RANKS},
    {"import", "Read other people's weights (EDM, torch, FastGen), executing nothing.", fd_cmd_import, FD_ALONE},
    {"info", "Say what a file or folder is; print the run list of a network.", fd_cmd_info, FD_ALONE},
    {"bench", "Time a network: denoising, a training step, generating images; where the time goes.", fd_cmd_bench, FD_ALONE},
    {"report", "Make a page about a run: numbers, pictures, curves.", fd_cmd_report, FD_ALONE},
    {"doctor", "Say what this build and machine can do, and whether all that is needed works.", fd_cmd_doctor, FD_ALONE},
};

static const char about[] =
    "Distils a diffusion U-Net (EDM family) into a generator that makes an image in one step, by f-distill.\n"
    "\n"
    "train, distill, generate, fid ref and fid calc share their work when mpirun starts several processes: "
    "'mpirun -n 4 fdistill train …'; 'fdistill doctor' says whether this build can.\n"
    "\n"
    "--threads N (compute threads, default one per core) and --quiet (no progress bars) work before and after every "
    "command. Exit codes: 0 good, 1 the work failed, 2 wrong usage, 130 interrupted with the state saved.";

static void print_version(fd_ctx *ctx) {
    fd_cpu_facts f;
    fd_cpu_describe(&f);
    printf("fdistill %s\n%s, %s, %d threads\n", fd_version(), f.onednn, f.isa,
           ctx->threads ? ctx->threads : omp_get_max_threads());
}

/* Options before the command; *used counts their words. */
static fd_status leading_options(fd_ctx *ctx, int argc, char **argv, int *used) {
    int n = 1;
    while (n < argc) {
        if (!strcmp(argv[n], "--quiet") || !strcmp(argv[n], "-q")) n++;
        else if (!strncmp(argv[n], "--threads=", 10)) n++;
        else if (!strcmp(argv[n], "--threads") && n + 1 < argc) n += 2;
        else break;
    }
    fd_args a = {.command = "COMMAND", .about = about};
    FD_TRY(fd_args_parse(ctx, &a, n, argv));
    *used = n - 1;
    return FD_OK;
}

static fd_status run(fd_ctx *ctx, int argc, char **argv) {
    int skip;
    FD_TRY(leading_options(ctx, argc, argv, &skip));
    argc -= skip;
    argv += skip;
    if (argc > 1 && (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version"))) {
        print_version(ctx);
        return FD_OK;
    }
    return fd_command_run(ctx, "", about, commands, (int)FD_COUNT(commands), argc, argv);
}

int main(int argc, char **argv) {
    fd_waiting_choose(argv);
    static fd_ctx ctx;
    signal(SIGPIPE, SIG_IGN);       /* a reader that goes away is a write error like others: a training goes on */
    fd_status status = fd_ranks_enter(&ctx);
    if (status == FD_OK) status = run(&ctx, argc, argv);
    errno = 0;
    bool lost = fflush(stdout) != 0 || ferror(stdout);
    if (status == FD_OK && lost)
        status = FD_FAIL(&ctx, FD_E_IO, "standard output: cannot write: %s",
                         errno ? strerror(errno) : "lost earlier");
    if (status == FD_OK) {
        fd_ranks_leave(&ctx);
        return 0;
    }
    const int code = status == FD_E_ARG ? 2 : status == FD_E_CANCELLED ? 130 : 1;
    fd_ranks_fail(&ctx, status, code);
    return code;
}
