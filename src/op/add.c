/* add — weighted sum of two tensors: residual connections, fan-out of gradients.
 *   z = a*x + b*y
 * Shapes    x, y, z [N,C,H,W], the same
 * Attrs     a, b
 * Numerics  the sum is rounded once, to the type of x
 * Errors    SHAPE at graph build if the shapes differ
 * Backward  dx = a*dz (=), dy = b*dz (=); a factor of 1 passes dz on without a node
 *
 * scale — y = a*x. Attrs: a. Backward: dx = a*dy (=).
 */
#include "op/rule.h"

fd_status fd_infer_add(fd_graph *g, fd_node *n) {
    const fd_value *x = FD_IN(g, n, 0), *y = FD_IN(g, n, 1);
    if (!fd_same_shape(x->s, y->s)) return fd_shape_fail(g, n, "x and y must have the same shape");
    if (!fd_rule_is_float(x) || !fd_rule_is_float(y)) return fd_shape_fail(g, n, "x and y must be f32 or bf16");
    return fd_set_out(g, n, 0, x->s, x->dt);
}

static fd_val scaled(fd_graph *g, fd_val v, float factor) {
    if (factor == 1.0f) return v;
    fd_attr a = {.a = factor};
    return fd_graph_node(g, FD_OP_scale, &v, &a, NULL);
}

fd_status fd_vjp_add(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx) {
    if (!gy[0]) return FD_OK;
    if (fd_wants(g, n->in[0])) FD_TRY(fd_rule_done(g, gx[0] = scaled(g, gy[0], n->attr.a)));
    if (fd_wants(g, n->in[1])) {
        fd_val v = scaled(g, gy[0], n->attr.b);
        FD_TRY(fd_rule_done(g, gx[1] = fd_rule_cast(g, v, g->val[n->in[1]].dt)));
    }
    return FD_OK;
}

fd_status fd_infer_scale(fd_graph *g, fd_node *n) {
    const fd_value *x = FD_IN(g, n, 0);
    if (!fd_rule_is_float(x)) return fd_shape_fail(g, n, "x must be f32 or bf16");
    return fd_set_out(g, n, 0, x->s, x->dt);
}

fd_status fd_vjp_scale(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx) {
    if (!gy[0] || !fd_wants(g, n->in[0])) return FD_OK;
    return fd_rule_done(g, gx[0] = scaled(g, gy[0], n->attr.a));
}

void fd_ref_add(const fd_call *c) {
    const fd_buf *x = &c->in[0], *y = &c->in[1], *z = &c->out[0];
    const double a = c->attr.a, b = c->attr.b;
#pragma omp parallel for collapse(2) num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < x->s.n; n++)
        for (int64_t k = 0; k < x->s.c; k++) {
            int64_t px = fd_plane(x, n, k), py = fd_plane(y, n, k), to = fd_plane(z, n, k);
            for (int64_t i = 0; i < fd_pixels(x->s); i++)
                fd_put_pixel(z, to, i, a * fd_pixel(x, px, i) + b * fd_pixel(y, py, i));
        }
}

void fd_ref_scale(const fd_call *c) {
    const fd_buf *x = &c->in[0], *y = &c->out[0];
#pragma omp parallel for collapse(2) num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < x->s.n; n++)
        for (int64_t k = 0; k < x->s.c; k++) {
            int64_t from = fd_plane(x, n, k), to = fd_plane(y, n, k);
            for (int64_t i = 0; i < fd_pixels(x->s); i++)
                fd_put_pixel(y, to, i, (double)c->attr.a * fd_pixel(x, from, i));
        }
}
