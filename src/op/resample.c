/* resample — depthwise filter with a factor of two: down, or up as its transpose.
 *   down: y[i,j] = gain * sum_{a,b} f[a] f[b] * x[2i + a - pad, 2j + b - pad]                 (x = 0 outside)
 *   up:   y[p,q] = gain * sum_{i,a: 2i + a - pad = p} sum_{j,b: 2j + b - pad = q} f[a] f[b] * x[i,j]
 * Shapes    x [N,C,H,W];  down: y [N,C,Ho,Wo], Ho = (H + 2 pad - ntaps)/2 + 1;  up: Ho = 2(H - 1) - 2 pad + ntaps
 * Attrs     up 0|1;  ntaps 2 or 4;  taps f, already divided by their sum;  pad;  gain (networks: 1 down, 4 up)
 * Numerics  sums in f32 or wider
 * Errors    SHAPE at graph build: ntaps not 2 or 4, picture too small, or a size that up does not restore
 * Backward  resample of the other direction with the same taps, pad and gain: exactly the adjoint (=)
 * Source    EDM networks.py Conv2d (resample_filter); algorithms.md 3.2
 */
#include "op/rule.h"

fd_status fd_infer_resample(fd_graph *g, fd_node *n) {
    const fd_value *x = FD_IN(g, n, 0);
    const fd_attr *a = &n->attr;
    if (!fd_rule_is_float(x)) return fd_shape_fail(g, n, "x must be f32 or bf16");
    if ((a->ntaps != 2 && a->ntaps != 4) || a->pad < 0)
        return fd_shape_fail(g, n, "the filter must have 2 or 4 taps and pad be at least 0");
    fd_shape y = x->s;
    if (a->up) {
        y.h = 2 * (y.h - 1) - 2 * (int64_t)a->pad + a->ntaps;
        y.w = 2 * (y.w - 1) - 2 * (int64_t)a->pad + a->ntaps;
        if (y.h < 1 || y.w < 1) return fd_shape_fail(g, n, "x is too small for this filter and padding");
    } else {
        y.h += 2 * (int64_t)a->pad - a->ntaps;
        y.w += 2 * (int64_t)a->pad - a->ntaps;
        if (y.h < 0 || y.w < 0) return fd_shape_fail(g, n, "x is too small for this filter and padding");
        if (y.h % 2 || y.w % 2) return fd_shape_fail(g, n, "height and width of x must be even to be halved");
        y.h = y.h / 2 + 1;
        y.w = y.w / 2 + 1;
    }
    return fd_set_out(g, n, 0, y, x->dt);
}

fd_status fd_vjp_resample(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx) {
    if (!gy[0] || !fd_wants(g, n->in[0])) return FD_OK;
    fd_attr a = n->attr;
    a.up = !a.up;
    return fd_rule_done(g, gx[0] = fd_graph_node(g, FD_OP_resample, gy, &a, NULL));
}

/* One output pixel: along each axis the inputs 2i + a - pad (down) or the i with 2i + a - pad = p (up). */
static double down_pixel(const fd_attr *at, const fd_buf *x, int64_t plane, int64_t i, int64_t j) {
    double sum = 0;
    for (int a = 0; a < at->ntaps; a++)
        for (int b = 0; b < at->ntaps; b++) {
            int64_t r = 2 * i + a - at->pad, s = 2 * j + b - at->pad;
            if (r < 0 || s < 0 || r >= x->s.h || s >= x->s.w) continue;
            sum += (double)at->taps[a] * at->taps[b] * fd_pixel(x, plane, r * x->s.w + s);
        }
    return sum * at->gain;
}
static double up_pixel(const fd_attr *at, const fd_buf *x, int64_t plane, int64_t p, int64_t q) {
    double sum = 0;
    for (int a = 0; a < at->ntaps; a++)
        for (int b = 0; b < at->ntaps; b++) {
            int64_t r = p + at->pad - a, s = q + at->pad - b;
            if (r < 0 || s < 0 || r % 2 || s % 2 || r / 2 >= x->s.h || s / 2 >= x->s.w) continue;
            sum += (double)at->taps[a] * at->taps[b] * fd_pixel(x, plane, r / 2 * x->s.w + s / 2);
        }
    return sum * at->gain;
}

void fd_ref_resample(const fd_call *c) {
    const fd_buf *x = &c->in[0], *y = &c->out[0];
#pragma omp parallel for collapse(2) num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < y->s.n; n++)
        for (int64_t k = 0; k < y->s.c; k++) {
            int64_t from = fd_plane(x, n, k), to = fd_plane(y, n, k);
            for (int64_t i = 0; i < y->s.h; i++)
                for (int64_t j = 0; j < y->s.w; j++)
                    fd_put_pixel(y, to, i * y->s.w + j, c->attr.up ? up_pixel(&c->attr, x, from, i, j)
                                                                  : down_pixel(&c->attr, x, from, i, j));
        }
}
