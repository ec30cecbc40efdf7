#include "cli/fid_net.h"

#include <string.h>

#include "base/interrupt.h"
#include "cli/job_options.h"
#include "cli/sampling.h"
#include "eval/feature_train.h"

static const char *const kinds[] = {"labels", "sprites", NULL};

fd_status fd_cmd_fid_net(fd_ctx *ctx, int argc, char **argv) {
    fd_feature_options t = fd_feature_defaults();
    fd_job_extra x = fd_job_extra_of(&t.job, &t.lr);
    bool iterations_given = false;
    int kind = 0, nchannels = 0, channels[FD_MAX_LEVELS];
    fd_option o[] = {
        FD_JOB_ROWS(t.job, x),
        {.name = "attributes", .type = FD_OPT_ENUM, .to = &kind, .value = "NAME", .words = kinds, .group = "Network",
         .help = "What it learns to tell: the labels of the set, or shape, hue, background and size, read from sprites."},
        {.name = "test", .type = FD_OPT_TEXT, .to = &t.test, .value = "PATH",
         .help = "Set that the accuracy is measured on; without it, the one trained on."},
        {.name = "channels", .type = FD_OPT_INTS, .to = channels, .value = "LIST", .count = &nchannels,
         .most = FD_MAX_LEVELS, .lo = 1, .hi = 4096, .no_default = true,
         .help = "Widths of its stages; the last is the number of features. (default 16,32,64,64)"},
        {.name = "blocks", .type = FD_OPT_INT, .to = &t.blocks, .value = "N", .lo = 0, .hi = FD_MAX_BLOCKS,
         .help = "Residual blocks per stage; 0 for plain convolutions."},
        {.name = "lr", .type = FD_OPT_DOUBLE, .to = &t.lr.lr, .value = "X", .lo = 1e-12, .hi = 10,
         .group = "Training", .help = "Learning rate."},
        FD_LR_ROWS(x),
        {.name = "weight-decay", .type = FD_OPT_DOUBLE, .to = &t.weight_decay, .value = "X", .lo = 0, .hi = 10,
         .help = "Of AdamW."},
        {.name = "ema", .type = FD_OPT_AMOUNT, .to = &t.ema_halflife, .value = "MIMG", .unit = 1e6, .lo = 0,
         .hi = 1e13, .help = "Half-life of the weight average in million images (500k, 64Mi: images)."},
        {.name = "smooth", .type = FD_OPT_DOUBLE, .to = &t.smooth, .value = "P", .lo = 0, .hi = 0.99,
         .help = "Share of every target that is spread over all classes."},
        {.name = "noise", .type = FD_OPT_DOUBLE, .to = &t.noise, .value = "X", .lo = 0, .hi = 10,
         .help = "Pictures get noise of up to this deviation, in units where they span [-1, 1]."},
        {.name = "shift", .type = FD_OPT_INT, .to = &t.shift, .value = "N", .lo = 0, .hi = 1024,
         .help = "Pictures are moved by up to so many pixels."},
    };
    for (int i = 0; i < (int)FD_COUNT(o); i++)
        if (!strcmp(o[i].name, "iterations")) o[i].given = &iterations_given;
    fd_args a = {
        .command = "fid net", .option = o, .n = (int)FD_COUNT(o),
        .about = "Trains the feature network of a set: a small classifier whose last layer before the classes is the "
                 "feature vector. Distances measured with it carry its name; they are no FID. SIGINT, SIGTERM and "
                 "--resume work as in 'fdistill train'.",
        .examples = "  fdistill fid net --data sprites.zip --attributes sprites --outdir runs\n"
                    "  fdistill fid net --data cifar10.zip --test cifar10-test.zip --outdir runs --channels 32,64,128,128\n"
                    "      --blocks 1 --xflip --shift 4 --smooth 0.1 --duration 1.5\n"};
    FD_TRY(fd_args_parse(ctx, &a, argc, argv));
    if (a.helped) return FD_OK;
    if (nchannels) {
        t.nchannels = nchannels;
        memcpy(t.channels, channels, sizeof t.channels);
    }
    t.attributes = (fd_attributes_kind)kind;
    fd_lr *const lr[] = {&t.lr};
    fd_job_resolve(&t.job, &x, iterations_given, lr, 1);
    FD_TRY(fd_device_open(ctx, x.device, &t.job.backend));
    fd_interrupt_install();
    return fd_feature_train(ctx, &t);
}
