/* max_pool — the largest value of each window; pixels outside the picture do not take part.
 *   y[n,c,i,j] = max_{r,s} x[n, c, i*stride + r - pad, j*stride + s - pad_w],  0 <= r, s < window
 * Shapes    x [N,C,H,W];  y [N,C,Ho,Wo], Ho = floor((H + 2 pad - window) / stride) + 1, Wo likewise with pad_w
 * Attrs     window >= 1;  stride >= 1;  0 <= pad, pad_w <= window / 2, so that every window meets the picture
 * Errors    SHAPE at graph build: those limits, or a window larger than the padded picture
 * Backward  none: only the feature networks of src/eval pool, and they are never trained
 * Source    torch.nn.functional.max_pool2d
 *
 * avg_pool — the mean of each window over the pixels inside the picture: the border does not count.
 *   y[n,c,i,j] = sum_{r,s inside} x[…] / number of pixels inside
 * Shapes, attributes and errors of max_pool. Numerics: the sum in f32 or wider. Backward: none.
 * Source    torch.nn.functional.avg_pool2d(count_include_pad=False); TensorFlow's average pooling with SAME padding
 */
#include "op/rule.h"

static fd_status infer(fd_graph *g, fd_node *n) {
    const fd_value *x = FD_IN(g, n, 0);
    const fd_attr *a = &n->attr;
    if (!fd_rule_is_float(x)) return fd_shape_fail(g, n, "x must be f32 or bf16");
    if (a->window < 1 || a->stride < 1) return fd_shape_fail(g, n, "window and stride must be at least 1");
    if (a->pad < 0 || a->pad_w < 0 || a->pad > a->window / 2 || a->pad_w > a->window / 2)
        return fd_shape_fail(g, n, "the border must be at most half a window");
    int64_t h = x->s.h + 2 * (int64_t)a->pad - a->window, w = x->s.w + 2 * (int64_t)a->pad_w - a->window;
    if (h < 0 || w < 0) return fd_shape_fail(g, n, "the window is larger than the padded picture");
    return fd_set_out(g, n, 0, (fd_shape){x->s.n, x->s.c, h / a->stride + 1, w / a->stride + 1}, x->dt);
}

fd_status fd_infer_max_pool(fd_graph *g, fd_node *n) { return infer(g, n); }
fd_status fd_infer_avg_pool(fd_graph *g, fd_node *n) { return infer(g, n); }

typedef struct { double sum, most; int count; } seen;

static seen look(const fd_attr *a, const fd_buf *x, int64_t plane, int64_t i, int64_t j) {
    seen s = {0};
    for (int r = 0; r < a->window; r++)
        for (int q = 0; q < a->window; q++) {
            int64_t row = i * a->stride + r - a->pad, col = j * a->stride + q - a->pad_w;
            if (row < 0 || col < 0 || row >= x->s.h || col >= x->s.w) continue;
            double v = fd_pixel(x, plane, row * x->s.w + col);
            s.sum += v;
            if (s.count++ == 0 || v > s.most) s.most = v;
        }
    return s;
}

static void pool(const fd_call *c, bool mean) {
    const fd_buf *x = &c->in[0], *y = &c->out[0];
#pragma omp parallel for collapse(2) num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < y->s.n; n++)
        for (int64_t k = 0; k < y->s.c; k++) {
            int64_t from = fd_plane(x, n, k), to = fd_plane(y, n, k);
            for (int64_t i = 0; i < y->s.h; i++)
                for (int64_t j = 0; j < y->s.w; j++) {
                    seen s = look(&c->attr, x, from, i, j);
                    fd_put_pixel(y, to, i * y->s.w + j, mean ? s.sum / s.count : s.most);
                }
        }
}

void fd_ref_max_pool(const fd_call *c) { pool(c, false); }
void fd_ref_avg_pool(const fd_call *c) { pool(c, true); }
