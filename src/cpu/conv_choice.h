/* conv_choice.h — by which algorithm a convolution is done. */
#ifndef FD_CPU_CONV_CHOICE_H
#define FD_CPU_CONV_CHOICE_H

#include "cpu/cpu.h"

/* The three uses of a convolution; see conv2d.c. */
typedef enum { FD_CONV_FORWARD, FD_CONV_BWD_X, FD_CONV_BWD_W } fd_conv_role;

/* What every algorithm's state begins with. */
typedef struct fd_conv_state {
    fd_status (*run)(fd_ctx *ctx, const fd_call *c);
    void (*release)(void *state);
} fd_conv_state;

/* Convolutions planned from now on. FD_CONV_AUTO: what was measured on this machine (tune.h), else a rule; the others
 * wherever they are possible. The environment variable FD_CONV=auto|direct|winograd|amx is the start value. */
typedef enum { FD_CONV_AUTO, FD_CONV_DIRECT, FD_CONV_WINOGRAD, FD_CONV_AMX, FD_CONV_ALGORITHMS } fd_conv_algorithm;
void fd_cpu_conv_algorithm(fd_conv_algorithm a);
fd_conv_algorithm fd_cpu_conv_algorithm_now(void);

/* Prepares the call with the algorithm given, not FD_CONV_AUTO. */
typedef fd_status fd_conv_prepare_fn(fd_ctx *ctx, fd_call *c, fd_conv_role role, fd_conv_algorithm a);

/* Whether an algorithm can do the call; never looks at the batch. */
bool fd_conv_suits(const fd_call *c, fd_conv_role role, fd_conv_algorithm a);

/* The algorithm for this call, not FD_CONV_AUTO. The choice never looks at the batch, so that an image has the same
 * bits in any. Calls `prepare` only to measure. */
fd_status fd_conv_choose(fd_ctx *ctx, const fd_call *c, fd_conv_role role, fd_conv_prepare_fn *prepare, fd_conv_algorithm *out);

#endif
