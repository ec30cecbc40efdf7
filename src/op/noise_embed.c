/* noise_embed — a noise level as a vector of cosines and sines.
 *   f[j] = 10000^(-j / (half - endpoint))     or, with freqs,     f[j] = 2 pi freqs[j];       j < half = C/2
 *   e[n] = [cos(c[n] f) | sin(c[n] f)]  (COS_SIN)     or     [sin | cos]  (SIN_COS)
 * Shapes    c [N,1,1,1] f32;  freqs absent or [C/2];  e [N,C,1,1] f32
 * Attrs     c1 = C, even;  endpoint 0|1;  mode fd_embed_mode
 * Numerics  frequency and angle are rounded to f32 as in the Python class (the angle decides the value: c may be
 *           near 1000), cosine and sine are accurate to f32
 * Errors    SHAPE at graph build: C odd or below 2, C = 2 with endpoint, c not one number per sample, freqs not [C/2]
 * Backward  none: a noise level is never trained
 * Source    EDM networks.py PositionalEmbedding, FourierEmbedding
 */
#include "op/rule.h"

fd_status fd_infer_noise_embed(fd_graph *g, fd_node *n) {
    const fd_value *c = FD_IN(g, n, 0);
    int64_t channels = n->attr.c1, half = channels / 2;
    if (!fd_rule_is_rows(c, c->s.n) || !fd_rule_is_f32(c))
        return fd_shape_fail(g, n, "c must be one f32 number per sample");
    if (channels < 2 || channels % 2)
        return fd_shape_fail(g, n, "the number of channels (c1) must be even and positive");
    if (n->in[1] && (fd_count(FD_IN(g, n, 1)->s) != half || !fd_rule_is_f32(FD_IN(g, n, 1))))
        return fd_shape_fail(g, n, "freqs must have half as many numbers as there are channels");
    if (!n->in[1] && half - n->attr.endpoint < 1)
        return fd_shape_fail(g, n, "two channels cannot include the endpoint");
    return fd_set_out(g, n, 0, (fd_shape){c->s.n, channels, 1, 1}, FD_F32);
}

void fd_ref_noise_embed(const fd_call *c) {
    const fd_buf *level = &c->in[0], *freqs = &c->in[1], *e = &c->out[0];
    const int64_t C = e->s.c, half = C / 2;
    const int64_t cos_at = c->attr.mode == FD_EMBED_COS_SIN ? 0 : half, sin_at = half - cos_at;
    for (int64_t j = 0; j < half; j++) {
        float f = freqs->p ? (float)(2 * M_PI * fd_get(freqs, j))
                           : (float)pow(10000.0, -(double)j / (double)(half - c->attr.endpoint));
        for (int64_t n = 0; n < e->s.n; n++) {
            float angle = fd_get(level, n) * f;
            fd_put(e, n * C + cos_at + j, (float)cos(angle));
            fd_put(e, n * C + sin_at + j, (float)sin(angle));
        }
    }
}
