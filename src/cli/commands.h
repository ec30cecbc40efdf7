/* commands.h — the subcommands: one file each, cmd_<name>.c. argv[0] is the subcommand's word. Whatever fails is in
 * ctx; main.c prints it. */
#ifndef FD_CLI_COMMANDS_H
#define FD_CLI_COMMANDS_H

#include "cli/args.h"

fd_status fd_cmd_bench(fd_ctx *ctx, int argc, char **argv);
fd_status fd_cmd_dataset(fd_ctx *ctx, int argc, char **argv);
fd_status fd_cmd_distill(fd_ctx *ctx, int argc, char **argv);
fd_status fd_cmd_doctor(fd_ctx *ctx, int argc, char **argv);
fd_status fd_cmd_fid(fd_ctx *ctx, int argc, char **argv);
fd_status fd_cmd_generate(fd_ctx *ctx, int argc, char **argv);
fd_status fd_cmd_import(fd_ctx *ctx, int argc, char **argv);
fd_status fd_cmd_info(fd_ctx *ctx, int argc, char **argv);
fd_status fd_cmd_report(fd_ctx *ctx, int argc, char **argv);
fd_status fd_cmd_train(fd_ctx *ctx, int argc, char **argv);

#endif
