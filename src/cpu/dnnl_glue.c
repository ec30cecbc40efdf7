#include "cpu/dnnl_glue.h"

#include <omp.h>
#include <pthread.h>
#include <string.h>

bool fd_dnnl_limit_isa(const char *name) {
    static const struct { const char *name; dnnl_cpu_isa_t isa; } known[] = {
        {"sse41", dnnl_cpu_isa_sse41},
        {"avx", dnnl_cpu_isa_avx},
        {"avx2", dnnl_cpu_isa_avx2},
        {"avx2_vnni", dnnl_cpu_isa_avx2_vnni},
        {"avx512", dnnl_cpu_isa_default},
        {"avx512_core", dnnl_cpu_isa_avx512_core},
        {"avx512_core_vnni", dnnl_cpu_isa_avx512_core_vnni},
        {"avx512_core_bf16", dnnl_cpu_isa_avx512_core_bf16},
        {"avx512_core_amx", dnnl_cpu_isa_avx512_core_amx},
    };
    for (size_t i = 0; name && i < FD_COUNT(known); i++)
        if (!strcmp(name, known[i].name)) dnnl_set_max_cpu_isa(known[i].isa);
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
}

bool fd_dnnl_has_amx(void) {
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_amx) == dnnl_cpu_isa_avx512_core_amx;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static dnnl_engine_t engine;
static dnnl_stream_t stream;

static void start(void) {
    fd_cpu_isa();
    if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success) engine = NULL;
    else if (dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) != dnnl_success) stream = NULL;
}

dnnl_engine_t fd_dnnl_engine(void) {
    pthread_once(&once, start);
    return stream ? engine : NULL;
}

dnnl_stream_t fd_dnnl_stream(void) {
    pthread_once(&once, start);
    return stream;
}

dnnl_status_t fd_dnnl_layout(fd_md *md, const fd_buf *b, dnnl_data_type_t dt, bool any) {
    dnnl_dims_t dims = {b->s.n, b->s.c, b->s.h, b->s.w};
    dnnl_format_tag_t tag;
    *md = NULL;
    if (any) tag = dnnl_format_tag_any;
    else if (b->block == 1) tag = dnnl_nchw;
    else if (b->block == 16) tag = dnnl_nChw16c;
    else if (b->block == 8) tag = dnnl_nChw8c;
    else if (b->block == 4) tag = dnnl_nChw4c;
    else if (b->block == b->s.c) tag = dnnl_nhwc;
    else return dnnl_unimplemented;
    return fd_md_new(md, 4, dims, dt, tag);
}

dnnl_status_t fd_dnnl_reorder_new(fd_dnnl_reorder *r, fd_const_md from, fd_const_md to, bool add) {
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t post = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_engine_t e = fd_dnnl_engine();
    dnnl_status_t s = dnnl_primitive_attr_create(&attr);
    *r = (fd_dnnl_reorder){0};
    if (s == dnnl_success) s = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (s == dnnl_success && add) {
        s = dnnl_post_ops_create(&post);
        if (s == dnnl_success) s = fd_dnnl_add_sum(post);
        if (s == dnnl_success) s = dnnl_primitive_attr_set_post_ops(attr, post);
    }
    if (s == dnnl_success) s = dnnl_reorder_primitive_desc_create(&pd, from, e, to, e, attr);
    if (s == dnnl_success) {
        fd_const_md scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
        r->bytes = dnnl_memory_desc_get_size(scratch);
        s = dnnl_primitive_create(&r->prim, pd);
        if (s == dnnl_success && r->bytes) s = dnnl_memory_create(&r->scratch, scratch, e, DNNL_MEMORY_NONE);
    }
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (post) dnnl_post_ops_destroy(post);
    if (attr) dnnl_primitive_attr_destroy(attr);
    return s;
}

dnnl_status_t fd_dnnl_reorder_run(const fd_dnnl_reorder *r, dnnl_memory_t from, dnnl_memory_t to) {
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}, {DNNL_ARG_SCRATCHPAD, r->scratch}};
    return dnnl_primitive_execute(r->prim, fd_dnnl_stream(), r->scratch ? 3 : 2, args);
}

void fd_dnnl_reorder_free(fd_dnnl_reorder *r) {
    if (r->scratch) dnnl_memory_destroy(r->scratch);
    if (r->prim) dnnl_primitive_destroy(r->prim);
    *r = (fd_dnnl_reorder){0};
}

fd_status fd_dnnl_fail(fd_ctx *ctx, dnnl_status_t s, const char *what) {
    if (s == dnnl_out_of_memory) return FD_FAIL(ctx, FD_E_NOMEM, "%s: oneDNN ran out of memory; use a smaller batch", what);
    return FD_FAIL(ctx, FD_E_DEVICE, "%s: oneDNN status %d; FD_CONV=direct and FD_MAX_ISA=avx2 choose simpler kernels", what, (int)s);
}

void fd_dnnl_threads(const fd_call *c) {
    if (c->threads > 0 && omp_get_max_threads() != c->threads) omp_set_num_threads(c->threads);
}
