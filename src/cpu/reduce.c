/* sq_err, sq_err_bwd, sum_rows, mean_hw and the adjoints of the last two: sums within a sample, by one thread each, and
 * numbers spread over a sample. */
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/isa/rows.h"

static int64_t each_of(const fd_buf *b) { return b->s.c * fd_pixels(b->s); }
static void *at(const fd_buf *b, int64_t i) { return (char *)b->p + i * (int64_t)fd_dtype_bytes(b->dt); }

/* d and y may be added element by element wherever they lie. */
static fd_status prepare_sq_err(fd_ctx *ctx, fd_call *c) {
    return c->in[0].block == c->in[1].block ? FD_OK : FD_E_UNSUPPORTED;
}
static fd_status run_sq_err(fd_ctx *ctx, const fd_call *c) {
    const fd_rows *f = fd_cpu_rows();
    const fd_buf *d = &c->in[0], *y = &c->in[1];
    const int64_t each = each_of(d);
#pragma omp parallel for schedule(static) num_threads(fd_team(c, d->s.n, each))
    for (int64_t n = 0; n < d->s.n; n++) {
        double sum = f->sum_sq_diff(at(d, n * each), d->dt, at(y, n * each), y->dt, each);
        ((float *)c->out[0].p)[n] = (float)(((const float *)c->in[2].p)[n] * sum);
    }
    return FD_OK;
}
const fd_kernel fd_cpu_sq_err = {prepare_sq_err, run_sq_err, NULL};

static fd_status prepare_sq_err_bwd(fd_ctx *ctx, fd_call *c) {
    return fd_alike(&c->in[1], &c->out[0]) && c->in[2].block == c->out[0].block ? FD_OK : FD_E_UNSUPPORTED;
}
static fd_status run_sq_err_bwd(fd_ctx *ctx, const fd_call *c) {
    const fd_rows *f = fd_cpu_rows();
    const fd_buf *d = &c->in[1], *y = &c->in[2], *dd = &c->out[0];
    const float *dloss = c->in[0].p, *w = c->in[3].p;
    const int64_t each = each_of(d);
#pragma omp parallel for schedule(static) num_threads(fd_team(c, d->s.n, each))
    for (int64_t n = 0; n < d->s.n; n++)
        f->diff(at(dd, n * each), at(d, n * each), d->dt, at(y, n * each), y->dt, 2 * w[n] * dloss[n], each);
    return FD_OK;
}
const fd_kernel fd_cpu_sq_err_bwd = {prepare_sq_err_bwd, run_sq_err_bwd, NULL};

static fd_status run_sum_rows(fd_ctx *ctx, const fd_call *c) {
    const fd_rows *f = fd_cpu_rows();
    const fd_buf *x = &c->in[0];
    const int64_t each = each_of(x);
#pragma omp parallel for schedule(static) num_threads(fd_team(c, x->s.n, each))
    for (int64_t n = 0; n < x->s.n; n++) ((float *)c->out[0].p)[n] = (float)f->sum(at(x, n * each), x->dt, each);
    return FD_OK;
}
const fd_kernel fd_cpu_sum_rows = {NULL, run_sum_rows, NULL};

/* count elements from position i of y become v */
static void fill(const fd_buf *y, int64_t i, int64_t count, float v) {
    const uint16_t half = fd_f32_to_bf16(v);
    if (y->dt == FD_BF16)
        for (int64_t k = 0; k < count; k++) ((uint16_t *)y->p)[i + k] = half;
    else
        for (int64_t k = 0; k < count; k++) ((float *)y->p)[i + k] = v;
}

static fd_status run_broadcast_rows(fd_ctx *ctx, const fd_call *c) {
    const fd_buf *y = &c->out[0];
    const int64_t each = each_of(y);
#pragma omp parallel for schedule(static) num_threads(fd_team(c, y->s.n, each))
    for (int64_t n = 0; n < y->s.n; n++) fill(y, n * each, each, fd_get(&c->in[0], n));
    return FD_OK;
}
const fd_kernel fd_cpu_broadcast_rows = {NULL, run_broadcast_rows, NULL};

/* Up to 16 channels of a sample at a time. */
enum { LANES = 16 };
static int64_t lanes_of(const fd_buf *b) { return b->block < LANES ? b->block : LANES; }

static fd_status prepare_hw(fd_ctx *ctx, fd_call *c) {
    const fd_buf *large = fd_pixels(c->in[0].s) > 1 ? &c->in[0] : &c->out[0];
    return large->s.c % lanes_of(large) == 0 && large->block % lanes_of(large) == 0 ? FD_OK : FD_E_UNSUPPORTED;
}

static fd_status run_mean_hw(fd_ctx *ctx, const fd_call *c) {
    const fd_buf *x = &c->in[0];
    const int64_t w = lanes_of(x), hw = fd_pixels(x->s), items = x->s.n * (x->s.c / w);
#pragma omp parallel for schedule(static) num_threads(fd_team(c, items, w * hw))
    for (int64_t item = 0; item < items; item++) {
        const int64_t from = fd_at(x, item / (x->s.c / w), item % (x->s.c / w) * w, 0, 0);
        double sum[LANES] = {0};
        for (int64_t i = 0; i < hw; i++)
            for (int64_t k = 0; k < w; k++) sum[k] += fd_get(x, from + i * x->block + k);
        for (int64_t k = 0; k < w; k++) ((float *)c->out[0].p)[item * w + k] = (float)(sum[k] / (double)hw);
    }
    return FD_OK;
}
const fd_kernel fd_cpu_mean_hw = {prepare_hw, run_mean_hw, NULL};

static fd_status run_broadcast_hw(fd_ctx *ctx, const fd_call *c) {
    const fd_buf *g = &c->in[0], *y = &c->out[0];
    const int64_t w = lanes_of(y), hw = fd_pixels(y->s), items = y->s.n * (y->s.c / w);
#pragma omp parallel for schedule(static) num_threads(fd_team(c, items, w * hw))
    for (int64_t item = 0; item < items; item++) {
        const int64_t to = fd_at(y, item / (y->s.c / w), item % (y->s.c / w) * w, 0, 0);
        float v[LANES];
        for (int64_t k = 0; k < w; k++) v[k] = (float)(fd_get(g, item * w + k) / (double)hw);
        if (y->block == 1) {
            fill(y, to, hw, v[0]);
            continue;
        }
        for (int64_t i = 0; i < hw; i++)
            for (int64_t k = 0; k < w; k++) fd_put(y, to + i * y->block + k, v[k]);
    }
    return FD_OK;
}
const fd_kernel fd_cpu_broadcast_hw = {prepare_hw, run_broadcast_hw, NULL};
