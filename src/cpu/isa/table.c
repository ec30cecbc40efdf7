#include "cpu/isa/parts.h"

const fd_rows FD_ISA(fd_rows) = {
    .lanes = VL,
    .axpby = FD_ISA(axpby),
    .silu = FD_ISA(silu),
    .silu_bwd = FD_ISA(silu_bwd),
    .sum = FD_ISA(sum),
    .sum_sq_diff = FD_ISA(sum_sq_diff),
    .norm_stats = FD_ISA(norm_stats),
    .norm_apply = FD_ISA(norm_apply),
    .norm_bwd_sums = FD_ISA(norm_bwd_sums),
    .norm_bwd_apply = FD_ISA(norm_bwd_apply),
    .gemm = FD_ISA(gemm),
    .softmax = FD_ISA(softmax),
    .exp_minus = FD_ISA(exp_minus),
    .softmax_bwd = FD_ISA(softmax_bwd),
    .dot = FD_ISA(dot),
    .wino_input = FD_ISA(wino_input),
    .wino_weights = FD_ISA(wino_weights),
    .wino_product = FD_ISA(wino_product),
    .wino_output = FD_ISA(wino_output),
    .wino_width = VL == 16 ? 64 : 16,
};
