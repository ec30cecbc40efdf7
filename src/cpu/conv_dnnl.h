/* conv_dnnl.h — a convolution as oneDNN describes it, in any of its three roles. */
#ifndef FD_CPU_CONV_DNNL_H
#define FD_CPU_CONV_DNNL_H

#include "cpu/conv_choice.h"
#include "cpu/dnnl_glue.h"

typedef struct {
    const fd_buf *x, *y;         /* x or dx, y or dy: their shapes, and their layouts unless `any` */
    bool any;                    /* oneDNN chooses the layouts of both */
    dnnl_dims_t w;               /* out, in, height, width */
    dnnl_data_type_t type;       /* of all three; the weights' gradient is f32 */
    int stride, pad, pad_w;
    bool bias, relu;
} fd_dnnl_conv;

/* The fastest that oneDNN has for it, with its scratchpad left to the caller and the weights in the layout it likes. */
dnnl_status_t fd_dnnl_conv_describe(dnnl_primitive_desc_t *pd, fd_conv_role what, const fd_dnnl_conv *p);

/* What oneDNN calls it: "jit:avx512_core". */
const char *fd_dnnl_name(dnnl_primitive_desc_t pd);

#endif
