/* fid_net.h — fdistill fid net: trains the feature network that distances on a set are measured with. */
#ifndef FD_CLI_FID_NET_H
#define FD_CLI_FID_NET_H

#include "base/err.h"

fd_status fd_cmd_fid_net(fd_ctx *ctx, int argc, char **argv);

#endif
