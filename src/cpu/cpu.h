/* cpu.h — what the files of the CPU backend share: the kernel of every op and the instruction set.
 *
 * Every kernel works for each block its prepare accepts; a prepare that cannot returns FD_E_UNSUPPORTED without a
 * message and the planner takes the reference. Forward kernels give an image the same bits whatever batch it is in.
 */
#ifndef FD_CPU_CPU_H
#define FD_CPU_CPU_H

#include "run/backend.h"

/* Widest vector instructions in use: what the processor has, lowered by the environment variable FD_MAX_ISA
 * (sse41, avx2, avx512 or one of oneDNN's longer names such as avx512_core_bf16). Decided on first use. */
typedef enum { FD_ISA_BASE, FD_ISA_AVX2, FD_ISA_AVX512, FD_ISA_AVX512_BF16 } fd_isa;
fd_isa fd_cpu_isa(void);
/* bf16 products in hardware or exactly emulated by the convolution library; else bf16 values are computed on in f32. */
bool fd_cpu_has_bf16(void);
/* Tiles of bf16 (AMX): products at ten times the rate of f32. */
bool fd_cpu_has_amx(void);
/* Values lie pixel by pixel (NHWC) instead of in blocks of 16 channels: so where there is AMX, whose convolutions in oneDNN know
 * no other layout. The environment variable FD_LAYOUT (last, blocks) overrides it. */
bool fd_cpu_channels_last(void);

/* One kernel per file or per group of small ops; all are gathered in backend_cpu.c. */
extern const fd_kernel fd_cpu_conv2d, fd_cpu_conv2d_bwd_x, fd_cpu_conv2d_bwd_w;
extern const fd_kernel fd_cpu_linear, fd_cpu_linear_bwd_x, fd_cpu_linear_bwd_w;
extern const fd_kernel fd_cpu_group_norm, fd_cpu_group_norm_bwd;
extern const fd_kernel fd_cpu_silu, fd_cpu_silu_bwd, fd_cpu_softplus, fd_cpu_softplus_bwd;
extern const fd_kernel fd_cpu_attention, fd_cpu_attention_bwd;
extern const fd_kernel fd_cpu_resample;
extern const fd_kernel fd_cpu_add, fd_cpu_scale, fd_cpu_mix_rows, fd_cpu_cast;
extern const fd_kernel fd_cpu_concat, fd_cpu_slice;
extern const fd_kernel fd_cpu_max_pool, fd_cpu_avg_pool;
extern const fd_kernel fd_cpu_dropout;
extern const fd_kernel fd_cpu_sq_err, fd_cpu_sq_err_bwd;
extern const fd_kernel fd_cpu_sum_rows, fd_cpu_broadcast_rows, fd_cpu_mean_hw, fd_cpu_broadcast_hw;

static inline int64_t fd_min64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t fd_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t fd_round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* An operand is there: prepare sees no pointers, but absent ones have no size. */
static inline bool fd_has(const fd_buf *b) { return fd_count(b->s) > 0; }
/* Threads for a loop over `items` independent pieces of `each` element operations: one where starting the others costs
 * more than it gives. Never a number in between: OpenMP ends and starts threads when a team's size changes. */
static inline int fd_team(const fd_call *c, int64_t items, int64_t each) {
    return items <= 1 || items * each < 16384 || c->threads < 1 ? 1 : c->threads;
}
/* Operands that have one layout and one type. */
static inline bool fd_alike(const fd_buf *a, const fd_buf *b) { return a->block == b->block && a->dt == b->dt; }

#endif
