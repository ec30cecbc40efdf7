/* silu, softplus and their gradients, add, scale, cast, mix_rows: one loop over memory, whatever the layout, as long as all
 * operands have the same. */
#include "cpu/cpu.h"
#include "cpu/isa/rows.h"

enum { PIECE = 8192 };     /* elements a thread takes at a time; a multiple of every vector */

/* Elements [from, from + n) of the result. */
typedef void piece(const fd_rows *f, const fd_call *c, int64_t from, int64_t n);

/* cost: of one element, in additions */
static fd_status each_piece(const fd_call *c, int64_t cost, piece *p) {
    const fd_rows *f = fd_cpu_rows();
    const int64_t count = fd_count(c->out[0].s), pieces = (count + PIECE - 1) / PIECE;
#pragma omp parallel for schedule(static) num_threads(fd_team(c, pieces, PIECE * cost))
    for (int64_t i = 0; i < pieces; i++) p(f, c, i * PIECE, count - i * PIECE < PIECE ? count - i * PIECE : PIECE);
    return FD_OK;
}

static void *at(const fd_buf *b, int64_t i) { return (char *)b->p + i * (int64_t)fd_dtype_bytes(b->dt); }

/* One layout; the types may differ. */
static fd_status prepare_layout(fd_ctx *ctx, fd_call *c) {
    if (c->in[0].block != c->out[0].block) return FD_E_UNSUPPORTED;
    return fd_has(&c->in[1]) && c->in[1].block != c->out[0].block ? FD_E_UNSUPPORTED : FD_OK;
}
/* One layout and one type. */
static fd_status prepare_alike(fd_ctx *ctx, fd_call *c) {
    if (!fd_alike(&c->in[0], &c->out[0])) return FD_E_UNSUPPORTED;
    return fd_has(&c->in[1]) && !fd_alike(&c->in[1], &c->out[0]) ? FD_E_UNSUPPORTED : FD_OK;
}

static void silu_piece(const fd_rows *f, const fd_call *c, int64_t from, int64_t n) {
    f->silu(at(&c->out[0], from), at(&c->in[0], from), c->in[0].dt, n);
}
static fd_status run_silu(fd_ctx *ctx, const fd_call *c) { return each_piece(c, 4, silu_piece); }
const fd_kernel fd_cpu_silu = {prepare_alike, run_silu, NULL};

static void silu_bwd_piece(const fd_rows *f, const fd_call *c, int64_t from, int64_t n) {
    f->silu_bwd(at(&c->out[0], from), at(&c->in[0], from), at(&c->in[1], from), c->in[0].dt, n);
}
static fd_status run_silu_bwd(fd_ctx *ctx, const fd_call *c) { return each_piece(c, 4, silu_bwd_piece); }
const fd_kernel fd_cpu_silu_bwd = {prepare_alike, run_silu_bwd, NULL};

static void softplus_piece(const fd_rows *f, const fd_call *c, int64_t from, int64_t n) {
    f->softplus(at(&c->out[0], from), at(&c->in[0], from), c->in[0].dt, c->attr.a, n);
}
static fd_status run_softplus(fd_ctx *ctx, const fd_call *c) { return each_piece(c, 4, softplus_piece); }
const fd_kernel fd_cpu_softplus = {prepare_alike, run_softplus, NULL};

static void softplus_bwd_piece(const fd_rows *f, const fd_call *c, int64_t from, int64_t n) {
    f->softplus_bwd(at(&c->out[0], from), at(&c->in[0], from), at(&c->in[1], from), c->in[0].dt, c->attr.a, n);
}
static fd_status run_softplus_bwd(fd_ctx *ctx, const fd_call *c) { return each_piece(c, 4, softplus_bwd_piece); }
const fd_kernel fd_cpu_softplus_bwd = {prepare_alike, run_softplus_bwd, NULL};

static void add_piece(const fd_rows *f, const fd_call *c, int64_t from, int64_t n) {
    const fd_buf *x = &c->in[0], *y = &c->in[1], *z = &c->out[0];
    f->axpby(at(z, from), z->dt, at(x, from), x->dt, c->attr.a, at(y, from), y->dt, c->attr.b, n);
}
static fd_status run_add(fd_ctx *ctx, const fd_call *c) { return each_piece(c, 1, add_piece); }
const fd_kernel fd_cpu_add = {prepare_layout, run_add, NULL};

static void scale_piece(const fd_rows *f, const fd_call *c, int64_t from, int64_t n) {
    const fd_buf *x = &c->in[0], *y = &c->out[0];
    f->axpby(at(y, from), y->dt, at(x, from), x->dt, c->attr.a, NULL, x->dt, 0, n);
}
static fd_status run_scale(fd_ctx *ctx, const fd_call *c) { return each_piece(c, 1, scale_piece); }
const fd_kernel fd_cpu_scale = {prepare_layout, run_scale, NULL};

static void cast_piece(const fd_rows *f, const fd_call *c, int64_t from, int64_t n) {
    const fd_buf *x = &c->in[0], *y = &c->out[0];
    f->axpby(at(y, from), y->dt, at(x, from), x->dt, 1, NULL, x->dt, 0, n);
}
static fd_status run_cast(fd_ctx *ctx, const fd_call *c) { return each_piece(c, 1, cast_piece); }
const fd_kernel fd_cpu_cast = {prepare_layout, run_cast, NULL};

/* Pieces end with the samples. */
static fd_status run_mix_rows(fd_ctx *ctx, const fd_call *c) {
    const fd_rows *f = fd_cpu_rows();
    const fd_buf *x = &c->in[0], *y = &c->in[1], *z = &c->out[0];
    const float *a = c->in[2].p, *b = c->in[3].p;
    const int64_t each = fd_count(z->s) / z->s.n, pieces = (each + PIECE - 1) / PIECE;
#pragma omp parallel for collapse(2) schedule(static) num_threads(fd_team(c, z->s.n * pieces, each < PIECE ? each : PIECE))
    for (int64_t n = 0; n < z->s.n; n++)
        for (int64_t i = 0; i < pieces; i++) {
            int64_t from = n * each + i * PIECE, size = each - i * PIECE < PIECE ? each - i * PIECE : PIECE;
            f->axpby(at(z, from), z->dt, at(x, from), x->dt, a[n], y->p ? at(y, from) : NULL, y->dt, y->p ? b[n] : 0, size);
        }
    return FD_OK;
}
const fd_kernel fd_cpu_mix_rows = {prepare_layout, run_mix_rows, NULL};
