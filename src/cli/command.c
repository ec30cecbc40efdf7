/* Choosing a subcommand from a table. */
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/help.h"

static void list_commands(const char *prefix, const char *about, const fd_command *table, int n) {
    printf("Usage: fdistill %s%sCOMMAND [options]\n\n", prefix, *prefix ? " " : "");
    fd_help_wrap(stdout, about, 0, 0);
    printf("\nCommands:\n");
    for (int i = 0; i < n; i++) {
        printf("  %-12s", table[i].name);
        fd_help_wrap(stdout, table[i].summary, 15, 14);
    }
    printf("\n'fdistill %s%sCOMMAND --help' shows the options of a command.\n", prefix, *prefix ? " " : "");
}

fd_status fd_command_run(fd_ctx *ctx, const char *prefix, const char *about, const fd_command *table, int n, int argc,
                         char **argv) {
    const char *names[32], *word = argc > 1 ? argv[1] : NULL;
    int known = n < (int)FD_COUNT(names) ? n : (int)FD_COUNT(names);
    for (int i = 0; i < known; i++) names[i] = table[i].name;
    if (word && (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help"))) {
        list_commands(prefix, about, table, n);
        return FD_OK;
    }
    const char *gap = *prefix ? " " : "";
    if (!word || word[0] == '-')
        return FD_FAIL(ctx, FD_E_ARG, "a command is missing; 'fdistill %s%s--help' lists them", prefix, gap);
    for (int i = 0; i < n; i++)
        if (!strcmp(word, table[i].name)) {
            if (ctx->comm && table[i].ranks != FD_RANKS)
                return FD_FAIL(ctx, FD_E_ARG, "%s%s%s works in one process: start it without mpirun", prefix, gap, word);
            return table[i].run(ctx, argc - 1, argv + 1);
        }
    const char *near = fd_nearest(word, names, known);
    if (near)
        return FD_FAIL(ctx, FD_E_ARG, "unknown command '%s%s%.64s'; did you mean '%s'?", prefix, gap, word, near);
    return FD_FAIL(ctx, FD_E_ARG, "unknown command '%s%s%.64s'; 'fdistill %s%s--help' lists them", prefix, gap, word,
                   prefix, gap);
}
