#include "cpu/dnnl_version.h"

#include <string.h>

#include "base/arena.h"

#if DNNL_VERSION_MAJOR >= 3

dnnl_status_t fd_md_new(fd_md *out, int n, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag) {
    *out = NULL;
    return dnnl_memory_desc_create_with_tag(out, n, dims, type, tag);
}

void fd_md_free(fd_md md) {
    if (md) dnnl_memory_desc_destroy(md);
}

static dnnl_status_t copy_dims(fd_const_md md, dnnl_query_t what, int n, dnnl_dims_t to) {
    const dnnl_dims_t *from;
    dnnl_status_t s = dnnl_memory_desc_query(md, what, &from);
    if (s == dnnl_success) memcpy(to, *from, (size_t)n * sizeof *to);
    return s;
}

dnnl_status_t fd_md_key_of(fd_const_md md, fd_md_key *key) {
    dnnl_format_kind_t kind;
    dnnl_data_type_t type;
    memset(key, 0, sizeof *key);
    dnnl_status_t s = dnnl_memory_desc_query(md, dnnl_query_format_kind, &kind);
    if (s == dnnl_success && kind != dnnl_blocked) return dnnl_unimplemented;
    if (s == dnnl_success) s = dnnl_memory_desc_query(md, dnnl_query_data_type, &type);
    if (s == dnnl_success) s = dnnl_memory_desc_query(md, dnnl_query_ndims_s32, &key->n);
    if (s == dnnl_success) s = dnnl_memory_desc_query(md, dnnl_query_inner_nblks_s32, &key->levels);
    if (s == dnnl_success) s = copy_dims(md, dnnl_query_dims, key->n, key->dims);
    if (s == dnnl_success) s = copy_dims(md, dnnl_query_padded_dims, key->n, key->padded);
    if (s == dnnl_success) s = copy_dims(md, dnnl_query_strides, key->n, key->strides);
    if (s == dnnl_success) s = copy_dims(md, dnnl_query_inner_blks, key->levels, key->blocks);
    if (s == dnnl_success) s = copy_dims(md, dnnl_query_inner_idxs, key->levels, key->axes);
    if (s == dnnl_success) key->type = (int)type;
    return s;
}

dnnl_status_t fd_dnnl_add_sum(dnnl_post_ops_t ops) { return dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef); }
dnnl_status_t fd_dnnl_add_relu(dnnl_post_ops_t ops) { return dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0, 0); }

dnnl_status_t fd_dnnl_pd_conv(dnnl_primitive_desc_t *pd, dnnl_engine_t e, const fd_dnnl_conv_parts *p) {
    return dnnl_convolution_forward_primitive_desc_create(pd, e, dnnl_forward_training, dnnl_convolution_direct, p->x, p->w, p->bias,
                                                          p->y, p->stride, NULL, p->before, p->after, p->attr);
}

dnnl_status_t fd_dnnl_pd_conv_bwd_x(dnnl_primitive_desc_t *pd, dnnl_engine_t e, const fd_dnnl_conv_parts *p) {
    return dnnl_convolution_backward_data_primitive_desc_create(pd, e, dnnl_convolution_direct, p->x, p->w, p->y, p->stride, NULL,
                                                                p->before, p->after, p->forward, p->attr);
}

dnnl_status_t fd_dnnl_pd_conv_bwd_w(dnnl_primitive_desc_t *pd, dnnl_engine_t e, const fd_dnnl_conv_parts *p) {
    return dnnl_convolution_backward_weights_primitive_desc_create(pd, e, dnnl_convolution_direct, p->x, p->w, p->bias, p->y,
                                                                   p->stride, NULL, p->before, p->after, p->forward, p->attr);
}

dnnl_status_t fd_dnnl_pd_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t e, fd_const_md a, fd_const_md b, fd_const_md c) {
    return dnnl_matmul_primitive_desc_create(pd, e, a, b, NULL, c, NULL);
}

#else

dnnl_status_t fd_md_new(fd_md *out, int n, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag) {
    fd_ctx quiet = {0};
    *out = fd_alloc(&quiet, sizeof **out);
    if (!*out) return dnnl_out_of_memory;
    dnnl_status_t s = dnnl_memory_desc_init_by_tag(*out, n, dims, type, tag);
    if (s == dnnl_success) return s;
    fd_free(*out);
    *out = NULL;
    return s;
}

void fd_md_free(fd_md md) { fd_free(md); }

dnnl_status_t fd_md_key_of(fd_const_md md, fd_md_key *key) {
    const dnnl_blocking_desc_t *b = &md->format_desc.blocking;
    memset(key, 0, sizeof *key);
    if (md->format_kind != dnnl_blocked) return dnnl_unimplemented;
    key->n = md->ndims;
    key->levels = b->inner_nblks;
    key->type = (int)md->data_type;
    key->special = (int)md->extra.flags;
    memcpy(key->dims, md->dims, (size_t)key->n * sizeof *key->dims);
    memcpy(key->padded, md->padded_dims, (size_t)key->n * sizeof *key->dims);
    memcpy(key->strides, b->strides, (size_t)key->n * sizeof *key->dims);
    memcpy(key->blocks, b->inner_blks, (size_t)key->levels * sizeof *key->dims);
    memcpy(key->axes, b->inner_idxs, (size_t)key->levels * sizeof *key->dims);
    return dnnl_success;
}

dnnl_status_t fd_dnnl_add_sum(dnnl_post_ops_t ops) { return dnnl_post_ops_append_sum(ops, 1); }
dnnl_status_t fd_dnnl_add_relu(dnnl_post_ops_t ops) { return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, 0, 0); }

dnnl_status_t fd_dnnl_pd_conv(dnnl_primitive_desc_t *pd, dnnl_engine_t e, const fd_dnnl_conv_parts *p) {
    dnnl_convolution_desc_t d;
    dnnl_status_t s = dnnl_convolution_forward_desc_init(&d, dnnl_forward_training, dnnl_convolution_direct, p->x, p->w, p->bias, p->y,
                                                         p->stride, p->before, p->after);
    return s == dnnl_success ? dnnl_primitive_desc_create(pd, &d, p->attr, e, NULL) : s;
}

dnnl_status_t fd_dnnl_pd_conv_bwd_x(dnnl_primitive_desc_t *pd, dnnl_engine_t e, const fd_dnnl_conv_parts *p) {
    dnnl_convolution_desc_t d;
    dnnl_status_t s = dnnl_convolution_backward_data_desc_init(&d, dnnl_convolution_direct, p->x, p->w, p->y, p->stride, p->before,
                                                               p->after);
    return s == dnnl_success ? dnnl_primitive_desc_create(pd, &d, p->attr, e, p->forward) : s;
}

dnnl_status_t fd_dnnl_pd_conv_bwd_w(dnnl_primitive_desc_t *pd, dnnl_engine_t e, const fd_dnnl_conv_parts *p) {
    dnnl_convolution_desc_t d;
    dnnl_status_t s = dnnl_convolution_backward_weights_desc_init(&d, dnnl_convolution_direct, p->x, p->w, p->bias, p->y, p->stride,
                                                                  p->before, p->after);
    return s == dnnl_success ? dnnl_primitive_desc_create(pd, &d, p->attr, e, p->forward) : s;
}

dnnl_status_t fd_dnnl_pd_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t e, fd_const_md a, fd_const_md b, fd_const_md c) {
    dnnl_matmul_desc_t d;
    dnnl_status_t s = dnnl_matmul_desc_init(&d, a, b, NULL, c);
    return s == dnnl_success ? dnnl_primitive_desc_create(pd, &d, NULL, e, NULL) : s;
}

#endif
