/* job.h — what every long run shares: options about data, folder, ticks, resume; the loop that steps, logs and saves.
 *
 * Words and file names are EDM's: a tick is --tick thousand images; every tick appends a line to log.txt and an object
 * to stats.jsonl; every --snap ticks a network-snapshot-<kimg> (and a grid of pictures) is written, every --dump ticks
 * a training-state-<kimg>. SIGINT and SIGTERM finish the step, write a state and return FD_E_CANCELLED.
 */
#ifndef FD_TRAIN_JOB_H
#define FD_TRAIN_JOB_H

#include <stdint.h>

#include <jansson.h>

#include "graph/tensor.h"
#include "io/dataset.h"
#include "run/backend.h"

typedef struct fd_job_options {
    const char *data;          /* --data: EDM zip or folder                                               */
    const char *outdir;        /* --outdir: where the run folder 00000-… is made                          */
    const char *desc;          /* --desc: appended to the folder's name; NULL = none                      */
    bool nosubdir;             /* --nosubdir: write straight into outdir                                  */
    bool dry_run;              /* -n: check everything, print the plan, write nothing                     */
    bool resume;               /* --resume: continue the newest run in outdir that has the same options; start one if
                                  there is none. A run that is complete says so and does nothing            */
    bool cond;                 /* --cond: use the labels                                                  */
    bool xflip;                /* --xflip: mirror every other draw                                        */
    int64_t max_size;          /* --max-size: use only so many images, drawn with the seed; 0 = all       */
    double duration;           /* --duration: images to train on (the command line says millions)         */
    int batch;                 /* --batch: images per optimiser step                                      */
    int batch_gpu;             /* --batch-gpu: images per pass, fewer where a rank's share asks for it; 0 = chosen; changes
                                  memory, not the result                                                  */
    uint64_t seed;             /* --seed                                                                  */
    fd_dtype dtype;            /* --precision: FD_F32 or FD_BF16 compute; weights are always f32          */
    const fd_backend *backend; /* --device: NULL = the CPU                                                 */
    int64_t tick;              /* --tick: images per tick                                                 */
    int snap, dump;            /* --snap, --dump: ticks per snapshot and state; 0 = only at the end       */
    int grid;                  /* pictures per row and column of the grids; 0 = none                      */
    /* After every snapshot, with the path of the averaged network: puts its measurements as a line of text into `line`. A
     * failure is logged and the run goes on. NULL = none */
    fd_status (*measure)(fd_ctx *ctx, void *user, const char *network, char *line, size_t size);
    void *measure_user;
    char *folder;              /* out, 4096 bytes: the run's folder, once it is known; NULL = not wanted  */
} fd_job_options;

/* Constant, or falling to zero over the last part of the run. lr(x) for x = images / duration:
 *   warm-up   lr * min(images / ramp, 1)
 *   tail      lr * (1 - (x - start)/(1 - start)) for x > start           (FD_LR_LINEAR)
 *             lr * (1 + cos(pi (x - start)/(1 - start)))/2               (FD_LR_COSINE)                    */
typedef enum { FD_LR_CONSTANT, FD_LR_LINEAR, FD_LR_COSINE } fd_lr_shape;
typedef struct { double lr, ramp /* images */, start /* of the tail, 0…1 */; fd_lr_shape shape; } fd_lr;
double fd_lr_at(const fd_lr *s, double images, double duration);

/* What train and distill have in common before their loops start. */
fd_job_options fd_job_defaults(void);
/* The largest divisor of batch that is at most `most`: images per pass when the user did not say. */
int fd_pass_size(int batch, int most);

/* How an iteration's images are cut. Every rank has as many, rank r those from r * mine on. */
typedef struct fd_share {
    int mine;                  /* images of this rank                                                         */
    int64_t first;             /* the first of them within the batch                                          */
    int pass;                  /* per pass: divides mine                                                      */
    int pass_alone;            /* the pass of a process alone, which training_options.json shows: a run may go on
                                  with another number of ranks                                                */
} fd_share;
/* `most`: images per pass unless --batch-gpu says less or more. ARG if --batch cannot be cut so. */
fd_status fd_job_share(fd_ctx *ctx, const fd_job_options *o, int most, fd_share *out);
/* Whether to try a smaller pass after `s`, which is set then: memory was short, and the user left the choice to us. Not among several
 * ranks, which must agree. */
bool fd_job_smaller_pass(fd_ctx *ctx, const fd_job_options *o, fd_status s, fd_share *share);
/* Opens --data as the options say; square images only. */
fd_status fd_job_dataset(fd_ctx *ctx, const fd_job_options *o, fd_dataset *out);
/* The start of training_options.json; the caller adds its own keys. Owner: the caller. */
json_t *fd_job_json(const fd_job_options *o, const fd_dataset *data, const char *digest, int pass);
json_t *fd_lr_json(const fd_lr *lr);

#endif
