/* net.h — a network as an object: its configuration, its weights, where it comes from; files of it; running it.
 *
 * A file is safetensors with EDM's tensor names and, in __metadata__, all that is needed to rebuild the network
 * ("fdistill.config", one line of JSON), its provenance ("fdistill.*") and the public ModelSpec keys. Loading is
 * strict: a missing, extra or misshapen tensor is an error that names it; only resample filters may be absent, since
 * the configuration implies them.
 */
#ifndef FD_MODELS_NET_H
#define FD_MODELS_NET_H

#include "models/models.h"
#include "run/exec.h"

/* Provenance and use, all optional: empty texts, zero and negative numbers are not written. */
typedef struct fd_net_meta {
    char kind[16];                /* "teacher", "student", "fake", "heads", "classifier" */
    char title[128], date[32], licence[256];
    char data[256];               /* what it was trained on: name and digest of the set */
    char crop[96];                /* how its pictures were cut: names of transforms (io/transform.h) */
    char parent[65];              /* digest of the network it started from */
    double sigma_min, sigma_max, rho;
    double sigma_init;            /* students: the noise level of the single step */
    char ema_kind[32];            /* "half-life-images" or "decay-per-step"; "" = raw weights */
    double ema;
    int64_t images;               /* shown to the network in training */
} fd_net_meta;

struct fd_net {
    fd_net_config config;
    fd_net_meta meta;
    fd_params params;
};

/* Declares and allocates every tensor; weights are zero, resample filters set. Owner: the caller, until fd_net_free.
 */
fd_status fd_net_new(fd_ctx *ctx, const fd_net_config *config, fd_net **out);
void fd_net_free(fd_net *net);                               /* NULL is allowed */
/* Only declares into an empty set: counts without memory for the weights. */
fd_status fd_net_declare(fd_ctx *ctx, const fd_net_config *config, fd_params *set);
/* Same configuration, provenance and weights. */
fd_status fd_net_clone(fd_ctx *ctx, const fd_net *net, fd_net **out);

void fd_net_init_random(fd_net *net, uint64_t seed);         /* as the family prescribes (algorithms.md 3.1) */
/* Formula weights (base/formula.h); the last layer of every head is multiplied by head_scale. For tests. */
fd_status fd_net_fill_formula(fd_ctx *ctx, fd_net *net, const char *salt, float head_scale);

/* w: [params.total] weights to store instead of the network's own (an EMA; buffers are always the network's);
 * NULL = its own. */
fd_status fd_net_save(fd_ctx *ctx, const fd_net *net, const float *w, const char *path);
fd_status fd_net_load(fd_ctx *ctx, const char *path, fd_net **out);
/* SHA-256 over names, shapes and values: identifies the weights, whatever file they came from. */
fd_status fd_net_digest(fd_ctx *ctx, const fd_net *net, char out[65]);

typedef struct fd_run_options {
    fd_dtype dtype;               /* compute type: FD_F32 (0) or FD_BF16 */
    const fd_backend *backend;    /* NULL: the CPU backend */
    fd_pool *pool;                /* NULL: memory of its own */
    int taps[FD_MAX_LEVELS];      /* encoder levels whose features are wanted */
    int ntaps;
    bool features_only;           /* no D */
    bool augment;                 /* takes augmentation vectors */
    bool keep_taps;               /* feature networks: fd_feature_net_tap can be read after a run */
    bool spatial;                 /* Inception: fd_feature_net_spatial can be called after a run  */
} fd_run_options;

/* The net must outlive the denoiser; the weights may change between runs. o = NULL: defaults. */
fd_status fd_denoiser_new(fd_ctx *ctx, fd_net *net, int batch, const fd_run_options *o, fd_denoiser **out);
void fd_denoiser_free(fd_denoiser *d);
/* D(x; sigma) for a whole batch. x, D [batch,C,R,R]; sigma [batch], positive; labels [batch,label_dim] or NULL = no
 * class; augment [batch,augment_dim] or NULL = zeros. D may be x; NULL under features_only. Allocates nothing. */
fd_status fd_denoiser_run(fd_ctx *ctx, fd_denoiser *d, const float *x, const double *sigma, const float *labels,
                          const float *augment, float *D);
/* Feature i of the last run, NCHW. */
fd_status fd_denoiser_feature(fd_ctx *ctx, fd_denoiser *d, int i, float *out);
fd_shape fd_denoiser_shape(const fd_denoiser *d);            /* of x and D: [batch,C,R,R] */
int fd_denoiser_label_dim(const fd_denoiser *d);
const fd_net *fd_denoiser_net(const fd_denoiser *d);
fd_exec *fd_denoiser_exec(fd_denoiser *d);                   /* for plans, profiles and dumps */

/* A classifier or Inception as a feature extractor. The input has blocks of one channel or three: plain NCHW. */
typedef struct fd_feature_net fd_feature_net;
fd_status fd_feature_net_new(fd_ctx *ctx, fd_net *net, int batch, const fd_run_options *o, fd_feature_net **out);
void fd_feature_net_free(fd_feature_net *f);
/* x [batch,C,R,R] in [-1,1], or NULL: what was written to fd_feature_net_input. features [batch,d], a classifier's
 * standardised by the file's mean and std; logits[i] [batch,classes[i]] for each attribute (Inception: the one, without
 * its bias) where that is not NULL, or logits NULL. A picture has the same features in any batch and with any number of
 * threads. */
fd_status fd_feature_net_run(fd_ctx *ctx, fd_feature_net *f, const float *x, float *features, float *const *logits);
float *fd_feature_net_input(fd_feature_net *f);              /* [batch,C,R,R], survives runs */
int fd_feature_net_dim(const fd_net_config *c);
int fd_feature_net_classes(const fd_net_config *c);          /* of logits[0] */
int fd_feature_net_batch(const fd_net_config *c);            /* a good number of pictures per run */
/* Inception: the spatial features of sFID, [batch][17][17][7] as ADM's evaluator orders them. */
fd_status fd_feature_net_spatial(fd_ctx *ctx, fd_feature_net *f, float *out);
/* Inception: the value at an fd_inception_tap, for fd_exec_read under keep_taps; 0 for a classifier. */
fd_val fd_feature_net_tap(const fd_feature_net *f, int tap);
fd_exec *fd_feature_net_exec(fd_feature_net *f);

#endif
