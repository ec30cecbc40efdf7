#include "cpu/conv_dnnl.h"

static dnnl_status_t attributes(dnnl_primitive_attr_t *attr, bool relu) {
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t s = dnnl_primitive_attr_create(attr);
    if (s == dnnl_success) s = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (s != dnnl_success || !relu) return s;
    s = dnnl_post_ops_create(&ops);
    if (s == dnnl_success) s = fd_dnnl_add_relu(ops);
    if (s == dnnl_success) s = dnnl_primitive_attr_set_post_ops(*attr, ops);
    if (ops) dnnl_post_ops_destroy(ops);
    return s;
}

/* Layouts of all that takes part: dw is the weights' gradient, which is f32 whatever the factors are. */
typedef struct { fd_md x, y, w, dw, bias; } layouts;

static dnnl_status_t lay_out(layouts *l, const fd_dnnl_conv *p) {
    dnnl_status_t s = fd_dnnl_layout(&l->x, p->x, p->type, p->any);
    if (s == dnnl_success) s = fd_dnnl_layout(&l->y, p->y, p->type, p->any);
    if (s == dnnl_success) s = fd_md_new(&l->w, 4, p->w, p->type, dnnl_format_tag_any);
    if (s == dnnl_success) s = fd_md_new(&l->dw, 4, p->w, dnnl_f32, dnnl_format_tag_any);
    if (s == dnnl_success && p->bias) s = fd_md_new(&l->bias, 1, (dnnl_dims_t){p->w[0]}, dnnl_f32, dnnl_x);
    return s;
}

dnnl_status_t fd_dnnl_conv_describe(dnnl_primitive_desc_t *pd, fd_conv_role what, const fd_dnnl_conv *p) {
    const dnnl_dims_t strides = {p->stride, p->stride}, pad = {p->pad, p->pad_w};
    /* Padding at the far side is what the output size leaves. */
    const dnnl_dims_t after = {(p->y->s.h - 1) * p->stride + p->w[2] - p->x->s.h - p->pad,
                               (p->y->s.w - 1) * p->stride + p->w[3] - p->x->s.w - p->pad_w};
    dnnl_engine_t e = fd_dnnl_engine();
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t forward = NULL;
    layouts l = {0};
    dnnl_status_t s = lay_out(&l, p);
    if (s == dnnl_success) s = attributes(&attr, p->relu);
    fd_dnnl_conv_parts parts = {.x = l.x, .w = l.w, .bias = l.bias, .y = l.y, .stride = strides, .before = pad, .after = after,
                                .attr = attr};
    if (s == dnnl_success) s = fd_dnnl_pd_conv(what == FD_CONV_FORWARD ? pd : &forward, e, &parts);
    parts.forward = forward;
    if (s == dnnl_success && what == FD_CONV_BWD_X) s = fd_dnnl_pd_conv_bwd_x(pd, e, &parts);
    parts.w = l.dw;
    if (s == dnnl_success && what == FD_CONV_BWD_W) s = fd_dnnl_pd_conv_bwd_w(pd, e, &parts);
    if (forward) dnnl_primitive_desc_destroy(forward);
    if (attr) dnnl_primitive_attr_destroy(attr);
    fd_md all[] = {l.x, l.y, l.w, l.dw, l.bias};
    for (size_t i = 0; i < FD_COUNT(all); i++) fd_md_free(all[i]);
    return s;
}

const char *fd_dnnl_name(dnnl_primitive_desc_t pd) {
    const char *name = "";
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
    return name;
}
