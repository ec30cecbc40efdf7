/* dnnl_glue.h — the few things every use of oneDNN needs: one engine and stream, layouts, reorders, status codes. */
#ifndef FD_CPU_DNNL_GLUE_H
#define FD_CPU_DNNL_GLUE_H

#include "cpu/cpu.h"
#include "cpu/dnnl_version.h"

/* Caps oneDNN at an instruction set named as in FD_MAX_ISA (NULL: no cap). Must come before any other use. True when
 * bf16 convolutions have fast kernels. */
bool fd_dnnl_limit_isa(const char *name);
/* Its bf16 convolutions use AMX. */
bool fd_dnnl_has_amx(void);

/* The process's engine and stream; NULL when oneDNN cannot start. */
dnnl_engine_t fd_dnnl_engine(void);
dnnl_stream_t fd_dnnl_stream(void);

/* Layout of a value, in number type dt; any: whichever the primitive likes. dnnl_unimplemented when oneDNN has no name for
 * the block. */
dnnl_status_t fd_dnnl_layout(fd_md *md, const fd_buf *b, dnnl_data_type_t dt, bool any);
static inline dnnl_data_type_t fd_dnnl_type(fd_dtype dt) { return dt == FD_BF16 ? dnnl_bf16 : dnnl_f32; }

/* A copy between two layouts; with add, into dst += src. */
typedef struct {
    dnnl_primitive_t prim;
    dnnl_memory_t scratch;        /* NULL when it needs none; its place is set by the caller */
    size_t bytes;                 /* of scratch */
} fd_dnnl_reorder;
/* Owner of what is in *r: the caller, until _free, after a failure too. */
dnnl_status_t fd_dnnl_reorder_new(fd_dnnl_reorder *r, fd_const_md from, fd_const_md to, bool add);
dnnl_status_t fd_dnnl_reorder_run(const fd_dnnl_reorder *r, dnnl_memory_t from, dnnl_memory_t to);
void fd_dnnl_reorder_free(fd_dnnl_reorder *r);     /* safe on {0} */

/* Records a library error as FD_E_DEVICE (FD_E_NOMEM when it was memory). */
fd_status fd_dnnl_fail(fd_ctx *ctx, dnnl_status_t s, const char *what);

/* Makes the library use the threads of this call. */
void fd_dnnl_threads(const fd_call *c);

#endif
