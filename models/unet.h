/* unet.h — what the two UNets share: the residual block and the decoder's skip stack. Internal to models/. */
#ifndef FD_MODELS_UNET_H
#define FD_MODELS_UNET_H

#include "models/models.h"

/* Constants of a family, and the state of the network being recorded. */
typedef struct fd_unet {
    fd_nn *nn;
    const fd_net_config *c;
    fd_unet_io *io;
    fd_val emb;                         /* [N,emb_channels,1,1] f32, after its last SiLU */
    bool adaptive;                      /* ADM: scale and shift after norm1; Song: added before */
    bool resample_proj;                 /* Song: the skip of a resampling block has a 1x1 convolution */
    int channels_per_head;              /* 0: one head */
    float eps, skip_scale;
    fd_nn_start start, start_zero, start_attn;
    uint32_t dropout_id;                /* number of blocks so far */
    fd_val skips[FD_MAX_LEVELS * (FD_MAX_BLOCKS + 1)];
    int nskips;
    int ntapped;
} fd_unet;

/* One residual block. x [N,ci,h,w] → [N,cout,h',w']. attention on narrow ADM blocks (cout < 64) means none. */
fd_val fd_unet_block(fd_unet *u, const char *name, fd_val x, int cout, fd_nn_resample resample, bool attention);
/* map_layer0, SiLU, map_layer1 on the noise embedding. */
fd_val fd_unet_mapping(fd_unet *u, fd_val e);
bool fd_unet_attends(const fd_net_config *c, int resolution);
void fd_unet_push(fd_unet *u, fd_val x);
/* [x, popped skip] along the channels. */
fd_val fd_unet_join(fd_unet *u, fd_val x);
/* Stores x as the next feature if its level is tapped; true when nothing after it is wanted. */
bool fd_unet_tap(fd_unet *u, int level, fd_val x);
static inline int fd_group_count(int64_t c) { return c / 4 < 32 ? (int)(c / 4) : 32; }

fd_status fd_song_unet(fd_unet *u);
fd_status fd_dhariwal_unet(fd_unet *u);

#endif
