/* fdistill fid ref|calc|sprites — Fréchet distances with provenance, and the exact judge of the sprites set. */
#include <stdio.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/fid_net.h"
#include "cli/sampling.h"
#include "eval/frechet.h"
#include "eval/measure.h"
#include "eval/sprites_judge.h"
#include "io/json.h"

/* ---- what all three share: where the pictures come from -------------------------------------------------------- */

typedef struct {
    const char *images, *network;
    int64_t num;
    uint64_t seed;
    fd_sampling sampling;
    fd_net *net;
    fd_image_source source;
} input;

#define INPUT_ROWS(p)                                                                                                \
    {.name = "images", .type = FD_OPT_TEXT, .to = &(p).images, .value = "PATH",                                      \
     .help = "Zip, folder or npz to measure."},                                                                           \
    {.name = "network", .type = FD_OPT_TEXT, .to = &(p).network, .value = "FILE",                                    \
     .help = "Or a network, measured without writing images."},                                                      \
    {.name = "num", .type = FD_OPT_COUNT, .to = &(p).num, .value = "N", .lo = 1, .hi = 1e8, .no_default = true,      \
     .help = "Images. From a network 50000 if not given; of a set, all, else so many drawn with --seed."},           \
    {.name = "seed", .type = FD_OPT_SEED, .to = &(p).seed, .value = "N",                                             \
     .help = "A network's images have the seeds N, N+1, …; of a set, the draw of --num."}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static fd_status open_input(fd_ctx *ctx, input *p) {
    if (!p->images == !p->network)
        return FD_FAIL(ctx, FD_E_ARG, "give either --images PATH or --network FILE");
    const fd_backend *backend;
    FD_TRY(fd_device_open(ctx, p->sampling.device, &backend));
    if (p->images) {
        FD_TRY(fd_image_source_set(ctx, p->images, p->num, p->seed, &p->source));
        p->source.backend = backend;
        return FD_OK;
    }
    FD_TRY(fd_load_generator(ctx, p->network, &p->net));
    fd_image_source_network_spec spec = {.num = p->num ? p->num : 50000, .first_seed = p->seed,
                                         .cls = p->sampling.cls, .backend = backend,
                                         .dtype = p->sampling.precision ? FD_BF16 : FD_F32};
    FD_TRY(fd_sampling_resolve(ctx, &p->sampling, p->net, &spec.sampler));
    spec.batch = spec.num < p->sampling.batch ? (int)spec.num : p->sampling.batch;
    return fd_image_source_network(ctx, p->net, base_name(p->network), &spec, &p->source);
}

static void close_input(input *p) {
    fd_image_source_close(&p->source);
    fd_net_free(p->net);
}

static fd_status print_json(fd_ctx *ctx, json_t *o) {
    fd_arena a = {0};
    char *text = o ? fd_json_dump(ctx, &a, o, 2) : NULL;
    json_decref(o);
    fd_status s = FD_OK;
    if (text) fputs(text, stdout);
    else s = FD_FAIL(ctx, FD_E_FORMAT, "a name in the result is not UTF-8 and cannot be written as JSON");
    fd_arena_free(&a);
    return s;
}

/* ---- ref ------------------------------------------------------------------------------------------------------- */

static fd_status run_ref(fd_ctx *ctx, int argc, char **argv) {
    const char *data = NULL, *dest = NULL, *net_path = NULL;
    int64_t num = 0;
    uint64_t seed = 0;
    int batch = 64, device = 0;
    fd_option o[] = {
        {.name = "data", .type = FD_OPT_TEXT, .to = &data, .value = "PATH", .help = "Zip or folder.",
         .required = true},
        {.name = "net", .type = FD_OPT_TEXT, .to = &net_path, .value = "FILE", .help = "Feature network.",
         .required = true},
        {.name = "dest", .type = FD_OPT_TEXT, .to = &dest, .value = "FILE.npz", .help = "Statistics to write.",
         .required = true},
        {.name = "num", .type = FD_OPT_COUNT, .to = &num, .value = "N", .lo = 2, .hi = 1e8, .no_default = true,
         .help = "Only so many images, drawn with the seed; all if not given."},
        {.name = "seed", .type = FD_OPT_SEED, .to = &seed, .value = "N", .help = "Of that draw."},
        {.name = "batch", .type = FD_OPT_INT, .to = &batch, .value = "N", .lo = 1, .hi = 65536,
         .help = "Images per pass."},
        FD_DEVICE_ROW(device),
    };
    fd_args a = {.command = "fid ref", .option = o, .n = (int)FD_COUNT(o),
                 .about = "Writes the reference statistics of a set: mu and sigma of its features as an npz that "
                          "EDM's tools read too, with an entry that says which images, which feature network and "
                          "which rules made it.",
                 .examples = "  fdistill fid ref --data cifar10-32x32.zip --net features.safetensors --dest "
                             "cifar10-32x32.npz\n"};
    FD_TRY(fd_args_parse(ctx, &a, argc, argv));
    if (a.helped) return FD_OK;
    const fd_backend *backend;
    FD_TRY(fd_device_open(ctx, device, &backend));
    fd_interrupt_install();
    fd_net *net = NULL;
    fd_image_source source = {0};
    fd_reference r = {0};
    char name[256] = "";
    fd_status s = fd_net_load(ctx, net_path, &net);
    if (s == FD_OK) s = fd_image_source_set(ctx, data, num, seed, &source);
    if (s == FD_OK) {
        source.backend = backend;
        fd_feature_net_name(net, net_path, name);
        s = fd_measure_reference(ctx, &source, net, name, batch, "measuring", &r);
    }
    if (s == FD_OK) s = fd_reference_save(ctx, dest, &r);
    if (s == FD_OK)
        printf("%s: %lld images of %s, %d features of %s\n", dest, (long long)r.from.n, r.from.data, r.d, name);
    fd_reference_free(&r);
    fd_image_source_close(&source);
    fd_net_free(net);
    return s;
}

/* ---- calc ------------------------------------------------------------------------------------------------------ */

typedef struct { char text[8][320]; int n; } warnings;

static void warn(warnings *w, const char *fmt, long long a, long long b) {
    if (w->n < (int)FD_COUNT(w->text)) snprintf(w->text[w->n++], sizeof w->text[0], fmt, a, b);
}

/* Refuses what cannot be compared, collects what makes a comparison weak. */
static fd_status compare(fd_ctx *ctx, const fd_reference *mine, const fd_reference *ref, const char *path,
                         warnings *w) {
    const fd_provenance *m = &mine->from, *r = &ref->from;
    if (mine->d != ref->d)
        return FD_FAIL(ctx, FD_E_SHAPE, "%s: statistics of %d features, but the feature network gives %d: it was "
                       "made with another network", path, ref->d, mine->d);
    if (r->known && r->features_digest[0] && strcmp(r->features_digest, m->features_digest))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: made with the feature network '%s' (%.12s), not with '%s' (%.12s): "
                       "distances between them mean nothing; make the reference again with 'fdistill fid ref'", path,
                       r->features, r->features_digest, m->features, m->features_digest);
    if (r->known && r->resize[0] && strcmp(r->resize, m->resize))
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: made with another resize rule (%s); make the reference again", path,
                       r->resize);
    if (!r->known) warn(w, "the reference does not say what it was made from; nothing could be checked", 0, 0);
    else {
        if (r->resolution && r->resolution != m->resolution)
            warn(w, "the reference's images were %lld pixels wide, these are %lld", r->resolution, m->resolution);
        if (r->n <= ref->d)
            warn(w, "the reference has %lld images for %lld features: its covariance is singular", r->n, ref->d);
        if (r->n < m->n / 2) warn(w, "the reference has fewer images (%lld) than were measured (%lld)", r->n, m->n);
        if (*r->data_digest && !strcmp(r->data_digest, m->data_digest))
            warn(w, "these are the very images of the reference", 0, 0);
    }
    if (m->n < 10000)
        warn(w, "%lld images: distances of few images are too large; compare only with numbers of the same count",
             m->n, 0);
    if (m->n <= mine->d) warn(w, "%lld images for %lld features: the covariance is singular", m->n, mine->d);
    return FD_OK;
}

static json_t *calc_json(const input *p, const fd_reference *mine, const fd_reference *ref, const char *ref_path,
                         const fd_frechet_result *f, const warnings *w, double seconds) {
    char metric[300], words[160] = "";
    snprintf(metric, sizeof metric, "FD (%s)", mine->from.features);
    if (p->source.is_network) fd_sampler_words(&p->source.sampler, words);
    json_t *list = json_array();
    for (int i = 0; i < w->n; i++) json_array_append_new(list, json_string(w->text[i]));
    return json_pack("{s:s, s:o, s:o, s:o, s:I, s:s, s:s, s:s, s:I, s:{s:s, s:I, s:s, s:s}, s:{s:s, s:s, s:i}, s:s, "
                     "s:o, s:o, s:s}",
                     "metric", metric, "value", fd_json_real(f->distance), "mean_part", fd_json_real(f->mean_part),
                     "covariance_part", fd_json_real(f->covariance_part), "n", (json_int_t)mine->from.n, "images",
                     p->source.name, "digest", p->source.digest, "sampler", words, "seed", (json_int_t)p->seed,
                     "ref", "path", ref_path, "n", (json_int_t)ref->from.n, "data", ref->from.data, "data_digest",
                     ref->from.data_digest, "features", "name", mine->from.features, "digest",
                     mine->from.features_digest, "dimension", mine->d, "resize", mine->from.resize, "warnings", list,
                     "seconds", fd_json_real(seconds), "tool", mine->from.tool);
}

static fd_status calc(fd_ctx *ctx, input *p, const char *ref_path, const char *net_path, bool json, fd_net *net,
                      fd_reference *ref, fd_reference *mine) {
    char name[256];
    warnings w = {.n = 0};
    fd_frechet_result f;
    double start = fd_now();
    fd_feature_net_name(net, net_path, name);
    /* What can be refused is refused before minutes are spent. */
    int d = net->config.family == FD_FAMILY_CLASSIFIER ? fd_feature_net_dim(&net->config) : ref->d;
    fd_reference early = {.d = d};
    FD_TRY(fd_net_digest(ctx, net, early.from.features_digest));
    snprintf(early.from.features, sizeof early.from.features, "%s", name);
    snprintf(early.from.resize, sizeof early.from.resize, "%s", FD_RESIZE_NONE);
    FD_TRY(compare(ctx, &early, ref, ref_path, &w));
    w.n = 0;
    FD_TRY(open_input(ctx, p));
    FD_TRY(fd_measure_reference(ctx, &p->source, net, name, p->sampling.batch, "measuring", mine));
    FD_TRY(compare(ctx, mine, ref, ref_path, &w));
    FD_TRY(fd_frechet(ctx, mine->d, mine->mu, mine->sigma, ref->mu, ref->sigma, &f));
    for (int i = 0; i < w.n; i++) fprintf(stderr, "fdistill: warning: %s\n", w.text[i]);
    if (json) return print_json(ctx, calc_json(p, mine, ref, ref_path, &f, &w, fd_now() - start));
    printf("FD (%s) %.6g   %lld images of %s against %s\n", name, f.distance, (long long)mine->from.n, p->source.name,
           ref->from.known ? ref->from.data : base_name(ref_path));
    return FD_OK;
}

static fd_status run_calc(fd_ctx *ctx, int argc, char **argv) {
    input p = {.sampling = FD_SAMPLING_DEFAULTS};
    const char *ref_path = NULL, *net_path = NULL;
    bool json = false;
    fd_option o[] = {
        INPUT_ROWS(p),
        {.name = "ref", .type = FD_OPT_TEXT, .to = &ref_path, .value = "FILE.npz", .help = "Reference statistics.",
         .required = true},
        {.name = "net", .type = FD_OPT_TEXT, .to = &net_path, .value = "FILE", .help = "Feature network.",
         .required = true},
        {.name = "json", .type = FD_OPT_FLAG, .to = &json, .help = "Print JSON."},
        FD_SAMPLING_ROWS(p.sampling),
    };
    fd_args a = {.command = "fid calc", .option = o, .n = (int)FD_COUNT(o),
                 .about = "Fréchet distance of images to a reference, in the feature space of a network. It is "
                          "named after that network: only Inception's is FID. References of other feature networks "
                          "are refused.",
                 .examples = "  fdistill fid calc --images out/ --ref sprites.npz --net features.safetensors\n"
                             "  fdistill fid calc --network student.safetensors --num 10000 --ref sprites.npz\n"
                             "      --net features.safetensors --json\n"};
    FD_TRY(fd_args_parse(ctx, &a, argc, argv));
    if (a.helped) return FD_OK;
    fd_interrupt_install();
    fd_net *net = NULL;
    fd_reference ref = {0}, mine = {0};
    fd_status s = FD_OK;
    if (!p.images == !p.network) s = FD_FAIL(ctx, FD_E_ARG, "give either --images PATH or --network FILE");
    if (s == FD_OK) s = fd_net_load(ctx, net_path, &net);
    if (s == FD_OK) s = fd_reference_load(ctx, ref_path, &ref);
    if (s == FD_OK) s = calc(ctx, &p, ref_path, net_path, json, net, &ref, &mine);
    close_input(&p);
    fd_reference_free(&mine);
    fd_reference_free(&ref);
    fd_net_free(net);
    return s;
}

/* ---- sprites --------------------------------------------------------------------------------------------------- */

#define CHUNK 256

static fd_status judge(fd_ctx *ctx, input *p, fd_arena *a, fd_sprites_judge *j, fd_sprite_report *out) {
    fd_image_source *s = &p->source;
    fd_sprite_verdict *verdicts;
    int32_t *labels;
    uint8_t *images;
    fd_progress bar;
    FD_NEW(ctx, a, verdicts, s->n);
    FD_NEW(ctx, a, labels, s->n);
    FD_NEW(ctx, a, images, CHUNK * (size_t)3 * (size_t)s->h * (size_t)s->w);
    fd_progress_start(ctx, &bar, "judging", "images", s->n);
    for (int64_t at = 0; at < s->n; at += CHUNK) {
        int64_t n = s->n - at < CHUNK ? s->n - at : CHUNK;
        FD_TRY(fd_image_source_read(ctx, s, at, n, images, labels + at));
        FD_TRY(fd_sprites_judge_run(ctx, j, images, n, verdicts + at));
        fd_progress_update(&bar, at + n, NULL);
        if (fd_interrupted())
            return FD_FAIL(ctx, FD_E_CANCELLED, "interrupted after %lld images", (long long)(at + n));
    }
    fd_progress_end(&bar);
    return fd_sprites_report(ctx, verdicts, s->classes ? labels : NULL, s->n, out);
}

static json_t *score_json(const fd_sprite_score *s) {
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "n", (json_int_t)s->n, "shape_right",
                     fd_json_real(s->shape_right), "valid_strict", fd_json_real(s->valid_strict), "valid_loose",
                     fd_json_real(s->valid_loose), "residual_median", fd_json_real(s->residual_median), "mode_kl",
                     fd_json_real(s->mode_kl), "mode_tv", fd_json_real(s->mode_tv), "rare_recall",
                     fd_json_real(s->rare_recall), "rare_coverage", fd_json_real(s->rare_coverage));
}

static void print_score(const char *name, const fd_sprite_score *s) {
    printf("%-10s %7lld %7.3f %7.3f %7.3f %8.4f %8.4f %7.3f %7.3f %7.3f\n", name, (long long)s->n, s->shape_right,
           s->valid_strict, s->valid_loose, s->residual_median, s->mode_kl, s->mode_tv, s->rare_recall,
           s->rare_coverage);
}

static fd_status print_judgement(fd_ctx *ctx, const input *p, const fd_sprite_report *r, bool json) {
    if (json) {
        json_t *classes = json_object();
        for (int i = 0; i < FD_SPRITE_CLASSES; i++)
            json_object_set_new(classes, fd_sprite_class_names[i], score_json(&r->of_class[i]));
        json_t *o = score_json(&r->all);
        json_object_set_new(o, "images", json_string(p->source.name));
        json_object_set_new(o, "digest", json_string(p->source.digest));
        json_object_set_new(o, "labels_known", json_boolean(p->source.classes));
        json_object_set_new(o, "classes", classes);
        return print_json(ctx, o);
    }
    printf("%-10s %7s %7s %7s %7s %8s %8s %7s %7s %7s\n", "", "images", "shape", "valid", "valid", "residual",
           "mode", "mode", "rare", "rare");
    printf("%-10s %7s %7s %7s %7s %8s %8s %7s %7s %7s\n", "", "", "right", "<.10", "<.15", "median", "KL", "TV",
           "recall", "cover");
    for (int i = 0; i < FD_SPRITE_CLASSES; i++)
        if (r->of_class[i].n) print_score(fd_sprite_class_names[i], &r->of_class[i]);
    print_score("all", &r->all);
    if (!p->source.classes) printf("No labels: every picture counts as meant to be what it shows.\n");
    return FD_OK;
}

static fd_status run_sprites(fd_ctx *ctx, int argc, char **argv) {
    input p = {.sampling = FD_SAMPLING_DEFAULTS};
    bool json = false;
    fd_option o[] = {
        INPUT_ROWS(p),
        {.name = "json", .type = FD_OPT_FLAG, .to = &json, .help = "Print JSON."},
        FD_SAMPLING_ROWS(p.sampling),
    };
    fd_args a = {.command = "fid sprites", .option = o, .n = (int)FD_COUNT(o),
                 .about = "Decodes pictures of the sprites set exactly and scores them: shapes that are right, valid "
                          "pictures, distance of the mode histogram to the known one, rare modes reached.",
                 .examples = "  fdistill fid sprites --network student.safetensors --num 10000\n"
                             "  fdistill fid sprites --images out/ --json\n"};
    FD_TRY(fd_args_parse(ctx, &a, argc, argv));
    if (a.helped) return FD_OK;
    fd_interrupt_install();
    fd_sprites_judge *j = NULL;
    fd_sprite_report r;
    fd_arena arena = {0};
    fd_status s = open_input(ctx, &p);
    if (s == FD_OK && (p.source.c != 3 || p.source.h != p.source.w))
        s = FD_FAIL(ctx, FD_E_ARG, "%s: sprites are square and RGB, these pictures are not", p.source.name);
    if (s == FD_OK) s = fd_sprites_judge_open(ctx, p.source.h, &j);
    if (s == FD_OK) s = judge(ctx, &p, &arena, j, &r);
    if (s == FD_OK) s = print_judgement(ctx, &p, &r, json);
    fd_sprites_judge_close(j);
    close_input(&p);
    fd_arena_free(&arena);
    return s;
}

fd_status fd_cmd_fid(fd_ctx *ctx, int argc, char **argv) {
    static const fd_command commands[] = {
        {"net", "Train the feature network of a set.", fd_cmd_fid_net},
        {"ref", "Reference statistics of a set.", run_ref},
        {"calc", "Fréchet distance of a set or of a network's images to a reference.", run_calc},
        {"sprites", "What the exact decoder of the sprites set says of images.", run_sprites},
    };
    return fd_command_run(ctx, "fid", "How good images are, as numbers that say what they were made from.", commands,
                          (int)FD_COUNT(commands), argc, argv);
}
