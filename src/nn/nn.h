/* nn.h — layers: named parameters plus the ops that use them.
 *
 * A layer declares (or, on a frozen set, finds) its tensors under "<prefix><name>.weight" and so on, records its ops
 * and names its output after itself, so that dumps, golden files and checkpoints speak of
 * "model.enc.8x8_block0.conv1" alike. Errors are sticky as in graph.h: a layer that gets value 0, or fails, returns 0
 * and the rest of the network falls through; the first message stays in the context.
 */
#ifndef FD_NN_NN_H
#define FD_NN_NN_H

#include <stdio.h>

#include "graph/build.h"

typedef struct fd_nn {
    fd_ctx *ctx;
    fd_graph *g;
    fd_params *set;
    fd_dtype dt;           /* type of the activations: FD_F32 or FD_BF16. Weights and embedding vectors stay f32 */
    bool probe;            /* also record each norm before its activation and modulation, named as the module: only
                              tests want these values, the fused op never stores them */
    char prefix[256];      /* "model.enc.8x8_block0." */
} fd_nn;

/* An empty prefix; everything is borrowed. */
void fd_nn_init(fd_nn *nn, fd_graph *g, fd_params *set, fd_dtype dt);
/* Enters a module: appends the text and a dot to the prefix. Returns the mark for fd_nn_leave. */
int fd_nn_enter(fd_nn *nn, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void fd_nn_leave(fd_nn *nn, int mark);
/* Names v "<prefix><name>" (name NULL or "": the module itself) and returns it. */
fd_val fd_nn_named(fd_nn *nn, fd_val v, const char *name);

/* How a layer starts: EDM's init_mode, init_weight and init_bias (algorithms.md 3.1). */
typedef struct { fd_init_kind kind; double weight, bias; } fd_nn_start;

/* Declares or finds "<prefix><name>.<leaf>"; 0 on failure. */
fd_val fd_nn_param(fd_nn *nn, const char *name, const char *leaf, int rank, const int64_t *dim, bool buffer,
                   const fd_init *init);

/* y = x W^T + b.  x [N,C,1,1] → [N,cout,1,1];  tensors weight [cout,C], bias [cout]. */
fd_val fd_nn_linear(fd_nn *nn, const char *name, fd_val x, int cout, bool bias, fd_nn_start start);
/* The tensors of fd_nn_linear without a use: keeps a set complete when its input is absent. */
void fd_nn_linear_declare(fd_nn *nn, const char *name, int cin, int cout, bool bias, fd_nn_start start);

typedef enum { FD_RESAMPLE_NONE, FD_RESAMPLE_UP, FD_RESAMPLE_DOWN, FD_RESAMPLE_DOWN_AFTER } fd_nn_resample;

/* k x k convolution with bias, optionally with a factor-two resampling by the filter outer(taps,taps)/sum^2.
 *   UP, DOWN     resample with padding (ntaps-1)/2, then convolve with padding k/2
 *   DOWN_AFTER   convolve with padding k/2 + (ntaps-1)/2, then resample without padding ("fused" in EDM)
 * k = 0: no weights, resampling only. stride and pad are for the heads: 0 means stride 1 and padding k/2.
 * Tensors weight [cout,C,k,k], bias [cout], and the buffer resample_filter [1,1,ntaps,ntaps] with a resampling. */
typedef struct {
    int k, stride;
    int pad;                    /* used only with stride > 0 */
    fd_nn_resample resample;
    const float *taps;
    int ntaps;
    fd_nn_start start;
} fd_nn_conv_spec;
fd_val fd_nn_conv(fd_nn *nn, const char *name, fd_val x, int cout, const fd_nn_conv_spec *spec);

/* Group norm with affine weight [C] and bias [C], optional modulation e and SiLU (build.h: fd_group_norm). */
fd_val fd_nn_group_norm(fd_nn *nn, const char *name, fd_val x, fd_val e, fd_norm_mode mode, int groups, float eps,
                        bool silu);

/* Self-attention over the pixels with its skip connection (the tail of EDM's block):
 *   (proj(attention(qkv(norm2(x)))) + x) * skip_scale.     Tensors norm2.*, qkv.*, proj.* */
typedef struct {
    int heads, groups;
    float eps, skip_scale;
    fd_nn_start qkv, proj;
} fd_nn_attention_spec;
fd_val fd_nn_attention(fd_nn *nn, fd_val x, const fd_nn_attention_spec *spec);

#endif
