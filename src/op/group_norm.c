/* group_norm — normalise each sample over groups of channels, scale and shift; optionally an embedding before or
 * after, and SiLU on the result.
 *   z = x            (PLAIN, SCALE_SHIFT)   or   x[n,c,i] + e[n,c]   (ADD)
 *   t[n,c,i] = gamma[c] * (z[n,c,i] - mu[n,g]) * rstd[n,g] + beta[c]             g = c / (C/G),  i over H*W
 *   u = t            (PLAIN, ADD)           or   t * (1 + e[n,c]) + e[n,C+c]     (SCALE_SHIFT)
 *   y = u  or  silu(u)
 * Shapes    x, y [N,C,H,W];  gamma, beta [C];  e absent, [N,C,1,1] (ADD) or [N,2C,1,1] (SCALE_SHIFT);
 *           mu, rstd [N,G,1,1] f32, of z, saved for backward
 * Attrs     groups G, C % G == 0;  eps > 0, added to the variance;  act 0 none, 1 SiLU;  mode fd_norm_mode
 * Numerics  statistics in f32 or wider for every dtype; the variance divides by the count (biased)
 * Errors    SHAPE at graph build: C % G != 0, gamma or beta not [C], e missing, unexpected or of another size
 * Backward  group_norm_bwd: dx (=), dgamma (+=), dbeta (+=), de (=)
 * Source    Wu & He 2018 eq. 1-2; EDM networks.py GroupNorm and the affine part of UNetBlock
 *
 * group_norm_bwd — gradients of group_norm, each of them optional.
 *   du = dy * act'(u);   dt = du  or  du * (1 + e[n,c]);   xh = (z - mu) * rstd
 *   dbeta[c] += sum dt;   dgamma[c] += sum dt * xh                       over n, i
 *   dx = rstd * (gamma dt - mean(gamma dt) - xh * mean(gamma dt xh))     means over the group
 *   de: sum_i dx (ADD);   [sum_i du * t | sum_i du] (SCALE_SHIFT)
 * Shapes    as above; dx like x, de like e
 */
#include "op/rule.h"

static fd_status check_common(fd_graph *g, fd_node *n, const fd_value *x, fd_val gamma, fd_val beta, fd_val e) {
    const fd_attr *a = &n->attr;
    if (!fd_rule_is_float(x)) return fd_shape_fail(g, n, "x must be f32 or bf16");
    if (a->groups < 1 || x->s.c % a->groups)
        return fd_shape_fail(g, n, "the channels of x must divide into the groups");
    if (!(a->eps > 0)) return fd_shape_fail(g, n, "eps must be positive");
    if (fd_count(g->val[gamma].s) != x->s.c || fd_count(g->val[beta].s) != x->s.c)
        return fd_shape_fail(g, n, "gamma and beta must have one number per channel of x");
    if (!fd_rule_is_f32(&g->val[gamma]) || !fd_rule_is_f32(&g->val[beta]))
        return fd_shape_fail(g, n, "gamma and beta must be f32");
    if ((a->mode == FD_NORM_PLAIN) != (e == 0)) return fd_shape_fail(g, n, "e and the mode disagree");
    if (e) {
        int64_t want = a->mode == FD_NORM_ADD ? x->s.c : 2 * x->s.c;
        if (!fd_same_shape(g->val[e].s, (fd_shape){x->s.n, want, 1, 1}) || !fd_rule_is_float(&g->val[e]))
            return fd_shape_fail(g, n, a->mode == FD_NORM_ADD ? "e must be [N,C] of x" : "e must be [N,2C] of x");
    }
    return FD_OK;
}

fd_status fd_infer_group_norm(fd_graph *g, fd_node *n) {
    const fd_value *x = FD_IN(g, n, 0);
    FD_TRY(check_common(g, n, x, n->in[1], n->in[2], n->in[3]));
    fd_shape xs = x->s, stat = {x->s.n, n->attr.groups, 1, 1};
    FD_TRY(fd_set_out(g, n, 0, xs, fd_rule_dtype(g, n)));
    FD_TRY(fd_set_out(g, n, 1, stat, FD_F32));
    return fd_set_out(g, n, 2, stat, FD_F32);
}

fd_status fd_vjp_group_norm(fd_graph *g, const fd_node *n, const fd_val *gy, fd_val *gx) {
    if (!gy[0]) return FD_OK;
    fd_val out[] = {fd_rule_slot(g, n->in[0]), fd_rule_pgrad(g, n->in[1]), fd_rule_pgrad(g, n->in[2]),
                    fd_rule_slot(g, n->in[3])};
    if (out[0] < 0 && out[1] < 0 && out[2] < 0 && out[3] < 0) return FD_OK;
    fd_attr a = fd_rule_attr(g, n, n->in[0]);
    fd_val in[] = {gy[0], n->in[0], n->in[1], n->in[2], n->in[3], n->out[1], n->out[2]};
    FD_TRY(fd_rule_done(g, fd_graph_node(g, FD_OP_group_norm_bwd, in, &a, out)));
    if (out[0] > 0) gx[0] = out[0];
    if (out[3] > 0) gx[3] = out[3];
    return FD_OK;
}

fd_status fd_infer_group_norm_bwd(fd_graph *g, fd_node *n) {
    const fd_value *dy = FD_IN(g, n, 0), *x = FD_IN(g, n, 1);
    FD_TRY(check_common(g, n, x, n->in[2], n->in[3], n->in[4]));
    if (!fd_same_shape(dy->s, x->s) || !fd_rule_is_float(dy))
        return fd_shape_fail(g, n, "dy must have the shape of x");
    fd_shape stat = {x->s.n, n->attr.groups, 1, 1};
    if (!fd_same_shape(FD_IN(g, n, 5)->s, stat) || !fd_same_shape(FD_IN(g, n, 6)->s, stat))
        return fd_shape_fail(g, n, "mu and rstd must be [N,G]");
    if (n->out[3] != FD_UNWANTED && !n->in[4]) return fd_shape_fail(g, n, "de without e");
    fd_shape xs = x->s;
    fd_dtype xt = x->dt;
    FD_TRY(fd_set_out(g, n, 0, xs, xt));
    FD_TRY(fd_set_out(g, n, 1, (fd_shape){1, xs.c, 1, 1}, FD_F32));
    FD_TRY(fd_set_out(g, n, 2, (fd_shape){1, xs.c, 1, 1}, FD_F32));
    if (!n->in[4]) return FD_OK;
    return fd_set_out(g, n, 3, FD_IN(g, n, 4)->s, FD_IN(g, n, 4)->dt);
}

/* What channel c of sample n does to z on its way to u. */
typedef struct { double add, gamma, beta, scale, shift; } channel;

static channel channel_of(const fd_attr *a, const fd_buf *gamma, const fd_buf *beta, const fd_buf *e, int64_t C,
                          int64_t n, int64_t c) {
    channel k = {0, fd_get(gamma, c), fd_get(beta, c), 1, 0};
    if (a->mode == FD_NORM_ADD) k.add = fd_get(e, n * C + c);
    if (a->mode == FD_NORM_SCALE_SHIFT) {
        k.scale = 1.0 + fd_get(e, n * 2 * C + c);
        k.shift = fd_get(e, n * 2 * C + C + c);
    }
    return k;
}

void fd_ref_group_norm(const fd_call *c) {
    const fd_buf *x = &c->in[0], *gamma = &c->in[1], *beta = &c->in[2], *e = &c->in[3], *y = &c->out[0];
    const fd_attr *a = &c->attr;
    const int64_t C = x->s.c, G = a->groups, per = C / G, hw = fd_pixels(x->s);
#pragma omp parallel for collapse(2) num_threads(fd_ref_threads(c))
    for (int64_t n = 0; n < x->s.n; n++) {
        for (int64_t g = 0; g < G; g++) {
            double sum = 0, var = 0;
            for (int64_t ch = g * per; ch < (g + 1) * per; ch++) {
                double add = channel_of(a, gamma, beta, e, C, n, ch).add;
                for (int64_t i = 0, at = fd_plane(x, n, ch); i < hw; i++) sum += fd_pixel(x, at, i) + add;
            }
            double mu = sum / (double)(per * hw);
            for (int64_t ch = g * per; ch < (g + 1) * per; ch++) {
                double add = channel_of(a, gamma, beta, e, C, n, ch).add;
                for (int64_t i = 0, at = fd_plane(x, n, ch); i < hw; i++) {
                    double d = fd_pixel(x, at, i) + add - mu;
                    var += d * d;
                }
            }
            double rstd = 1.0 / sqrt(var / (double)(per * hw) + a->eps);
            for (int64_t ch = g * per; ch < (g + 1) * per; ch++) {
                channel k = channel_of(a, gamma, beta, e, C, n, ch);
                int64_t from = fd_plane(x, n, ch), to = fd_plane(y, n, ch);
                for (int64_t i = 0; i < hw; i++) {
                    double t = k.gamma * (fd_pixel(x, from, i) + k.add - mu) * rstd + k.beta;
                    double u = t * k.scale + k.shift;
                    fd_put_pixel(y, to, i, a->act ? fd_silu64(u) : u);
                }
            }
            if (c->out[1].p) fd_put(&c->out[1], n * G + g, (float)mu);
            if (c->out[2].p) fd_put(&c->out[2], n * G + g, (float)rstd);
        }
    }
}

/* One element on the way back: xh, t and the gradients of u and t. */
typedef struct { double xh, t, du, dt; } element;

static element element_of(const fd_attr *a, const channel *k, double dy, double x, double mu, double rstd) {
    element v;
    v.xh = (x + k->add - mu) * rstd;
    v.t = k->gamma * v.xh + k->beta;
    v.du = a->act ? dy * fd_dsilu64(v.t * k->scale + k->shift) : dy;
    v.dt = v.du * k->scale;
    return v;
}

/* Each group is finished by one thread, for all samples, and read whole before its dx is written: dx may lie on dy
 * or on x. */
void fd_ref_group_norm_bwd(const fd_call *c) {
    const fd_buf *dy = &c->in[0], *x = &c->in[1], *gamma = &c->in[2], *beta = &c->in[3], *e = &c->in[4];
    const fd_buf *mean = &c->in[5], *inv = &c->in[6];
    const fd_buf *dx = &c->out[0], *dgamma = &c->out[1], *dbeta = &c->out[2], *de = &c->out[3];
    const fd_attr *a = &c->attr;
    const int64_t N = x->s.n, C = x->s.c, G = a->groups, per = C / G, hw = fd_pixels(x->s);
#pragma omp parallel for num_threads(fd_ref_threads(c))
    for (int64_t g = 0; g < G; g++) {
        for (int64_t ch = g * per; ch < (g + 1) * per; ch++) {
            double sum_dt = 0, sum_dt_xh = 0;
            for (int64_t n = 0; n < N; n++) {
                channel k = channel_of(a, gamma, beta, e, C, n, ch);
                double mu = fd_get(mean, n * G + g), rstd = fd_get(inv, n * G + g), sum_du = 0, sum_du_t = 0;
                int64_t pd = fd_plane(dy, n, ch), px = fd_plane(x, n, ch);
                for (int64_t i = 0; i < hw; i++) {
                    element v = element_of(a, &k, fd_pixel(dy, pd, i), fd_pixel(x, px, i), mu, rstd);
                    sum_dt += v.dt;
                    sum_dt_xh += v.dt * v.xh;
                    sum_du += v.du;
                    sum_du_t += v.du * v.t;
                }
                if (de->p && a->mode == FD_NORM_SCALE_SHIFT) {
                    fd_put(de, n * 2 * C + ch, (float)sum_du_t);
                    fd_put(de, n * 2 * C + C + ch, (float)sum_du);
                }
            }
            if (dgamma->p) fd_put(dgamma, ch, (float)(fd_get(dgamma, ch) + sum_dt_xh));
            if (dbeta->p) fd_put(dbeta, ch, (float)(fd_get(dbeta, ch) + sum_dt));
        }
        if (!dx->p && !(de->p && a->mode == FD_NORM_ADD)) continue;
        for (int64_t n = 0; n < N; n++) {
            double mu = fd_get(mean, n * G + g), rstd = fd_get(inv, n * G + g), s1 = 0, s2 = 0;
            for (int64_t ch = g * per; ch < (g + 1) * per; ch++) {
                channel k = channel_of(a, gamma, beta, e, C, n, ch);
                int64_t pd = fd_plane(dy, n, ch), px = fd_plane(x, n, ch);
                for (int64_t i = 0; i < hw; i++) {
                    element v = element_of(a, &k, fd_pixel(dy, pd, i), fd_pixel(x, px, i), mu, rstd);
                    s1 += k.gamma * v.dt;
                    s2 += k.gamma * v.dt * v.xh;
                }
            }
            s1 /= (double)(per * hw);
            s2 /= (double)(per * hw);
            for (int64_t ch = g * per; ch < (g + 1) * per; ch++) {
                channel k = channel_of(a, gamma, beta, e, C, n, ch);
                int64_t pd = fd_plane(dy, n, ch), px = fd_plane(x, n, ch), to = dx->p ? fd_plane(dx, n, ch) : 0;
                double sum = 0;
                for (int64_t i = 0; i < hw; i++) {
                    element v = element_of(a, &k, fd_pixel(dy, pd, i), fd_pixel(x, px, i), mu, rstd);
                    double d = rstd * (k.gamma * v.dt - s1 - v.xh * s2);
                    if (dx->p) fd_put_pixel(dx, to, i, d);
                    sum += d;
                }
                if (de->p && a->mode == FD_NORM_ADD) fd_put(de, n * C + ch, (float)sum);
            }
        }
    }
}
