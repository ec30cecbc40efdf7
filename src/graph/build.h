/* build.h — one constructor per operation, the vocabulary networks are written in. Formulas: src/op/<name>.c. */
#ifndef FD_GRAPH_BUILD_H
#define FD_GRAPH_BUILD_H

#include "graph/graph.h"

fd_val fd_conv2d(fd_graph *g, fd_val x, fd_val w, fd_val b, int stride, int pad);
/* pad_h rows and pad_w columns of zeros on each side; relu: apply it to the result. */
fd_val fd_conv2d_act(fd_graph *g, fd_val x, fd_val w, fd_val b, int stride, int pad_h, int pad_w, bool relu);
fd_val fd_max_pool(fd_graph *g, fd_val x, int window, int stride, int pad);
fd_val fd_avg_pool(fd_graph *g, fd_val x, int window, int stride, int pad); /* the border does not count */
fd_val fd_linear(fd_graph *g, fd_val x, fd_val w, fd_val b);
/* e: 0, [N,C] (FD_NORM_ADD) or [N,2C] (FD_NORM_SCALE_SHIFT). silu: apply it to the result. */
fd_val fd_group_norm(fd_graph *g, fd_val x, fd_val gamma, fd_val beta, fd_val e, fd_norm_mode mode, int groups,
                     float eps, bool silu);
fd_val fd_silu(fd_graph *g, fd_val x);
fd_val fd_relu(fd_graph *g, fd_val x);
fd_val fd_attention(fd_graph *g, fd_val qkv, int heads);
/* taps: one-dimensional filter before normalisation, e.g. {1,1} or {1,3,3,1}. Down: depthwise filter f, stride 2, `pad`
 * zeros at each side. Up: its transpose with 4f. f = outer(taps,taps)/sum^2. */
fd_val fd_resample(fd_graph *g, fd_val x, bool up, const float *taps, int ntaps, int pad);
fd_val fd_add(fd_graph *g, fd_val x, fd_val y, float a, float b);          /* a x + b y */
fd_val fd_scale(fd_graph *g, fd_val x, float a);
fd_val fd_concat(fd_graph *g, fd_val x, fd_val y);                          /* channels */
fd_val fd_concat_all(fd_graph *g, const fd_val *x, int n);                  /* of 2 … FD_CONCAT_MAX values in one node */
fd_val fd_slice(fd_graph *g, fd_val x, int c0, int c1);
fd_val fd_mix_rows(fd_graph *g, fd_val x, fd_val y, fd_val a, fd_val b, fd_dtype dt);   /* a[n] x + b[n] y; y may be 0 */
fd_val fd_noise_embed(fd_graph *g, fd_val c, fd_val freqs, int channels, fd_embed_mode mode, bool endpoint);
/* counter: i32 [N,2], the two words of the sample's index. p = 0 returns x. */
fd_val fd_dropout(fd_graph *g, fd_val x, fd_val counter, float p, uint64_t seed, uint32_t id);
fd_val fd_sq_err(fd_graph *g, fd_val d, fd_val y, fd_val w);                /* [N]: w[n] * sum (d-y)^2 */
fd_val fd_softplus(fd_graph *g, fd_val x, float sign);                      /* log(1 + exp(sign x)) */
fd_val fd_dot_rows(fd_graph *g, fd_val x, fd_val y);                        /* [N]: sum of x y */
fd_val fd_sum_rows(fd_graph *g, fd_val x);                                  /* [N] */
fd_val fd_mean_hw(fd_graph *g, fd_val x);                                   /* [N,C] */
fd_val fd_softmax_xent(fd_graph *g, fd_val logits, fd_val target);          /* [N] */
fd_val fd_cast(fd_graph *g, fd_val x, fd_dtype dt);                         /* x itself when it has that type */

#endif
