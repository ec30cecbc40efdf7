/* net_config.h — what a network is, in numbers: everything needed to build it, as JSON and back.
 *
 * Options carry EDM's names (algorithms.md 3.2). "ddpmpp" and "ncsnpp" are presets of one network, SongUNet: they
 * fill the options that the JSON leaves out, and any of them may be overridden.
 */
#ifndef FD_MODELS_NET_CONFIG_H
#define FD_MODELS_NET_CONFIG_H

#include "base/arena.h"

#define FD_MAX_LEVELS 8
#define FD_MAX_BLOCKS 64     /* per level */
#define FD_MAX_HEADS 8

typedef enum { FD_FAMILY_DDPMPP, FD_FAMILY_NCSNPP, FD_FAMILY_ADM, FD_FAMILY_HEADS, FD_FAMILY_CLASSIFIER,
               FD_FAMILY_INCEPTION /* nothing to choose: inception.h */ } fd_family;
typedef enum { FD_EMBEDDING_POSITIONAL, FD_EMBEDDING_FOURIER } fd_embedding_type;
/* What is around the U-Net (models.h): EDM's own, or that of the networks EDM compares itself with. */
typedef enum { FD_PRECOND_EDM, FD_PRECOND_VP, FD_PRECOND_VE, FD_PRECOND_IDDPM } fd_precond_type;
typedef enum { FD_CODER_STANDARD, FD_CODER_SKIP, FD_CODER_RESIDUAL } fd_coder_type;

/* Of the discriminator heads: as published, or none. */
typedef enum { FD_HEAD_NORM_GROUP, FD_HEAD_NORM_NONE } fd_head_norm;
extern const char *const fd_head_norm_names[];      /* ends with NULL */

typedef struct fd_net_config {
    fd_family family;
    int resolution;                          /* image height and width */
    int image_channels;

    /* UNets */
    int model_channels;
    int channel_mult[FD_MAX_LEVELS], levels; /* width of level i (finest first) = model_channels * channel_mult[i] */
    int num_blocks;                          /* residual blocks per encoder level; decoder levels have one more */
    int attn_resolutions[FD_MAX_LEVELS], nattn;
    int label_dim;                           /* 0 = no classes; heads: 0 = they do not look at them */
    int augment_dim;                         /* 0 = no augmentation vector */
    int channel_mult_emb, channel_mult_noise;
    double dropout;                          /* of the residual blocks, training only */
    double label_dropout;                    /* probability that training hides the label */
    fd_embedding_type embedding_type;
    fd_coder_type encoder_type, decoder_type;
    float resample_filter[4];                /* taps, 1-D, not normalised */
    int ntaps;
    fd_precond_type precond;
    double sigma_data;                       /* precond edm only */

    /* discriminator heads: head i sits on a feature map of tap_channels[i] channels at tap_resolutions[i] */
    int taps[FD_MAX_HEADS], tap_channels[FD_MAX_HEADS], tap_resolutions[FD_MAX_HEADS], ntap;
    int head_width;                          /* 0 = as many channels as the tap */
    fd_head_norm head_norm;

    /* classifier (feature network): conv stages of these widths (num_blocks = 0: one plain conv each, else residual
     * blocks), global mean, one linear layer per attribute */
    int channels[FD_MAX_LEVELS], nchannels;
    int classes[FD_MAX_HEADS], nclasses;
} fd_net_config;

static inline bool fd_is_unet(fd_family f) { return f <= FD_FAMILY_ADM; }
/* Gives features to compare sets by. */
static inline bool fd_is_feature_net(fd_family f) { return f == FD_FAMILY_CLASSIFIER || f == FD_FAMILY_INCEPTION; }
/* Channels of the last encoder block of a level, where the heads tap. */
static inline int fd_tap_channels(const fd_net_config *c, int level) {
    return c->model_channels * c->channel_mult[level];
}
static inline int fd_tap_resolution(const fd_net_config *c, int level) { return c->resolution >> level; }

/* Channels that the U-Net gives: iDDPM's networks also predict a variance, which nobody reads. */
static inline int fd_out_channels(const fd_net_config *c) {
    return c->image_channels * (c->precond == FD_PRECOND_IDDPM ? 2 : 1);
}

const char *fd_family_name(fd_family f);
const char *fd_precond_name(fd_precond_type p);      /* "edm", "vp", "ve", "iddpm" */
/* EDM's published defaults of a family (SongUNet: CIFAR-10, ADM: ImageNet-64), without labels or augmentation. */
void fd_net_config_preset(fd_net_config *c, fd_family family);
/* Fills the heads' configuration for taps on the given levels of a UNet. */
fd_status fd_heads_config(fd_ctx *ctx, const fd_net_config *unet, const int *levels, int n, int width,
                          fd_net_config *out);

/* ARG with the name of the option, its value and what is allowed. */
fd_status fd_net_config_check(fd_ctx *ctx, const fd_net_config *c);
/* Reads an object such as {"family": "ddpmpp", "resolution": 32, …}. Unknown keys, wrong types and impossible values
 * are FORMAT errors; `where` (a file name) begins the message. Checks the result. */
fd_status fd_net_config_parse(fd_ctx *ctx, const char *where, const char *json, size_t bytes, fd_net_config *out);
/* The inverse: one line of JSON with every option of the family, in the arena. */
fd_status fd_net_config_format(fd_ctx *ctx, fd_arena *arena, const fd_net_config *c, const char **json);

#endif
