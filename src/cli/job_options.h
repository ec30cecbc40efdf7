/* job_options.h — the options that every long run has, as rows of an option table. */
#ifndef FD_CLI_JOB_OPTIONS_H
#define FD_CLI_JOB_OPTIONS_H

#include "cli/args.h"
#include "cli/device.h"
#include "train/job.h"

extern const char *const fd_lr_shape_names[];     /* "none", "linear", "cosine" */
extern const char *const fd_auto_word[];          /* "auto" */

/* What has no place of its own in fd_job_options. */
typedef struct {
    int precision;                /* index into fd_precision_names (cli/sampling.h) */
    fd_device_choice device;
    int64_t iterations;
    int lr_shape;
    double lr_ramp, lr_start;
} fd_job_extra;

/* j is an fd_job_options variable with its defaults, x an fd_job_extra. */
#define FD_JOB_ROWS(j, x)                                                                                            \
    {.name = "data", .type = FD_OPT_TEXT, .to = &(j).data, .value = "PATH", .required = true,                        \
     .help = "Images: EDM zip or folder.", .group = "Run"},                                                          \
    {.name = "outdir", .type = FD_OPT_TEXT, .to = &(j).outdir, .value = "DIR", .required = true,                     \
     .help = "The run folder 00000-… is made here."},                                                                \
    {.name = "cond", .type = FD_OPT_FLAG, .to = &(j).cond, .help = "Use the labels."},                               \
    {.name = "duration", .type = FD_OPT_AMOUNT, .to = &(j).duration, .value = "MIMG", .unit = 1e6, .lo = 1,          \
     .hi = 1e13,                                                                                                     \
     .help = "Length of the run in million images, or in images with a suffix: 500k, 64Mi."},                        \
    {.name = "iterations", .type = FD_OPT_COUNT, .to = &(x).iterations, .value = "N", .lo = 1, .hi = 1e9,            \
     .no_default = true, .help = "Or its length in iterations of --batch images."},                                  \
    {.name = "batch", .type = FD_OPT_INT, .to = &(j).batch, .value = "N", .lo = 1, .hi = 65536,                      \
     .help = "Images per iteration."},                                                                               \
    {.name = "batch-gpu", .type = FD_OPT_INT, .to = &(j).batch_gpu, .value = "N", .lo = 1, .hi = 65536,              \
     .words = fd_auto_word, .no_default = true, .help = "Images per pass through the network; changes memory, not the result. Without it, "\
     "or as auto: at most 32, fewer where memory is short."},                                                        \
    {.name = "xflip", .type = FD_OPT_FLAG, .to = &(j).xflip, .help = "Mirror images at random."},                    \
    {.name = "max-size", .type = FD_OPT_COUNT, .to = &(j).max_size, .value = "N", .lo = 1, .hi = 1e9,                \
     .no_default = true, .help = "Use only so many images, drawn with the seed."},                                   \
    {.name = "precision", .type = FD_OPT_ENUM, .to = &(x).precision, .value = "NAME", .words = fd_precision_names,   \
     .help = "Number type of the computation; weights are always float32."},                                         \
    FD_DEVICE_ROWS((x).device),                                                                                      \
    {.name = "seed", .type = FD_OPT_SEED, .to = &(j).seed, .value = "N", .help = "Of everything random."},           \
    {.name = "tick", .type = FD_OPT_COUNT, .to = &(j).tick, .value = "KIMG", .unit = 1000, .lo = 1, .hi = 1e12,      \
     .help = "Progress lines and statistics every so many thousand images."},                                        \
    {.name = "snap", .type = FD_OPT_INT, .to = &(j).snap, .value = "TICKS", .lo = 0, .hi = 1e6,                      \
     .help = "Network snapshots and grids every so many ticks; 0 only at the end."},                                 \
    {.name = "dump", .type = FD_OPT_INT, .to = &(j).dump, .value = "TICKS", .lo = 0, .hi = 1e6,                      \
     .help = "Training states, to resume from; 0 only at the end."},                                                 \
    {.name = "grid", .type = FD_OPT_INT, .to = &(j).grid, .value = "N", .lo = 0, .hi = 32,                           \
     .help = "Rows and columns of the grids of pictures; 0 for none."},                                              \
    {.name = "resume", .type = FD_OPT_FLAG, .to = &(j).resume,                                                       \
     .help = "Continue the newest run in --outdir with the same options; start one if there is none."},              \
    {.name = "desc", .type = FD_OPT_TEXT, .to = &(j).desc, .value = "TEXT",                                          \
     .help = "Appended to the folder's name."},                                                                      \
    {.name = "nosubdir", .type = FD_OPT_FLAG, .to = &(j).nosubdir, .help = "Write straight into --outdir."},         \
    {.name = "dry-run", .type = FD_OPT_FLAG, .to = &(j).dry_run, .letter = 'n',                                      \
     .help = "Check everything, print the plan, write nothing."}

#define FD_LR_ROWS(x)                                                                                                \
    {.name = "lr-ramp", .type = FD_OPT_AMOUNT, .to = &(x).lr_ramp, .value = "MIMG", .unit = 1e6, .lo = 0,            \
     .hi = 1e13,                                                                                                     \
     .help = "Learning rates rise linearly over so many million images (500k, 64Mi: images)."},                      \
    {.name = "lr-decay", .type = FD_OPT_ENUM, .to = &(x).lr_shape, .value = "NAME", .words = fd_lr_shape_names,      \
     .help = "How learning rates fall to zero at the end."},                                                         \
    {.name = "lr-decay-start", .type = FD_OPT_DOUBLE, .to = &(x).lr_start, .value = "X", .lo = 0, .hi = 0.999,       \
     .help = "Share of the run after which they fall."}

/* The defaults of the extras, taken from the options' own. */
fd_job_extra fd_job_extra_of(const fd_job_options *j, const fd_lr *lr);
/* Puts the extras into their places after parsing. */
void fd_job_resolve(fd_job_options *j, const fd_job_extra *x, bool iterations_given, fd_lr *const *lr, int n_lr);

#endif
