/* fdistill fid calc — distances, KID, precision and recall, Inception score of images or of a network. */
#include <stdio.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/progress.h"
#include "cli/fid_calc.h"
#include "comm/comm.h"
#include "io/npy.h"
#include "models/inception.h"

typedef fd_fid_calc_options options;

/* What is open during a calculation. */
typedef struct {
    const options *o;
    fd_measure_spec measure;
    char name[256];               /* of the feature network */
    fd_reference ref;
    fd_measured real;             /* pictures behind the reference, where they had to be measured here */
    fd_fid_report *report;
} job;

/* Refuses statistics that cannot be compared with what this network and rule give. */
static fd_status comparable(fd_ctx *ctx, const job *j, const fd_reference *ref, const char *path) {
    char digest[65];
    const fd_provenance *r = &ref->from;
    const int d = fd_feature_net_dim(&j->measure.net->config);
    FD_TRY(fd_net_digest(ctx, j->measure.net, digest));
    if (d != ref->d)
        return FD_FAIL(ctx, FD_E_SHAPE, "%s: statistics of %d features, but the feature network gives %d: it was "
                       "made with another network", path, ref->d, d);
    if (j->measure.spatial && !ref->ds)
        return FD_FAIL(ctx, FD_E_ARG, "%s: holds no mu_s and sigma_s, which sFID compares: give the images to --data, or make it "
                       "with 'fdistill fid ref --spatial'", path);
    if (j->measure.spatial && ref->ds != FD_INCEPTION_SPATIAL)
        return FD_FAIL(ctx, FD_E_SHAPE, "%s: mu_s has %d spatial features, not %d", path, ref->ds, FD_INCEPTION_SPATIAL);
    if (r->known && r->features_digest[0] && strcmp(r->features_digest, digest))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: made with the feature network '%s' (%.12s), not with '%s' (%.12s): "
                       "distances between them mean nothing; make the reference again with 'fdistill fid ref'", path,
                       r->features, r->features_digest, j->name, digest);
    if (r->known && r->resize[0] && strcmp(r->resize, fd_measure_resize_words(j->measure.net, j->measure.resize)))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: made with another resize rule (%s); give it to --resize, or make the "
                       "reference again", path, r->resize);
    return FD_OK;
}

/* What makes a comparison weak. */
static void judge(job *j, const fd_provenance *m) {
    fd_fid_report *out = j->report;
    const fd_provenance *r = &out->ref;
    const int d = out->d;
    const unsigned which = j->o->spec.which;
    if (fd_score_needs_reference(which)) {
        if (!r->known)
            fd_fid_warn(out, "the reference does not say what it was made from; nothing could be checked");
        if (r->known && r->resolution && r->resolution != m->resolution)
            fd_fid_warn(out, "the reference's images were %d pixels wide, these are %d", r->resolution, m->resolution);
        if (r->known && r->n <= d)
            fd_fid_warn(out, "the reference has %lld images for %d features: its covariance is singular",
                        (long long)r->n, d);
        if (r->known && r->n < m->n / 2)
            fd_fid_warn(out, "the reference has fewer images (%lld) than were measured (%lld)", (long long)r->n,
                        (long long)m->n);
        if (*r->codec && strcmp(r->codec, m->codec))
            fd_fid_warn(out, "the reference's images are %s, these are %s: compression alone moves the distance", r->codec,
                        m->codec);
        if (*r->crop && *m->crop && strcmp(r->crop, m->crop))
            fd_fid_warn(out, "the reference's images were cut by '%s', these by '%s': another cut moves the distance", r->crop,
                        m->crop);
        if (*r->data_digest && !strcmp(r->data_digest, m->data_digest))
            fd_fid_warn(out, "these are the very images of the reference");
    }
    if (m->n < 10000 && which & (FD_SCORE_FD | FD_SCORE_SPATIAL | FD_SCORE_PRDC | FD_SCORE_IS))
        fd_fid_warn(out, "%lld images: distances of few images are too large; compare only with numbers of the same "
                    "count", (long long)m->n);
    if (m->n <= FD_INCEPTION_SPATIAL && which & FD_SCORE_SPATIAL)
        fd_fid_warn(out, "%lld images for %d spatial features: the covariance is singular", (long long)m->n, FD_INCEPTION_SPATIAL);
    if (m->n <= d && which & (FD_SCORE_FD | FD_SCORE_FD_INFINITY))
        fd_fid_warn(out, "%lld images for %d features: the covariance is singular", (long long)m->n, d);
    if (which & FD_SCORE_IS && j->report->is_fid && m->n < 5000)
        fd_fid_warn(out, "an Inception score of %lld images is too low: there are 1008 classes", (long long)m->n);
}

/* The pictures of `path`, measured as real ones. */
static fd_status measure_real(fd_ctx *ctx, job *j, const char *path) {
    fd_measure_spec spec = j->measure;
    fd_image_source source;
    spec.keep_features = fd_score_needs_real_features(j->o->spec.which);
    spec.keep_logits = false;
    spec.what = "measuring the reference";
    const fd_backend *backend;
    FD_TRY(fd_device_open(ctx, j->o->input.sampling.device, &backend));
    FD_TRY(fd_image_source_set(ctx, path, 0, 0, &source));
    source.backend = backend;
    fd_status s = fd_measure(ctx, &source, &spec, &j->real);
    fd_image_source_close(&source);
    return s;
}

/* Does an npz hold the pictures behind its statistics, as ADM's references do? */
static fd_status has_pictures(fd_ctx *ctx, const char *path, bool *yes) {
    fd_zip *z;
    const size_t n = strlen(path);
    *yes = false;
    if (n > 4 && !strcmp(path + n - 4, ".pkl")) return FD_OK;
    FD_TRY(fd_zip_open(ctx, path, &z));
    *yes = fd_npz_has(z, "arr_0");
    fd_zip_close(z);
    return FD_OK;
}

static fd_status real_features(fd_ctx *ctx, job *j) {
    bool pictures;
    const options *o = j->o;
    if (o->data_path) return measure_real(ctx, j, o->data_path);
    FD_TRY(fd_reference_load_features(ctx, o->ref_path, &j->ref));
    if (j->ref.features) return FD_OK;
    FD_TRY(has_pictures(ctx, o->ref_path, &pictures));
    if (pictures) return measure_real(ctx, j, o->ref_path);
    return FD_FAIL(ctx, FD_E_ARG, "--metrics: KID and precision/recall compare the features of single images, which "
                   "%s has not: give the images to --data, or make it with 'fdistill fid ref --keep-features'",
                   o->ref_path);
}

/* j->ref becomes everything that was asked for. What can be refused is refused before minutes are spent. */
static fd_status open_reference(fd_ctx *ctx, job *j) {
    const options *o = j->o;
    const unsigned which = o->spec.which;
    if (!fd_score_needs_reference(which)) return FD_OK;
    if (o->ref_path) {
        FD_TRY(fd_reference_load(ctx, o->ref_path, &j->ref));
        FD_TRY(comparable(ctx, j, &j->ref, o->ref_path));
        if (fd_score_needs_real_features(which)) FD_TRY(real_features(ctx, j));
    } else FD_TRY(measure_real(ctx, j, o->data_path));
    const fd_reference *real = &j->real.stats;
    if (!o->ref_path) {           /* borrowed: j->real keeps them */
        j->ref.d = real->d;
        j->ref.mu = real->mu;
        j->ref.sigma = real->sigma;
        j->ref.ds = real->ds;
        j->ref.mu_s = real->mu_s;
        j->ref.sigma_s = real->sigma_s;
        j->ref.from = real->from;
    }
    if (real->features) {
        j->ref.features = real->features;
        j->ref.nfeatures = real->nfeatures;
    }
    j->report->ref = j->ref.from;
    return FD_OK;
}

static fd_status run_block(fd_ctx *ctx, job *j, options *o, int block) {
    fd_measured mine;
    double start = fd_now();
    FD_TRY(fd_fid_input_open(ctx, &o->input, block));
    FD_TRY(fd_measure(ctx, &o->input.source, &j->measure, &mine));
    fd_status s = FD_OK;
    if (fd_comm_first(ctx)) {         /* it alone has been given the features */
        if (!block) j->report->from = mine.stats.from;
        judge(j, &mine.stats.from);
        s = fd_scores_compute(ctx, &o->spec, &mine, fd_score_needs_reference(o->spec.which) ? &j->ref : NULL,
                              &j->report->block[block]);
        j->report->seconds[block] = fd_now() - start;
    }
    fd_measured_free(&mine);
    return s;
}

static fd_status calc(fd_ctx *ctx, options *o, job *j) {
    fd_fid_report *r = j->report;
    FD_TRY(fd_net_load(ctx, o->net_path, &j->measure.net));
    if (!fd_is_feature_net(j->measure.net->config.family))
        return FD_FAIL(ctx, FD_E_ARG, "--net: a feature network is needed, but this is a %s",
                       fd_family_name(j->measure.net->config.family));
    fd_feature_net_name(j->measure.net, o->net_path, j->name);
    r->is_fid = fd_is_fid(j->measure.net);
    r->d = fd_feature_net_dim(&j->measure.net->config);
    if (j->measure.spatial && j->measure.net->config.family != FD_FAMILY_INCEPTION)
        return FD_FAIL(ctx, FD_E_ARG, "--metrics sfd: sFID compares spatial features of Inception, and --net is a %s",
                       fd_family_name(j->measure.net->config.family));
    FD_TRY(open_reference(ctx, j));
    for (int b = 0; b < o->blocks; b++) FD_TRY(run_block(ctx, j, o, b));
    return o->record && fd_comm_first(ctx) ? fd_fid_record(ctx, r) : FD_OK;
}

static fd_status check(fd_ctx *ctx, options *o) {
    FD_TRY(fd_score_parse(ctx, o->metrics, &o->spec.which));
    if (!o->input.images == !o->input.network)
        return FD_FAIL(ctx, FD_E_ARG, "give either --images PATH or --network FILE");
    if (fd_score_needs_reference(o->spec.which) && !o->ref_path && !o->data_path)
        return FD_FAIL(ctx, FD_E_ARG, "give the reference: --ref FILE.npz, or --data PATH with the real images");
    if (o->blocks > 1 && !o->input.network)
        return FD_FAIL(ctx, FD_E_ARG, "--blocks: only with --network; images are one block");
    return FD_OK;
}

fd_fid_calc_options fd_fid_calc_defaults(void) {
    return (options){.metrics = "fd", .blocks = 1, .record = true, .input = {.sampling = FD_SAMPLING_DEFAULTS},
                     .spec = FD_SCORE_DEFAULTS};
}

fd_status fd_fid_calc_run(fd_ctx *ctx, fd_fid_calc_options *o, fd_fid_report *report) {
    FD_TRY(check(ctx, o));
    job j = {.o = o, .report = report};
    o->spec.seed = o->input.seed;
    j.measure = (fd_measure_spec){.name = j.name, .resize = (fd_resize_rule)o->resize, .batch = o->input.sampling.batch,
                                  .keep_features = fd_score_needs_features(o->spec.which),
                                  .keep_logits = o->spec.which & FD_SCORE_IS, .spatial = o->spec.which & FD_SCORE_SPATIAL,
                                  .what = "measuring"};
    *report = (fd_fid_report){.input = &o->input, .spec = &o->spec, .blocks = o->blocks,
                              .ref_path = o->ref_path ? o->ref_path : o->data_path ? o->data_path : ""};
    fd_status s = calc(ctx, o, &j);
    fd_fid_input_close(&o->input);
    fd_measured_free(&j.real);
    fd_reference_free(&j.ref);
    fd_net_free(j.measure.net);
    return s;
}

fd_status fd_fid_calc(fd_ctx *ctx, int argc, char **argv) {
    options p = fd_fid_calc_defaults();
    fd_fid_report report;
    fd_option o[] = {
        FD_FID_INPUT_ROWS(p.input),
        {.name = "ref", .type = FD_OPT_TEXT, .to = &p.ref_path, .value = "FILE.npz", .help = "Reference statistics."},
        {.name = "data", .type = FD_OPT_TEXT, .to = &p.data_path, .value = "PATH",
         .help = "Real images, measured now: instead of --ref, or for KID and precision/recall with a --ref that holds "
                 "no features."},
        {.name = "net", .type = FD_OPT_TEXT, .to = &p.net_path, .value = "FILE", .help = FD_FID_NET_HELP,
         .required = true},
        FD_FID_RESIZE_ROW(p.resize),
        {.name = "metrics", .type = FD_OPT_TEXT, .to = &p.metrics, .value = "LIST",
         .help = "Any of " FD_SCORE_WORDS ", with commas.", .group = "Metrics"},
        {.name = "kid-subsets", .type = FD_OPT_INT, .to = &p.spec.kid_subsets, .value = "N", .lo = 1, .hi = 100000,
         .help = "KID: number of subsets."},
        {.name = "kid-size", .type = FD_OPT_INT, .to = &p.spec.kid_size, .value = "N", .lo = 2, .hi = 1e6,
         .help = "KID: images in each."},
        {.name = "nearest", .type = FD_OPT_INT, .to = &p.spec.nearest, .value = "K", .lo = 1, .hi = 64,
         .help = "Precision and recall: a ball reaches to the K-th nearest image."},
        {.name = "splits", .type = FD_OPT_INT, .to = &p.spec.splits, .value = "N", .lo = 1, .hi = 10000,
         .help = "Inception score: number of splits."},
        {.name = "blocks", .type = FD_OPT_INT, .to = &p.blocks, .value = "N", .lo = 1, .hi = FD_FID_MAX_BLOCKS,
         .help = "Measure a network so many times with other seeds; shows minimum, mean and deviation. EDM: 3.",
         .group = "Protocol"},
        {.name = "record", .type = FD_OPT_FLAG, .to = &p.record,
         .help = "Append the results to metric-*.jsonl if the network lies in a run folder."},
        {.name = "json", .type = FD_OPT_FLAG, .to = &p.json, .help = "Print JSON."},
        FD_SAMPLING_ROWS(p.input.sampling),
    };
    fd_args a = {.command = "fid calc", .option = o, .n = (int)FD_COUNT(o),
                 .about = "Fréchet distance and other numbers of images against a reference, in the feature space of a "
                          "network. They are named after that network: only Inception's Fréchet distance is FID. "
                          "References of other feature networks are refused.",
                 .examples = "  fdistill fid calc --images out/ --ref sprites.npz --net features.safetensors\n"
                             "  fdistill fid calc --network student.safetensors --blocks 3 --ref cifar10-32x32.npz\n"
                             "      --net inception.safetensors --json\n"
                             "  fdistill fid calc --images out/ --data cifar10-32x32.zip --net inception.safetensors\n"
                             "      --metrics fd,kid,prdc,is\n"};
    FD_TRY(fd_args_parse(ctx, &a, argc, argv));
    if (a.helped) return FD_OK;
    fd_interrupt_install();
    FD_TRY(fd_fid_calc_run(ctx, &p, &report));
    for (int i = 0; i < report.warnings; i++) fprintf(stderr, "fdistill: warning: %s\n", report.warning[i]);
    if (p.json) return fd_fid_print_json(ctx, fd_fid_json(&report));
    fd_fid_print(&report);
    return FD_OK;
}
