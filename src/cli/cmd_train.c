/* fdistill train — a teacher, by denoising score matching as in EDM. */
#include <string.h>

#include "base/interrupt.h"
#include "cli/commands.h"
#include "cli/job_options.h"
#include "cli/run_metric.h"
#include "cli/sampling.h"
#include "train/train.h"

static const char *const archs[] = {"ddpmpp", "ncsnpp", "adm", NULL};
static const fd_family families[] = {FD_FAMILY_DDPMPP, FD_FAMILY_NCSNPP, FD_FAMILY_ADM};

/* Options of the network; what was not given keeps the preset of --arch. */
typedef struct {
    int arch, cbase, blocks, cres[FD_MAX_LEVELS], ncres, attn[FD_MAX_LEVELS], nattn;
    double dropout;
    bool cbase_given, blocks_given, attn_given, dropout_given, no_attention;
} net_flags;

static fd_status configure(fd_ctx *ctx, const net_flags *f, double label_dropout, fd_net_config *c) {
    fd_net_config_preset(c, families[f->arch]);
    if (f->cbase_given) c->model_channels = f->cbase;
    if (f->blocks_given) c->num_blocks = f->blocks;
    if (f->dropout_given) c->dropout = f->dropout;
    if (f->ncres) {
        c->levels = f->ncres;
        memcpy(c->channel_mult, f->cres, sizeof c->channel_mult);
    }
    if (f->attn_given && f->no_attention)
        return FD_FAIL(ctx, FD_E_ARG, "--attn and --no-attention exclude each other");
    if (f->attn_given || f->no_attention) {
        c->nattn = f->no_attention ? 0 : f->nattn;
        memcpy(c->attn_resolutions, f->attn, sizeof c->attn_resolutions);
    }
    c->label_dropout = label_dropout;
    return FD_OK;
}

fd_status fd_cmd_train(fd_ctx *ctx, int argc, char **argv) {
    ctx->large_pages = true;
    fd_train_options t = fd_train_defaults();
    fd_job_extra x = fd_job_extra_of(&t.job, &t.lr);
    fd_run_metric_options metric = FD_RUN_METRIC_DEFAULTS;
    net_flags f = {.cbase = 128, .blocks = 4, .dropout = 0.13};
    bool iterations_given = false;
    fd_option o[] = {
        FD_JOB_ROWS(t.job, x),
        FD_RUN_METRIC_ROWS(metric),
        {.name = "arch", .type = FD_OPT_ENUM, .to = &f.arch, .value = "NAME", .words = archs, .group = "Network",
         .help = "Architecture; the options below override its published sizes."},
        {.name = "cbase", .type = FD_OPT_INT, .to = &f.cbase, .value = "N", .lo = 4, .hi = 4096,
         .given = &f.cbase_given, .help = "Base channels.", .no_default = true},
        {.name = "cres", .type = FD_OPT_INTS, .to = f.cres, .value = "LIST", .count = &f.ncres,
         .most = FD_MAX_LEVELS, .lo = 1, .hi = 64, .no_default = true,
         .help = "Channel multiplier of every level, finest first, such as 2,2,2."},
        {.name = "blocks", .type = FD_OPT_INT, .to = &f.blocks, .value = "N", .lo = 1, .hi = FD_MAX_BLOCKS,
         .given = &f.blocks_given, .help = "Residual blocks per level.", .no_default = true},
        {.name = "attn", .type = FD_OPT_INTS, .to = f.attn, .value = "LIST", .count = &f.nattn,
         .most = FD_MAX_LEVELS, .lo = 1, .hi = 4096, .given = &f.attn_given,
         .help = "Resolutions with self-attention.", .no_default = true},
        {.name = "no-attention", .type = FD_OPT_FLAG, .to = &f.no_attention, .help = "No self-attention anywhere."},
        {.name = "dropout", .type = FD_OPT_DOUBLE, .to = &f.dropout, .value = "P", .lo = 0, .hi = 0.99,
         .given = &f.dropout_given, .help = "Dropout probability.", .no_default = true},
        {.name = "transfer", .type = FD_OPT_TEXT, .to = &t.transfer, .value = "FILE",
         .help = "Start from these weights."},
        {.name = "lr", .type = FD_OPT_DOUBLE, .to = &t.lr.lr, .value = "X", .lo = 1e-12, .hi = 10,
         .group = "Training", .help = "Learning rate."},
        FD_LR_ROWS(x),
        {.name = "beta1", .type = FD_OPT_DOUBLE, .to = &t.beta1, .value = "X", .lo = 0, .hi = 0.99999,
         .help = "Of Adam."},
        {.name = "beta2", .type = FD_OPT_DOUBLE, .to = &t.beta2, .value = "X", .lo = 0, .hi = 0.99999,
         .help = "Of Adam."},
        {.name = "ema", .type = FD_OPT_AMOUNT, .to = &t.ema_halflife, .value = "MIMG", .unit = 1e6, .lo = 0,
         .hi = 1e13, .help = "Half-life of the weight average in million images (500k, 64Mi: images)."},
        {.name = "ema-ramp", .type = FD_OPT_DOUBLE, .to = &t.ema_ramp, .value = "X", .lo = 0, .hi = 1,
         .help = "It is at most this share of the images seen; 0 for no limit."},
        {.name = "p-mean", .type = FD_OPT_DOUBLE, .to = &t.p_mean, .value = "X", .lo = -20, .hi = 20,
         .help = "Mean of ln sigma."},
        {.name = "p-std", .type = FD_OPT_DOUBLE, .to = &t.p_std, .value = "X", .lo = 1e-3, .hi = 20,
         .help = "Standard deviation of ln sigma."},
        {.name = "augment", .type = FD_OPT_DOUBLE, .to = &t.augment, .value = "P", .lo = 0, .hi = 1,
         .help = "Probability of each of EDM's augmentations: mirror up-down, scale, rotate, stretch, shift; half of "
                 "the images are mirrored left-right too. The network is told what was done (an input of 9 numbers, "
                 "absent when it makes images), so its images show none of it. EDM: 0.12 for CIFAR-10, 0.15 for "
                 "FFHQ and AFHQ at 64x64; 0 for none."},
        {.name = "label-dropout", .type = FD_OPT_DOUBLE, .to = &t.label_dropout, .value = "P", .lo = 0, .hi = 0.99,
         .help = "Probability of training a sample without its label."},
        {.name = "clip", .type = FD_OPT_DOUBLE, .to = &t.clip, .value = "X", .lo = 0, .hi = 1e9,
         .help = "Limit of the gradient norm; 0 for none."},
    };
    for (int i = 0; i < (int)FD_COUNT(o); i++)
        if (!strcmp(o[i].name, "iterations")) o[i].given = &iterations_given;
    fd_args a = {
        .command = "train", .option = o, .n = (int)FD_COUNT(o),
        .about = "Trains a diffusion teacher with EDM's loss and Adam. SIGINT and SIGTERM finish the iteration, "
                 "save and leave with exit code 130; the same command with --resume goes on, with the same bits.",
        .examples = "  fdistill train --data sprites-16x16.zip --cond --outdir runs --cbase 32 --cres 1,2,4\n"
                    "      --blocks 1 --attn 8 --dropout 0 --batch 64 --duration 0.5 --lr 2e-3 --lr-decay cosine\n"
                    "  fdistill train --data cifar10-32x32.zip --cond --outdir runs --augment 0.12 --resume\n"};
    FD_TRY(fd_args_parse(ctx, &a, argc, argv));
    if (a.helped) return FD_OK;
    fd_lr *const lr[] = {&t.lr};
    fd_job_resolve(&t.job, &x, iterations_given, lr, 1);
    FD_TRY(configure(ctx, &f, t.label_dropout, &t.net));
    FD_TRY(fd_device_open(ctx, x.device, &t.job.backend));
    FD_TRY(fd_run_metric_attach(ctx, &metric, x.device, &t.job));
    fd_interrupt_install();
    return fd_train(ctx, &t);
}
