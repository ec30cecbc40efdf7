/* fdistill distill — the main job: a one-step student from a teacher. */
#include <string.h>

#include "base/interrupt.h"
#include "cli/commands.h"
#include "cli/job_options.h"
#include "cli/run_metric.h"
#include "cli/sampling.h"
#include "train/distill.h"

static const char *const spacings[] = {"sigma", "log-sigma", "quantile", NULL};
static const char *const fake_weights[] = {"flat", "edm", NULL};

fd_status fd_cmd_distill(fd_ctx *ctx, int argc, char **argv) {
    ctx->large_pages = true;
    fd_distill_options t = fd_distill_defaults();
    fd_distill_method *m = &t.method;
    fd_ratio_config *r = &m->ratio;
    fd_job_extra x = fd_job_extra_of(&t.job, &t.lr);
    fd_run_metric_options metric = FD_RUN_METRIC_DEFAULTS;
    const char *divergence = m->divergence ? m->divergence->name : "js";
    int spacing = r->spacing, fake_weight = m->fake_edm_weight, head_norm = m->head_norm;
    bool iterations_given = false, t_max_given = false;
    fd_option o[] = {
        {.name = "teacher", .type = FD_OPT_TEXT, .to = &t.teacher, .value = "FILE", .required = true,
         .help = "The pretrained network: a .safetensors file of fdistill, or one that import reads.",
         .group = "Method"},
        {.name = "transfer", .type = FD_OPT_TEXT, .to = &t.transfer, .value = "FILE",
         .help = "Start the student from these weights instead of the teacher's: an earlier student, say."},
        {.name = "pairs", .type = FD_OPT_COUNT, .to = &m->pairs, .value = "N", .lo = 0, .hi = 1e8,
         .help = "First draw the student to N images that the teacher's sampler makes of the same noise; 0 for none."},
        {.name = "pair-steps", .type = FD_OPT_INT, .to = &m->pair_steps, .value = "N", .lo = 1, .hi = 1000,
         .help = "Evaluations of the teacher for each of them, by DPM-Solver++(2M)."},
        {.name = "pair-iterations", .type = FD_OPT_INT, .to = &m->pair_iterations, .value = "N", .lo = 0, .hi = 1e9,
         .help = "Iterations of the run that go into that."},
        {.name = "pair-lr", .type = FD_OPT_DOUBLE, .to = &m->pair_lr, .value = "X", .lo = 0, .hi = 10,
         .help = "Learning rate in them, falling by a cosine; 0 takes that of --lr."},
        {.name = "pair-weight", .type = FD_OPT_DOUBLE, .to = &m->pair_weight, .value = "X", .lo = 0, .hi = 1e3,
         .help = "Weight of the distance to those images in the student's loss afterwards."},
        {.name = "divergence", .type = FD_OPT_TEXT, .to = &divergence, .value = "NAME",
         .help = "What the student minimises: rkl (this is DMD2), sf, js, sh, kl, jf, neyman, pearson."},
        {.name = "update-freq", .type = FD_OPT_INT, .to = &m->freq, .value = "N", .lo = 1, .hi = 1000,
         .help = "Every N-th iteration trains the student, the others the fake score and the heads."},
        {.name = "gan-weight", .type = FD_OPT_DOUBLE, .to = &m->gan_weight, .value = "X", .lo = 0, .hi = 1e3,
         .help = "Weight of the student's GAN term; 0 trains the heads for the ratio only."},
        {.name = "gan-limit", .type = FD_OPT_DOUBLE, .to = &m->gan_limit, .value = "X", .lo = 0, .hi = 1e6,
         .help = "Weaken the GAN term where its gradient at the image exceeds X times the score's; 0 never does."},
        {.name = "r1-weight", .type = FD_OPT_DOUBLE, .to = &m->r1_weight, .value = "X", .lo = 0, .hi = 1e6,
         .help = "Weight of the heads' approximate R1 penalty."},
        {.name = "r1-alpha", .type = FD_OPT_DOUBLE, .to = &m->r1_alpha, .value = "X", .lo = 0, .hi = 10,
         .help = "Noise of that penalty."},
        {.name = "guidance", .type = FD_OPT_DOUBLE, .to = &m->guidance, .value = "X", .lo = 0, .hi = 100,
         .help = "Classifier-free guidance on the teacher; 1 for none."},
        {.name = "fake-weight", .type = FD_OPT_ENUM, .to = &fake_weight, .value = "NAME", .words = fake_weights,
         .help = "Weight of the fake score's loss over the noise levels."},
        {.name = "sigma_max", .type = FD_OPT_DOUBLE, .to = &m->sigma_max, .value = "X", .lo = 1e-3, .hi = 1e6,
         .help = "Noise level the student starts from."},
        {.name = "t_max", .type = FD_OPT_DOUBLE, .to = &r->t_max, .value = "X", .lo = 1e-3, .hi = 1e6, .given = &t_max_given,
         .help = "Highest level t that teacher and fake score are compared at; --sigma_max if not given.", .no_default = true},
        {.name = "sigma_min", .type = FD_OPT_DOUBLE, .to = &r->t_min, .value = "X", .lo = 1e-6, .hi = 1e3,
         .help = "Lowest level of t."},
        {.name = "rho", .type = FD_OPT_DOUBLE, .to = &r->rho, .value = "X", .lo = 0.1, .hi = 100,
         .help = "Exponent of the grid that t is drawn from."},
        {.name = "ratio-bins", .type = FD_OPT_INT, .to = &r->bins, .value = "N", .lo = 1, .hi = FD_RATIO_BINS_MAX,
         .help = "Bins of t that the density ratio is normalised in.", .group = "Density ratio"},
        {.name = "ratio-spacing", .type = FD_OPT_ENUM, .to = &spacing, .value = "NAME", .words = spacings,
         .help = "How the bins are spaced."},
        {.name = "ratio-ema", .type = FD_OPT_DOUBLE, .to = &r->ema, .value = "X", .lo = 0, .hi = 0.9999,
         .help = "Share of a bin's old average that is kept."},
        {.name = "logit-clamp", .type = FD_OPT_DOUBLE, .to = &r->logit_clamp, .value = "X", .lo = 0.1, .hi = 80,
         .help = "Logits are clamped to this."},
        {.name = "ratio-min", .type = FD_OPT_DOUBLE, .to = &r->r_min, .value = "X", .lo = 1e-6, .hi = 1,
         .help = "Least ratio."},
        {.name = "ratio-max", .type = FD_OPT_DOUBLE, .to = &r->r_max, .value = "X", .lo = 1, .hi = 1e6,
         .help = "Greatest ratio."},
        {.name = "normalise-bins", .type = FD_OPT_FLAG, .to = &r->normalise_bins,
         .help = "Divide the ratio by the average of its bin."},
        {.name = "normalise-h", .type = FD_OPT_FLAG, .to = &r->normalise_h,
         .help = "Divide the weights by their mean."},
        {.name = "taps", .type = FD_OPT_INTS, .to = m->taps, .value = "LIST", .count = &m->ntaps, .most = 8, .lo = 0,
         .hi = 7, .help = "Encoder levels the heads look at, 0 the finest; all if not given.", .no_default = true,
         .group = "Heads"},
        {.name = "head-width", .type = FD_OPT_INT, .to = &m->head_width, .value = "N", .lo = 0, .hi = 4096,
         .help = "Channels of the heads; 0 takes those of the features."},
        {.name = "head-norm", .type = FD_OPT_ENUM, .to = &head_norm, .value = "NAME", .words = fd_head_norm_names,
         .help = "Norms of the heads: as published, or none, which small heads learn faster without."},
        {.name = "head-cond", .type = FD_OPT_FLAG, .to = &m->head_cond,
         .help = "Let the heads judge an image as one of its class. Without it they hardly see how many pictures of a class look so."},
        {.name = "lr", .type = FD_OPT_DOUBLE, .to = &t.lr.lr, .value = "X", .lo = 1e-12, .hi = 10,
         .group = "Training", .help = "Learning rate of the student."},
        {.name = "fake-lr", .type = FD_OPT_DOUBLE, .to = &t.fake_lr.lr, .value = "X", .lo = 1e-12, .hi = 10,
         .help = "Of the fake score."},
        {.name = "disc-lr", .type = FD_OPT_DOUBLE, .to = &t.heads_lr.lr, .value = "X", .lo = 1e-12, .hi = 10,
         .help = "Of the heads."},
        FD_LR_ROWS(x),
        {.name = "beta1", .type = FD_OPT_DOUBLE, .to = &t.beta1, .value = "X", .lo = 0, .hi = 0.99999,
         .help = "Of AdamW."},
        {.name = "beta2", .type = FD_OPT_DOUBLE, .to = &t.beta2, .value = "X", .lo = 0, .hi = 0.99999,
         .help = "Of AdamW."},
        {.name = "weight-decay", .type = FD_OPT_DOUBLE, .to = &t.weight_decay, .value = "X", .lo = 0, .hi = 10,
         .help = "Of AdamW."},
        {.name = "clip", .type = FD_OPT_DOUBLE, .to = &m->clip, .value = "X", .lo = 0, .hi = 1e9,
         .help = "Limit of the student's gradient norm; 0 for none."},
        {.name = "ema", .type = FD_OPT_DOUBLES, .to = t.ema, .value = "LIST", .count = &t.n_ema, .most = FD_EMAS_MAX,
         .lo = 0, .hi = 1e12,
         .help = "Averages of the student: below 1 a decay per iteration, from 1 on a half-life in images."},
        {.name = "dropout", .type = FD_OPT_DOUBLE, .to = &t.dropout, .value = "P", .lo = 0, .hi = 0.99,
         .help = "Dropout of the student."},
        FD_JOB_ROWS(t.job, x),
        FD_RUN_METRIC_ROWS(metric),
    };
    for (int i = 0; i < (int)FD_COUNT(o); i++)
        if (!strcmp(o[i].name, "iterations")) o[i].given = &iterations_given;
    fd_args a = {
        .command = "distill", .option = o, .n = (int)FD_COUNT(o),
        .about = "Distils a teacher into a generator that makes an image in one step, by f-distill (arXiv "
                 "2502.15681). SIGINT and SIGTERM finish the iteration, save and leave with exit code 130; the same "
                 "command with --resume goes on, with the same bits.",
        .examples = "  fdistill distill --teacher teacher.safetensors --data sprites-16x16.zip --cond --outdir runs "
                    "--divergence js\n"
                    "      --batch 64 --iterations 2400 --update-freq 3 --lr 3e-4 --fake-lr 6e-4 --disc-lr 1e-3\n"};
    FD_TRY(fd_args_parse(ctx, &a, argc, argv));
    if (a.helped) return FD_OK;
    FD_TRY(fd_divergence_find(ctx, divergence, &m->divergence));
    r->spacing = (fd_spacing)spacing;
    m->fake_edm_weight = fake_weight == 1;
    m->head_norm = (fd_head_norm)head_norm;
    if (!t_max_given) r->t_max = m->sigma_max;
    if (!(r->t_min < r->t_max))
        return FD_FAIL(ctx, FD_E_ARG, "--sigma_min %g is not below --%s %g", r->t_min, t_max_given ? "t_max" : "sigma_max", r->t_max);
    fd_lr *const lr[] = {&t.lr, &t.fake_lr, &t.heads_lr};
    fd_job_resolve(&t.job, &x, iterations_given, lr, 3);
    FD_TRY(fd_device_open(ctx, x.device, &t.job.backend));
    FD_TRY(fd_run_metric_attach(ctx, &metric, x.device, &t.job));
    fd_interrupt_install();
    return fd_distill(ctx, &t);
}
