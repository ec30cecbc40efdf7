/* dnnl_version.h — the one place that knows oneDNN 2 from oneDNN 3.
 *
 * Version 3 made descriptors of memory opaque and dropped the descriptors of operations. The rest of the backend is written
 * for version 3's way: a layout is a handle that is made, asked and freed. What is called dnnl_… elsewhere means the same
 * in both. */
#ifndef FD_CPU_DNNL_VERSION_H
#define FD_CPU_DNNL_VERSION_H

#include <dnnl.h>

#if DNNL_VERSION_MAJOR < 2 || (DNNL_VERSION_MAJOR == 2 && DNNL_VERSION_MINOR < 6)
#error "oneDNN 2.6 or newer is needed"
#endif

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t fd_md;
typedef const_dnnl_memory_desc_t fd_const_md;
#else
typedef dnnl_memory_desc_t *fd_md;
typedef const dnnl_memory_desc_t *fd_const_md;
#define dnnl_cpu_isa_default dnnl_cpu_isa_all
#endif

/* Owner of *out: the caller, until fd_md_free (NULL allowed). *out is NULL after a failure. */
dnnl_status_t fd_md_new(fd_md *out, int n, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag);
void fd_md_free(fd_md md);

/* Bytes that are equal for equal layouts: what packed weights are shared by. */
typedef struct {
    dnnl_dims_t dims, padded, strides, blocks, axes;
    int n, levels, type, special;
} fd_md_key;
dnnl_status_t fd_md_key_of(fd_const_md md, fd_md_key *key);

dnnl_status_t fd_dnnl_add_sum(dnnl_post_ops_t ops);        /* dst += */
dnnl_status_t fd_dnnl_add_relu(dnnl_post_ops_t ops);

/* A convolution: strides and padding per axis; bias NULL for none. forward: the hint that gradients want. */
typedef struct {
    fd_const_md x, w, bias, y;
    const dnnl_dim_t *stride, *before, *after;
    const_dnnl_primitive_attr_t attr;
    const_dnnl_primitive_desc_t forward;
} fd_dnnl_conv_parts;
dnnl_status_t fd_dnnl_pd_conv(dnnl_primitive_desc_t *pd, dnnl_engine_t e, const fd_dnnl_conv_parts *p);
dnnl_status_t fd_dnnl_pd_conv_bwd_x(dnnl_primitive_desc_t *pd, dnnl_engine_t e, const fd_dnnl_conv_parts *p);
dnnl_status_t fd_dnnl_pd_conv_bwd_w(dnnl_primitive_desc_t *pd, dnnl_engine_t e, const fd_dnnl_conv_parts *p);
dnnl_status_t fd_dnnl_pd_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t e, fd_const_md a, fd_const_md b, fd_const_md c);

#endif
