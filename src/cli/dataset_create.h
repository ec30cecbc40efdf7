/* dataset_create.h — fdistill dataset create. */
#ifndef FD_CLI_DATASET_CREATE_H
#define FD_CLI_DATASET_CREATE_H

#include "base/err.h"

fd_status fd_dataset_create_command(fd_ctx *ctx, int argc, char **argv);

#endif
