/* The order of precedence: what is possible, what the user forces, what was measured, a rule. */
#include "cpu/conv_choice.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/conv_amx.h"
#include "cpu/tune.h"
#include "cpu/winograd.h"

static _Atomic int algorithm = -1;

void fd_cpu_conv_algorithm(fd_conv_algorithm a) { algorithm = (int)a; }

fd_conv_algorithm fd_cpu_conv_algorithm_now(void) {
    if (algorithm < 0) {
        const char *v = getenv("FD_CONV");
        algorithm = !v ? FD_CONV_AUTO : !strcmp(v, "direct") ? FD_CONV_DIRECT :
                    !strcmp(v, "winograd") ? FD_CONV_WINOGRAD : !strcmp(v, "amx") ? FD_CONV_AMX : FD_CONV_AUTO;
    }
    return (fd_conv_algorithm)algorithm;
}

static fd_shape weights(const fd_call *c, fd_conv_role role) { return role == FD_CONV_BWD_W ? c->out[0].s : c->in[1].s; }

/* A wide network's pictures of up to four tiles: at a batch of one the weights' transform costs more than the products,
 * and a processor that multiplies bf16 itself needs 1.4 times as long as for the direct convolution. (At a batch of eight
 * it would need a seventh less, but the batch may not decide. The gradients are asked for at large batches only.) */
static bool too_few_tiles(const fd_buf *x, fd_shape w) {
    return x->dt == FD_BF16 && fd_cpu_has_bf16() && fd_pixels(x->s) <= 64 && w.n >= 256 && w.c >= 256;
}

bool fd_conv_suits(const fd_call *c, fd_conv_role role, fd_conv_algorithm a) {
    const fd_buf *x = &c->in[role == FD_CONV_BWD_W], *y = role == FD_CONV_BWD_W ? &c->in[0] : &c->out[0];
    if (a == FD_CONV_WINOGRAD) return fd_winograd_suits(x, y, weights(c, role), &c->attr);
    return a != FD_CONV_AMX || fd_amx_suits(c, role);
}

fd_status fd_conv_choose(fd_ctx *ctx, const fd_call *c, fd_conv_role role, fd_conv_prepare_fn *prepare, fd_conv_algorithm *out) {
    const fd_buf *x = &c->in[role == FD_CONV_BWD_W];
    const fd_conv_algorithm forced = fd_cpu_conv_algorithm_now();
    const bool winograd = fd_conv_suits(c, role, FD_CONV_WINOGRAD), amx = fd_conv_suits(c, role, FD_CONV_AMX);
    *out = FD_CONV_DIRECT;
    if (!winograd && !amx) return FD_OK;
    if (forced != FD_CONV_AUTO) {
        if (fd_conv_suits(c, role, forced)) *out = forced;
        return FD_OK;
    }
    if (amx) *out = FD_CONV_AMX;
    else if (x->dt == FD_F32 || !fd_cpu_has_amx()) *out = FD_CONV_WINOGRAD;
    if (role == FD_CONV_FORWARD && !amx && too_few_tiles(x, weights(c, role))) *out = FD_CONV_DIRECT;
    return fd_tune_choose(ctx, c, role, prepare, out);
}
