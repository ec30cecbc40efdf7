/* Distillation through the public API: the caller's options, checked and put where `fdistill distill` puts flags. */
#include <math.h>

#include "api/api.h"
#include "io/runfolder.h"
#include "train/distill.h"

_Static_assert(FDISTILL_EMAS_MAX == FD_EMAS_MAX && FDISTILL_TAPS_MAX == FD_MAX_LEVELS, "sizes of the lists");

static fdistill_distill_options defaults(void) {
    fd_distill_options d = fd_distill_defaults();
    const fd_job_options *j = &d.job;
    const fd_distill_method *m = &d.method;
    fdistill_distill_options o = {
        .size = sizeof o, .divergence = "js", .update_freq = m->freq, .gan_weight = m->gan_weight,
        .r1_weight = m->r1_weight, .r1_alpha = m->r1_alpha, .guidance = m->guidance,
        .fake_edm_weight = m->fake_edm_weight, .sigma_max = m->sigma_max, .sigma_min = m->ratio.t_min, .rho = m->ratio.rho,
        .ratio_bins = m->ratio.bins, .ratio_spacing = fd_spacing_name(m->ratio.spacing),
        .ratio_ema = m->ratio.ema, .logit_clamp = m->ratio.logit_clamp,
        .ratio_min = m->ratio.r_min, .ratio_max = m->ratio.r_max,
        .normalise_bins = m->ratio.normalise_bins, .normalise_h = m->ratio.normalise_h, .head_width = m->head_width,
        .cond = j->cond, .xflip = j->xflip, .max_size = j->max_size, .images = (int64_t)j->duration,
        .batch = j->batch, .batch_gpu = j->batch_gpu, .seed = j->seed, .lr = d.lr.lr, .fake_lr = d.fake_lr.lr,
        .disc_lr = d.heads_lr.lr, .lr_ramp = d.lr.ramp, .lr_decay = "none", .lr_decay_start = d.lr.start,
        .beta1 = d.beta1, .beta2 = d.beta2, .weight_decay = d.weight_decay, .clip = m->clip, .dropout = d.dropout,
        .n_ema = d.n_ema, .head_norm = fd_head_norm_names[m->head_norm],
        .pairs = m->pairs, .pair_iterations = m->pair_iterations, .pair_lr = m->pair_lr,
        .pair_weight = m->pair_weight, .gan_limit = m->gan_limit, .pair_steps = m->pair_steps, .head_cond = m->head_cond,
        .tick = j->tick, .snap = j->snap, .dump = j->dump, .grid = j->grid};
    memcpy(o.ema, d.ema, sizeof o.ema);
    return o;
}

void fdistill_distill_options_init(fdistill_distill_options *o, size_t size) {
    fdistill_distill_options all = defaults();
    memset(o, 0, size);
    memcpy(o, &all, size < sizeof all ? size : sizeof all);
    o->size = size;
}

/* The ranges the command line allows. */
typedef struct { const char *name; double value, lo, hi; } limit;

static double highest_level(const fdistill_distill_options *o) { return o->t_max > 0 ? o->t_max : o->sigma_max; }

static fd_status check(fd_ctx *c, const fdistill_distill_options *o) {
    const limit limits[] = {
        {"update_freq", o->update_freq, 1, 1000}, {"gan_weight", o->gan_weight, 0, 1e3},
        {"r1_weight", o->r1_weight, 0, 1e6}, {"r1_alpha", o->r1_alpha, 0, 10}, {"guidance", o->guidance, 0, 100},
        {"sigma_min", o->sigma_min, 1e-6, 1e3}, {"sigma_max", o->sigma_max, 1e-3, 1e6},
        {"t_max", o->t_max, 0, 1e6}, {"rho", o->rho, 0.1, 100},
        {"ratio_bins", o->ratio_bins, 1, FD_RATIO_BINS_MAX}, {"ratio_ema", o->ratio_ema, 0, 0.9999},
        {"logit_clamp", o->logit_clamp, 0.1, 80}, {"ratio_min", o->ratio_min, 1e-6, 1},
        {"ratio_max", o->ratio_max, 1, 1e6}, {"ntaps", o->ntaps, 0, FDISTILL_TAPS_MAX},
        {"head_width", o->head_width, 0, 4096}, {"pairs", (double)o->pairs, 0, 1e8}, {"pair_iterations", o->pair_iterations, 0, 1e9},
        {"pair_lr", o->pair_lr, 0, 10}, {"pair_weight", o->pair_weight, 0, 1e3}, {"gan_limit", o->gan_limit, 0, 1e6},
        {"pair_steps", o->pair_steps, 1, 1000},
        {"max_size", (double)o->max_size, 0, 1e9},
        {"images", (double)o->images, 1, 1e13}, {"batch", o->batch, 1, 1 << 20},
        {"batch_gpu", o->batch_gpu, 0, 65536}, {"lr", o->lr, 1e-12, 10}, {"fake_lr", o->fake_lr, 1e-12, 10},
        {"disc_lr", o->disc_lr, 1e-12, 10}, {"lr_ramp", o->lr_ramp, 0, 1e13},
        {"lr_decay_start", o->lr_decay_start, 0, 0.999}, {"beta1", o->beta1, 0, 0.99999},
        {"beta2", o->beta2, 0, 0.99999}, {"weight_decay", o->weight_decay, 0, 10}, {"clip", o->clip, 0, 1e9},
        {"dropout", o->dropout, 0, 0.99}, {"n_ema", o->n_ema, 0, FDISTILL_EMAS_MAX},
        {"tick", (double)o->tick, 1, 1e12}, {"snap", o->snap, 0, 1e6}, {"dump", o->dump, 0, 1e6},
        {"grid", o->grid, 0, 32}, {"precision", (double)o->precision, 0, FDISTILL_BF16}};
    const struct { const char *name, *value; } texts[] = {
        {"teacher", o->teacher}, {"data", o->data}, {"outdir", o->outdir}, {"divergence", o->divergence},
        {"ratio_spacing", o->ratio_spacing}, {"lr_decay", o->lr_decay}, {"head_norm", o->head_norm}};
    for (size_t i = 0; i < FD_COUNT(texts); i++)
        if (!texts[i].value || !*texts[i].value)
            return FD_FAIL(c, FD_E_ARG, "fdistill_distill: %s is not given", texts[i].name);
    for (size_t i = 0; i < FD_COUNT(limits); i++)
        if (!(limits[i].value >= limits[i].lo && limits[i].value <= limits[i].hi))      /* NaN is refused too */
            return FD_FAIL(c, FD_E_ARG, "fdistill_distill: %s is %g, not in %g … %g", limits[i].name, limits[i].value,
                           limits[i].lo, limits[i].hi);
    for (int i = 0; i < o->n_ema; i++)
        if (!(o->ema[i] >= 0 && o->ema[i] <= 1e12))
            return FD_FAIL(c, FD_E_ARG, "fdistill_distill: ema[%d] is %g, not in 0 … 1e12", i, o->ema[i]);
    for (int i = 0; i < o->ntaps; i++)
        if (o->taps[i] < 0 || o->taps[i] >= FDISTILL_TAPS_MAX)
            return FD_FAIL(c, FD_E_ARG, "fdistill_distill: taps[%d] is %d, not in 0 … %d", i, o->taps[i],
                           FDISTILL_TAPS_MAX - 1);
    if (!(o->sigma_min < highest_level(o)))
        return FD_FAIL(c, FD_E_ARG, "fdistill_distill: sigma_min %g is not below %s %g", o->sigma_min,
                       o->t_max > 0 ? "t_max" : "sigma_max", highest_level(o));
    return FD_OK;
}

/* The place of `name` among the words of an option, which end with NULL. */
static fd_status find_word(fd_ctx *c, const char *option, const char *name, const char *const *words, const char *choose, int *out) {
    for (*out = 0; words[*out]; ++*out)
        if (!strcmp(name, words[*out])) return FD_OK;
    return FD_FAIL(c, FD_E_ARG, "fdistill_distill: %s '%s' is unknown: choose %s", option, name, choose);
}

static fd_status translate(fd_ctx *c, const fdistill_distill_options *o, char *folder, fd_distill_options *out) {
    fd_distill_options d = fd_distill_defaults();
    fd_distill_method *m = &d.method;
    fd_ratio_config *r = &m->ratio;
    fd_lr lr = {.ramp = o->lr_ramp, .start = o->lr_decay_start};
    FD_TRY(fd_divergence_find(c, o->divergence, &m->divergence));
    FD_TRY(fd_spacing_find(c, o->ratio_spacing, &r->spacing));
    static const char *const decays[] = {"none", "linear", "cosine", NULL};      /* as fd_lr_shape counts them */
    int decay, norm;
    FD_TRY(find_word(c, "lr_decay", o->lr_decay, decays, "none, linear or cosine", &decay));
    FD_TRY(find_word(c, "head_norm", o->head_norm, fd_head_norm_names, "group or none", &norm));
    lr.shape = (fd_lr_shape)decay;
    d.job = (fd_job_options){
        .data = o->data, .outdir = o->outdir, .desc = o->desc, .nosubdir = o->nosubdir, .resume = o->resume,
        .cond = o->cond, .xflip = o->xflip, .max_size = o->max_size, .duration = (double)o->images, .batch = o->batch,
        .batch_gpu = o->batch_gpu, .seed = o->seed, .dtype = o->precision == FDISTILL_BF16 ? FD_BF16 : FD_F32,
        .tick = o->tick, .snap = o->snap, .dump = o->dump, .grid = o->grid, .folder = folder};
    d.teacher = o->teacher;
    d.transfer = o->transfer;
    m->freq = o->update_freq;
    m->gan_weight = o->gan_weight;
    m->r1_weight = o->r1_weight;
    m->r1_alpha = o->r1_alpha;
    m->guidance = o->guidance;
    m->fake_edm_weight = o->fake_edm_weight;
    m->sigma_max = o->sigma_max;
    r->t_min = o->sigma_min;
    r->t_max = highest_level(o);
    r->rho = o->rho;
    m->clip = o->clip;
    m->head_width = o->head_width;
    m->pairs = o->pairs;
    m->pair_iterations = o->pair_iterations;
    m->pair_lr = o->pair_lr;
    m->pair_weight = o->pair_weight;
    m->gan_limit = o->gan_limit;
    m->pair_steps = o->pair_steps;
    m->head_cond = o->head_cond;
    m->head_norm = (fd_head_norm)norm;
    m->ntaps = o->ntaps;
    memcpy(m->taps, o->taps, sizeof m->taps);
    r->bins = o->ratio_bins;
    r->ema = o->ratio_ema;
    r->logit_clamp = o->logit_clamp;
    r->r_min = o->ratio_min;
    r->r_max = o->ratio_max;
    r->normalise_bins = o->normalise_bins;
    r->normalise_h = o->normalise_h;
    d.lr = d.fake_lr = d.heads_lr = lr;
    d.lr.lr = o->lr;
    d.fake_lr.lr = o->fake_lr;
    d.heads_lr.lr = o->disc_lr;
    d.beta1 = o->beta1;
    d.beta2 = o->beta2;
    d.weight_decay = o->weight_decay;
    d.dropout = o->dropout;
    d.n_ema = o->n_ema;
    memcpy(d.ema, o->ema, sizeof d.ema);
    *out = d;
    return FD_OK;
}

static void find_student(fdistill_distill_result *r) {
    int64_t kimg = r->folder[0] ? fd_newest_numbered(r->folder, "network-snapshot-", ".safetensors") : -1;
    r->student[0] = 0;
    if (kimg < 0) return;
    int n = snprintf(r->student, sizeof r->student, "%.4000s/network-snapshot-%06lld.safetensors", r->folder,
                     (long long)kimg);
    if (n >= (int)sizeof r->student) r->student[0] = 0;
}

static fd_status distill(fd_ctx *c, const fdistill_distill_options *o, fdistill_distill_result *result) {
    fd_distill_options d;
    FD_TRY(check(c, o));
    FD_TRY(translate(c, o, result->folder, &d));
    c->watch = o->progress;
    c->watch_user = o->user;
    fd_status s = fd_distill(c, &d);
    c->watch = NULL;
    find_student(result);
    return s;
}

fdistill_status fdistill_distill(fdistill_context *ctx, const fdistill_distill_options *o,
                                 fdistill_distill_result *result, size_t size) {
    fd_ctx *c = fd_api_enter(ctx);
    fdistill_distill_options all = defaults();
    fdistill_distill_result r = {.size = size};
    if (result && (size <= offsetof(fdistill_distill_result, student) || size > 1 << 20))
        return (fdistill_status)FD_FAIL(c, FD_E_ARG, "fdistill_distill: %zu is no size of the result; give sizeof "
                                        "*result", size);
    if (!fd_api_take(&all, sizeof all, o, offsetof(fdistill_distill_options, user)))
        return (fdistill_status)FD_FAIL(c, FD_E_ARG, "fdistill_distill: the options say they have %zu bytes; fill "
                                        "them with fdistill_distill_options_init", o->size);
    fd_status s = distill(c, &all, &r);
    if (result) {
        memset(result, 0, size);
        memcpy(result, &r, size < sizeof r ? size : sizeof r);
    }
    return (fdistill_status)s;
}
