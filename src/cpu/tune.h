/* tune.h — which algorithm of a convolution is the faster one here: measured once, kept in the user's cache folder.
 *
 * ctx->tune says what planning may do: use what was measured before (the start value), measure what is missing too, or
 * neither. A measurement holds for every batch, so that an image has the same bits in any.
 */
#ifndef FD_CPU_TUNE_H
#define FD_CPU_TUNE_H

#include "cpu/conv_choice.h"

/* Replaces *a by the faster algorithm if that is known or may be measured; else leaves it. */
fd_status fd_tune_choose(fd_ctx *ctx, const fd_call *c, fd_conv_role role, fd_conv_prepare_fn *prepare, fd_conv_algorithm *a);

/* The file of this machine with so many threads, $XDG_CACHE_HOME/fdistill/convolutions-….txt or under ~/.cache; "" when
 * neither variable is set. */
void fd_tune_path(int threads, char out[4096]);
/* Measurements in use: those of the file and the new ones. */
int fd_tune_known(fd_ctx *ctx, int threads);
/* Forgets what was read and measured in this process, not the file. */
void fd_tune_forget(void);

#endif
