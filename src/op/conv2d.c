/* conv2d — two-dimensional convolution (cross-correlation) with zero padding, optional bias and optional ReLU.
 *   y[n,k,i,j] = b[k] + sum_{c,r,s} w[k,c,r,s] * x[n, c, i*stride + r - pad, j*stride + s - pad_w]   (x = 0 outside)
 *   act 1: max(y, 0)
 * Shapes    x [N,C,H,W];  w [K,C,R,S] and b [K] parameters, row-major f32;  y [N,K,Ho,Wo],
 *           Ho = floor((H + 2 pad - R) / stride) + 1, Wo likewise with pad_w and S
 * Attrs     stride >= 1;  pad, pad_w >= 0;  act 0 none, 1 relu;  dt type of y (default: that of x)
 * Numerics  sums in f32 or wider for every dtype
 * Errors    SHAPE at graph build: channels of x and w differ, window larger than the padded picture, wrong bias
 * Backward  with act 1 first relu_bwd on y;  conv2d_bwd_x: dx (=);  conv2d_bwd_w: dw (+=), db (+=)
 * Source    EDM networks.py Conv2d (without its resampling)
 *
 * conv2d_bwd_x — gradient with respect to x, the adjoint of conv2d.
 *   dx[n,c,y,x] = sum_{k,r,s: i*stride + r - pad = y, j*stride + s - pad_w = x} w[k,c,r,s] * dy[n,k,i,j]
 * Shapes    dy [N,K,Ho,Wo];  w [K,C,R,S];  dx [N,C,h,w]
 * Attrs     stride, pad, pad_w as forward;  h, w size of dx;  dt type of dx (default: that of dy)
 *
 * conv2d_bwd_w — gradients with respect to w and b, added to what the accumulators hold.
 *   dw[k,c,r,s] += sum_{n,i,j} dy[n,k,i,j] * x[n, c, i*stride + r - pad, j*stride + s - pad_w]
 *   db[k]       += sum_{n,i,j} dy[n,k,i,j]
 * Shapes    dy [N,K,Ho,Wo];  x [N,C,H,W];  dw [K,C,R,S], db [K] parameter gradients (f32)
 */
#include "op/rule.h"

/* Height and width of y, 0 where the window does not fit. */
static int64_t out_size(int64_t size, int64_t window, int stride, int pad) {
    int64_t room = size + 2 * (int64_t)pad - window;
    return room < 0 ? 0 : room / stride + 1;
}
static int64_t out_h(int64_t h, fd_shape w, const fd_attr *a) { return out_size(h, w.h, a->stride, a->pad); }
static int64_t out_w(int64_t width, fd_shape w, const fd_attr *a) { return out_size(width, w.w, a->stride, a->pad_w); }
static bool sensible(const fd_attr *a) { return a->stride >= 1 && a->pad >= 0 && a->pad_w >= 0; }

fd_status fd_infer_conv2d(fd_graph *g, fd_node *n) {
    const fd_value *x = FD_IN(g, n, 0), *w = FD_IN(g, n, 1);
    if (!fd_rule_is_float(x) || !fd_rule_is_f32(w)) return fd_shape_fail(g, n, "x must be f32 or bf16 and w f32");
    if (!sensible(&n->attr))
        return fd_shape_fail(g, n, "stride must be at least 1 and pad at least 0");
    if (x->s.c != w->s.c) return fd_shape_fail(g, n, "x must have as many channels as w has inputs");
    if (n->in[2] && fd_count(FD_IN(g, n, 2)->s) != w->s.n)
        return fd_shape_fail(g, n, "b must have one number per output of w");
    fd_shape y = {x->s.n, w->s.n, out_h(x->s.h, w->s, &n->attr), out_w(x->s.w, w->s, &n->attr)};
    if (y.h < 1 || y.w < 1) return fd_shape_fail(g, n, "the window is larger than the padded picture");
    return fd_set_out(g, n, 0, y, fd_rule_dtype(g, n));
}

fd_status fd_vjp_conv2d(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx) {
    if (!gy[0]) return FD_OK;
    fd_val dy = gy[0];
    if (n->attr.act) {
        fd_val in[] = {dy, n->out[0]};
        fd_attr a = {0};
        FD_TRY(fd_rule_done(g, dy = fd_graph_node(g, FD_OP_relu_bwd, in, &a, NULL)));
    }
    if (fd_wants(g, n->in[0])) {
        fd_attr a = fd_rule_attr(g, n, n->in[0]);
        a.h = (int)g->val[n->in[0]].s.h;
        a.w = (int)g->val[n->in[0]].s.w;
        a.act = 0;
        fd_val in[] = {dy, n->in[1]};
        FD_TRY(fd_rule_done(g, gx[0] = fd_graph_node(g, FD_OP_conv2d_bwd_x, in, &a, NULL)));
    }
    fd_val out[] = {fd_rule_pgrad(g, n->in[1]), fd_rule_pgrad(g, n->in[2])};
    if (out[0] == FD_UNWANTED) return FD_OK;
    fd_attr a = n->attr;
    a.dt_set = 0;
    a.act = 0;
    fd_val in[] = {dy, n->in[0]};
    return fd_rule_done(g, fd_graph_node(g, FD_OP_conv2d_bwd_w, in, &a, out));
}

fd_status fd_infer_conv2d_bwd_x(fd_graph *g, fd_node *n) {
    const fd_value *dy = FD_IN(g, n, 0), *w = FD_IN(g, n, 1);
    if (!fd_rule_is_float(dy) || !fd_rule_is_f32(w)) return fd_shape_fail(g, n, "dy must be f32 or bf16 and w f32");
    if (!sensible(&n->attr))
        return fd_shape_fail(g, n, "stride must be at least 1 and pad at least 0");
    if (dy->s.c != w->s.n) return fd_shape_fail(g, n, "dy must have as many channels as w has outputs");
    fd_shape dx = {dy->s.n, w->s.c, n->attr.h, n->attr.w};
    if (dx.h < 1 || dx.w < 1 || out_h(dx.h, w->s, &n->attr) != dy->s.h ||
        out_w(dx.w, w->s, &n->attr) != dy->s.w)
        return fd_shape_fail(g, n, "a picture of the size in attributes h, w does not give dy");
    return fd_set_out(g, n, 0, dx, fd_rule_dtype(g, n));
}

fd_status fd_infer_conv2d_bwd_w(fd_graph *g, fd_node *n) {
    const fd_value *dy = FD_IN(g, n, 0), *x = FD_IN(g, n, 1);
    if (!fd_rule_is_float(dy) || !fd_rule_is_float(x)) return fd_shape_fail(g, n, "dy and x must be f32 or bf16");
    if (!sensible(&n->attr))
        return fd_shape_fail(g, n, "stride must be at least 1 and pad at least 0");
    if (n->out[0] <= 0 || g->val[n->out[0]].kind != FD_VAL_PGRAD)
        return fd_shape_fail(g, n, "dw must be the gradient of a parameter");
    fd_shape w = g->val[n->out[0]].s;
    if (dy->s.n != x->s.n || w.n != dy->s.c || w.c != x->s.c || out_h(x->s.h, w, &n->attr) != dy->s.h ||
        out_w(x->s.w, w, &n->attr) != dy->s.w)
        return fd_shape_fail(g, n, "dy, x and dw do not belong to one convolution");
    FD_TRY(fd_set_out(g, n, 0, w, FD_F32));
    return fd_set_out(g, n, 1, (fd_shape){1, dy->s.c, 1, 1}, FD_F32);
}

/* The references work on pieces of a row, so that the sums of a piece stay in a small array. */
enum { PIECE = 64 };
static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t div_up(int64_t a, int64_t b) { return a <= 0 ? -(-a / b) : (a + b - 1) / b; }

void fd_ref_conv2d(const fd_call *c) {
    const fd_buf *x = &c->in[0], *w = &c->in[1], *b = &c->in[2], *y = &c->out[0];
    const int64_t stride = c->attr.stride, pad = c->attr.pad, pad_w = c->attr.pad_w;
#pragma omp parallel for collapse(2) num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < y->s.n; n++) {
        for (int64_t k = 0; k < y->s.c; k++) {
            int64_t out = fd_plane(y, n, k);
            double bias = b->p ? fd_get(b, k) : 0.0;
            for (int64_t i = 0; i < y->s.h; i++)
            for (int64_t j0 = 0; j0 < y->s.w; j0 += PIECE) {
                double sum[PIECE];
                int64_t len = min64(PIECE, y->s.w - j0);
                for (int64_t j = 0; j < len; j++) sum[j] = bias;
                for (int64_t ci = 0; ci < x->s.c; ci++)
                for (int64_t r = 0; r < w->s.h; r++) {
                    int64_t row = i * stride + r - pad;
                    if (row < 0 || row >= x->s.h) continue;
                    int64_t in = fd_plane(x, n, ci);
                    for (int64_t s = 0; s < w->s.w; s++) {
                        double f = fd_get(w, fd_at(w, k, ci, r, s));
                        int64_t first = max64(j0, div_up(pad_w - s, stride)) - j0;
                        int64_t last = min64(len, div_up(x->s.w + pad_w - s, stride) - j0);
                        int64_t at = row * x->s.w + j0 * stride + s - pad_w;
                        for (int64_t j = first; j < last; j++) sum[j] += f * fd_pixel(x, in, at + j * stride);
                    }
                }
                for (int64_t j = 0; j < len; j++)
                    fd_put_pixel(y, out, i * y->s.w + j0 + j, c->attr.act && sum[j] < 0 ? 0 : sum[j]);
            }
        }
    }
}

void fd_ref_conv2d_bwd_x(const fd_call *c) {
    const fd_buf *dy = &c->in[0], *w = &c->in[1], *dx = &c->out[0];
    const int64_t stride = c->attr.stride, pad = c->attr.pad, pad_w = c->attr.pad_w;
#pragma omp parallel for collapse(2) num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < dx->s.n; n++) {
        for (int64_t ci = 0; ci < dx->s.c; ci++) {
            int64_t out = fd_plane(dx, n, ci);
            for (int64_t row = 0; row < dx->s.h; row++)
            for (int64_t x0 = 0; x0 < dx->s.w; x0 += PIECE) {
                double sum[PIECE] = {0};
                int64_t len = min64(PIECE, dx->s.w - x0);
                for (int64_t k = 0; k < dy->s.c; k++)
                for (int64_t r = 0; r < w->s.h; r++) {
                    int64_t t = row + pad - r, i = t / stride;
                    if (t < 0 || t % stride || i >= dy->s.h) continue;
                    int64_t in = fd_plane(dy, n, k);
                    for (int64_t s = 0; s < w->s.w; s++) {
                        double f = fd_get(w, fd_at(w, k, ci, r, s));
                        int64_t first = max64(0, div_up(x0 + pad_w - s, stride));
                        int64_t last = min64(dy->s.w, div_up(x0 + len + pad_w - s, stride));
                        for (int64_t j = first; j < last; j++)
                            sum[j * stride + s - pad_w - x0] += f * fd_pixel(dy, in, i * dy->s.w + j);
                    }
                }
                for (int64_t j = 0; j < len; j++) fd_put_pixel(dx, out, row * dx->s.w + x0 + j, sum[j]);
            }
        }
    }
}

void fd_ref_conv2d_bwd_w(const fd_call *c) {
    const fd_buf *dy = &c->in[0], *x = &c->in[1], *dw = &c->out[0], *db = &c->out[1];
    const int64_t stride = c->attr.stride, pad = c->attr.pad, pad_w = c->attr.pad_w;
#pragma omp parallel for collapse(2) num_threads(fd_ref_threads(c))
    for (int64_t k = 0; k < dw->s.n; k++) {
        for (int64_t ci = 0; ci < dw->s.c; ci++) {
            for (int64_t r = 0; r < dw->s.h; r++)
            for (int64_t s = 0; s < dw->s.w; s++) {
                double sum = 0;
                int64_t first = max64(0, div_up(pad_w - s, stride));
                int64_t last = min64(dy->s.w, div_up(x->s.w + pad_w - s, stride));
                for (int64_t n = 0; n < dy->s.n; n++) {
                    int64_t gy = fd_plane(dy, n, k), in = fd_plane(x, n, ci);
                    for (int64_t i = 0; i < dy->s.h; i++) {
                        int64_t row = i * stride + r - pad;
                        if (row < 0 || row >= x->s.h) continue;
                        int64_t at = row * x->s.w + s - pad_w;
                        for (int64_t j = first; j < last; j++)
                            sum += (double)fd_pixel(dy, gy, i * dy->s.w + j) * fd_pixel(x, in, at + j * stride);
                    }
                }
                int64_t at = fd_at(dw, k, ci, r, s);
                fd_put(dw, at, (float)(fd_get(dw, at) + sum));
            }
        }
    }
    if (!db->p) return;
    for (int64_t k = 0; k < dy->s.c; k++) {
        double sum = 0;
        for (int64_t n = 0; n < dy->s.n; n++)
            for (int64_t i = 0, at = fd_plane(dy, n, k); i < fd_pixels(dy->s); i++) sum += fd_pixel(dy, at, i);
        fd_put(db, k, (float)(fd_get(db, k) + sum));
    }
}
