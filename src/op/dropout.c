/* dropout — sets elements to zero with probability p and scales the others, by counter-based random numbers.
 *   y[n,e] = u >= p ? x[n,e] / (1 - p) : 0          e = flat NCHW position within the sample
 *   u = (word e%4 of Philox block (id << 32 | e/4) >> 8) * 2^-24,  stream (seed, FD_RNG_DROPOUT, index of the sample)
 * Shapes    x, y [N,C,H,W];  counter [N,2,1,1] i32: low and high word of the 64-bit index of each sample
 * Attrs     p in [0, 1);  seed of the run;  id of the layer
 * Numerics  the mask depends on the sample's index only: not on the batch, the layout or the threads
 * Errors    SHAPE at graph build: p outside [0, 1), counter not [N,2] i32
 * Backward  the same op on dy: same mask, same factor (=)
 * Source    torch.nn.functional.dropout (distribution, not its bits)
 */
#include "base/rng.h"
#include "op/rule.h"

fd_status fd_infer_dropout(fd_graph *g, fd_node *n) {
    const fd_value *x = FD_IN(g, n, 0), *counter = FD_IN(g, n, 1);
    if (!fd_rule_is_float(x)) return fd_shape_fail(g, n, "x must be f32 or bf16");
    if (counter->dt != FD_I32 || !fd_same_shape(counter->s, (fd_shape){x->s.n, 2, 1, 1}))
        return fd_shape_fail(g, n, "counter must be two i32 words per sample");
    if (!(n->attr.p >= 0 && n->attr.p < 1)) return fd_shape_fail(g, n, "p must be in [0, 1)");
    return fd_set_out(g, n, 0, x->s, x->dt);
}

fd_status fd_vjp_dropout(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx) {
    if (!gy[0] || !fd_wants(g, n->in[0])) return FD_OK;
    fd_val in[] = {gy[0], n->in[1]};
    return fd_rule_done(g, gx[0] = fd_graph_node(g, FD_OP_dropout, in, &n->attr, NULL));
}

void fd_ref_dropout(const fd_call *c) {
    const fd_buf *x = &c->in[0], *y = &c->out[0];
    const uint32_t *counter = c->in[1].p;
    const int64_t hw = fd_pixels(x->s);
    const double factor = 1.0 / (1.0 - (double)c->attr.p);
#pragma omp parallel for num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < x->s.n; n++) {
        fd_rng r = {c->attr.seed, FD_RNG_DROPOUT, (uint64_t)counter[2 * n + 1] << 32 | counter[2 * n]};
        uint32_t word[4] = {0};
        for (int64_t k = 0; k < x->s.c; k++) {
            int64_t from = fd_plane(x, n, k), to = fd_plane(y, n, k);
            for (int64_t i = 0; i < hw; i++) {
                uint64_t e = (uint64_t)(k * hw + i);
                if (e % 4 == 0) fd_rng_words(&r, (uint64_t)c->attr.id << 32 | e / 4, word);
                float u = (float)(word[e % 4] >> 8) * 0x1p-24f;
                fd_put_pixel(y, to, i, u >= c->attr.p ? fd_pixel(x, from, i) * factor : 0);
            }
        }
    }
}
