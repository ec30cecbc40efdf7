/* dnnl_glue.h — the few things every use of oneDNN needs: one engine and stream, layouts, reorders, status codes. */
#ifndef FD_CPU_DNNL_GLUE_H
#define FD_CPU_DNNL_GLUE_H

#include <dnnl.h>

#include "cpu/cpu.h"

/* Caps oneDNN at an instruction set named as in FD_MAX_ISA (NULL: no cap). Must come before any other use. True when
 * bf16 convolutions have fast kernels. */
bool fd_dnnl_limit_isa(const char *name);
/* Its bf16 convolutions use AMX. */
bool fd_dnnl_has_amx(void);

/* The process's engine and stream; NULL when oneDNN cannot start. */
dnnl_engine_t fd_dnnl_engine(void);
dnnl_stream_t fd_dnnl_stream(void);

/* Layout of a value, in number type dt; false when oneDNN has no name for the block. */
bool fd_dnnl_layout(dnnl_memory_desc_t *md, const fd_buf *b, dnnl_data_type_t dt);
static inline dnnl_data_type_t fd_dnnl_type(fd_dtype dt) { return dt == FD_BF16 ? dnnl_bf16 : dnnl_f32; }

/* A copy between two layouts; with add, into dst += src. scratch: bytes it needs. */
typedef struct {
    dnnl_primitive_t prim;
    size_t scratch;
    dnnl_memory_desc_t scratch_md;
} fd_dnnl_reorder;
dnnl_status_t fd_dnnl_reorder_new(fd_dnnl_reorder *r, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, bool add);
dnnl_status_t fd_dnnl_reorder_run(const fd_dnnl_reorder *r, dnnl_memory_t from, dnnl_memory_t to, dnnl_memory_t scratch);

/* Records a library error as FD_E_DEVICE (FD_E_NOMEM when it was memory). */
fd_status fd_dnnl_fail(fd_ctx *ctx, dnnl_status_t s, const char *what);

/* Makes the library use the threads of this call. */
void fd_dnnl_threads(const fd_call *c);

#endif
