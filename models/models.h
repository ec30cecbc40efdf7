/* models.h — the networks as functions that record themselves into a graph.
 *
 * The same function serves training, sampling, features only, f32 and bf16, and every backend. Parameter names are
 * EDM's state_dict names.
 */
#ifndef FD_MODELS_MODELS_H
#define FD_MODELS_MODELS_H

#include "models/net_config.h"
#include "nn/nn.h"

typedef struct fd_net fd_net;               /* net.h: configuration, weights, provenance */
typedef struct fd_denoiser fd_denoiser;     /* net.h: a network ready to denoise batches */

/* What goes into a UNet and what comes out. Values of one graph; 0 = absent. */
typedef struct fd_unet_io {
    fd_val x;                   /* [N,C,R,R], already scaled by c_in, type nn->dt */
    fd_val c_noise;             /* [N,1,1,1] f32: ln(sigma)/4 */
    fd_val labels;              /* [N,label_dim,1,1] f32, one-hot or all zero; required if label_dim > 0 */
    fd_val augment;             /* [N,augment_dim,1,1] f32; absent = zeros */
    fd_val counter;             /* [N,2,1,1] i32, the words of each sample's index; absent = no dropout */
    uint64_t dropout_seed;
    int taps[FD_MAX_LEVELS];    /* levels (0 = finest) whose last encoder block's output is wanted, ascending */
    int ntaps;
    bool features_only;         /* stop after the last tapped block: no decoder is recorded */
    fd_val F;                   /* out: raw output [N,fd_out_channels,R,R], type nn->dt; 0 if features_only */
    fd_val feats[FD_MAX_LEVELS];    /* out: one per tap */
} fd_unet_io;

/* SongUNet or DhariwalUNet by the family, names under "model.". Call with the whole io once before the set is frozen,
 * so that every tensor is declared. SHAPE and ARG errors. */
fd_status fd_unet_build(fd_nn *nn, const fd_net_config *c, fd_unet_io *io);

/* Preconditioning (Karras et al. 2022, table 1; which one: the configuration):
 *   D(x; sigma) = c_skip x + c_out F(c_in x, c_noise)
 * with one coefficient per sample; D and x stay f32 whatever the type of the network inside. */
typedef struct fd_precond {
    fd_val c_skip, c_out, c_in, c_noise;      /* inputs [N,1,1,1] f32 */
} fd_precond;
/* Records the four inputs, named "<prefix>c_skip" and so on. */
fd_precond fd_precond_inputs(fd_graph *g, const char *prefix, int n);
/* Reads io->x as the noisy image (f32) and ignores io->c_noise. *D = 0 if io->features_only. */
fd_status fd_precond_build(fd_nn *nn, const fd_net_config *c, const fd_precond *k, fd_unet_io *io, fd_val *D);
/* The four arrays of n floats: computed in double, rounded once. sigma > 0. */
void fd_precond_coefficients(const fd_net_config *c, const double *sigma, int n, float *c_skip, float *c_out,
                             float *c_in, float *c_noise);
/* The nearest noise level that the network knows: sigma itself, except for iddpm. */
double fd_precond_round(const fd_net_config *c, double sigma);
/* The noise levels that the network was made for: 0 to infinity for edm. */
void fd_precond_range(const fd_net_config *c, double *low, double *high);

/* Channels that the heads' norms take together at this width: with 2, the last norm, whose map is one pixel, is left with
 * their order and passes hardly a gradient. */
int fd_heads_group_channels(int width);
/* Discriminator heads on tapped features: logits [N, ntap, 1, 1] f32. Tensors discriminator_heads.<i>.<j>.*, the
 * layout of a torch Sequential per head. feats: one [N,tap_channels[i],r,r] per head; labels: as of the U-Net,
 * needed if the heads have a label_dim. */
fd_status fd_heads_build(fd_nn *nn, const fd_net_config *c, const fd_val *feats, fd_val labels, fd_val *logits);

/* The feature network: x [N,C,R,R] f32 in [-1,1] → features [N,d,1,1] f32 (d = last width, the global mean) and
 * logits[i] [N,classes[i],1,1] f32 for each attribute (NULL: not wanted). The buffers features.mean and features.std
 * [d] belong to the file; whoever uses the features applies (f - mean)/std to them. */
fd_status fd_classifier_build(fd_nn *nn, const fd_net_config *c, fd_val x, fd_val *features, fd_val *logits);

#endif
