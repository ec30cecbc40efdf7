/* help.h — the help page of a subcommand, made from its table of options. */
#ifndef FD_CLI_HELP_H
#define FD_CLI_HELP_H

#include <stdio.h>

#include "cli/args.h"

/* Use line, about, options with their defaults (what their pointers hold now), examples. */
void fd_help_print(const fd_args *a, const fd_option *every, int n_every, FILE *f);
/* Text in lines of at most 79 columns, each indented; the first starts at column `at`. */
void fd_help_wrap(FILE *f, const char *text, int indent, int at);

#endif
