/* transfer.h — a run that starts from the weights of another network. */
#ifndef FD_TRAIN_TRANSFER_H
#define FD_TRAIN_TRANSFER_H

#include "models/net.h"

/* Fills net with the tensors of the file at `path` (--transfer): each must be there with the same shape; what the file has
 * besides (a label layer, say) is left behind. digest: of the file's network. SHAPE if a tensor is missing or another. */
fd_status fd_transfer(fd_ctx *ctx, const char *path, fd_net *net, char digest[65]);

#endif
