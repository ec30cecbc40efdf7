#include "cpu/conv_dnnl.h"

static dnnl_status_t add_relu(dnnl_primitive_attr_t attr) {
    dnnl_post_ops_t ops;
    dnnl_status_t s = dnnl_post_ops_create(&ops);
    if (s != dnnl_success) return s;
    s = dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, 0, 0);
    if (s == dnnl_success) s = dnnl_primitive_attr_set_post_ops(attr, ops);
    dnnl_post_ops_destroy(ops);
    return s;
}

dnnl_status_t fd_dnnl_conv_describe(dnnl_primitive_desc_t *pd, fd_conv_role what, const fd_dnnl_conv *p) {
    const dnnl_alg_kind_t alg = dnnl_convolution_direct;
    dnnl_memory_desc_t w, b;
    dnnl_dims_t strides = {p->stride, p->stride}, pad = {p->pad, p->pad_w}, after;
    /* Padding at the far side is what the output size leaves. */
    for (int i = 0; i < 2; i++) after[i] = (p->y.dims[2 + i] - 1) * p->stride + p->w[2 + i] - p->x.dims[2 + i] - pad[i];
    dnnl_status_t s = dnnl_memory_desc_init_by_tag(&w, 4, p->w, p->factor, dnnl_format_tag_any);
    if (s == dnnl_success && p->bias) s = dnnl_memory_desc_init_by_tag(&b, 1, (dnnl_dims_t){p->w[0]}, dnnl_f32, dnnl_x);
    if (s != dnnl_success) return s;
    const dnnl_memory_desc_t *bias = p->bias ? &b : NULL;

    dnnl_primitive_attr_t attr;
    if ((s = dnnl_primitive_attr_create(&attr)) != dnnl_success) return s;
    s = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (s == dnnl_success && p->relu) s = add_relu(attr);
    dnnl_convolution_desc_t d;
    dnnl_primitive_desc_t forward = NULL;
    /* The gradients want a forward convolution as a hint: of one type. */
    dnnl_memory_desc_t x = p->x, y = p->y;
    if (what != FD_CONV_FORWARD) x.data_type = y.data_type = p->factor;
    if (s == dnnl_success)
        s = dnnl_convolution_forward_desc_init(&d, dnnl_forward_training, alg, &x, &w, bias, &y, strides, pad, after);
    if (s == dnnl_success) s = dnnl_primitive_desc_create(&forward, &d, attr, fd_dnnl_engine(), NULL);
    if (s == dnnl_success && what == FD_CONV_FORWARD) {
        *pd = forward;
        forward = NULL;
    } else if (s == dnnl_success) {
        if (what == FD_CONV_BWD_W) w.data_type = dnnl_f32;
        s = what == FD_CONV_BWD_X ? dnnl_convolution_backward_data_desc_init(&d, alg, &p->x, &w, &p->y, strides, pad, after)
                          : dnnl_convolution_backward_weights_desc_init(&d, alg, &p->x, &w, bias, &p->y, strides, pad, after);
        if (s == dnnl_success) s = dnnl_primitive_desc_create(pd, &d, attr, fd_dnnl_engine(), forward);
    }
    if (forward) dnnl_primitive_desc_destroy(forward);
    dnnl_primitive_attr_destroy(attr);
    return s;
}

const char *fd_dnnl_name(dnnl_primitive_desc_t pd) {
    const char *name = "";
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
    return name;
}
