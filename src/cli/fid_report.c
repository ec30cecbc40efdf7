#include "cli/fid_report.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/progress.h"
#include "io/json.h"
#include "io/runfolder.h"

void fd_fid_warn(fd_fid_report *r, const char *fmt, ...) {
    if (r->warnings == FD_FID_MAX_WARNINGS) return;
    char *to = r->warning[r->warnings];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(to, sizeof r->warning[0], fmt, ap);
    va_end(ap);
    for (int i = 0; i < r->warnings; i++)
        if (!strcmp(r->warning[i], to)) return;
    r->warnings++;
}

/* ---- names ----------------------------------------------------------------------------------------------------- */

/* "FID" for the network of the literature, "FD (cifar10-features)" for another; so KID, IS … */
static void label(const fd_fid_report *r, const char *word, char out[340]) {
    static const char *const whose[FD_RESIZE_RULES] = {
        [FD_RESIZE_TF1] = "", [FD_RESIZE_TORCH] = " (pytorch-fid's resize)", [FD_RESIZE_CLEAN] = " (clean-fid's resize)"};
    int rule = FD_RESIZE_TF1;
    for (int i = 0; i < FD_RESIZE_RULES; i++)
        if (!strcmp(r->from.resize, fd_resize_rule_words((fd_resize_rule)i))) rule = i;
    if (r->is_fid) snprintf(out, 340, "%s%s", !strcmp(word, "FD") ? "FID" : word, whose[rule]);
    else snprintf(out, 340, "%s (%s)", word, r->from.features);
}

/* "fid50k", "kid400": the number of pictures is part of a metric's name. */
static void count_name(const fd_fid_report *r, const char *word, char out[64]) {
    const long long n = (long long)r->from.n;
    if (!strcmp(word, "fd") && r->is_fid) word = "fid";
    if (!strcmp(word, "sfd") && r->is_fid) word = "sfid";
    if (n % 1000 == 0) snprintf(out, 64, "%s%lldk", word, n / 1000);
    else snprintf(out, 64, "%s%lld", word, n);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------ */

/* Word of each score, in the order they are shown. */
static const struct { fd_score score; const char *word; } order[] = {
    {FD_SCORE_FD, "fd"}, {FD_SCORE_SPATIAL, "sfd"}, {FD_SCORE_KID, "kid"}, {FD_SCORE_PRDC, "pr"}, {FD_SCORE_IS, "is"}, {FD_SCORE_FD_INFINITY, "fd"}};

static void put(json_t *o, const char *name, const char *tail, double v) {
    char key[96];
    snprintf(key, sizeof key, "%s%s", name, tail);
    json_object_set_new(o, key, fd_json_real(v));
}

static void put_score(const fd_fid_report *r, int which, const fd_scores *s, json_t *o) {
    char name[64];
    count_name(r, order[which].word, name);
    switch (order[which].score) {
    case FD_SCORE_FD: put(o, name, "", s->fd.distance); break;
    case FD_SCORE_SPATIAL: put(o, name, "", s->spatial.distance); break;
    case FD_SCORE_KID:
        put(o, name, "", s->kid);
        put(o, name, "_subsets_mean", s->kid_subsets.mean);
        put(o, name, "_subsets_std", s->kid_subsets.std);
        break;
    case FD_SCORE_PRDC:
        put(o, name, "_precision", s->prdc.precision);
        put(o, name, "_recall", s->prdc.recall);
        put(o, name, "_density", s->prdc.density);
        put(o, name, "_coverage", s->prdc.coverage);
        break;
    case FD_SCORE_IS:
        put(o, name, "_mean", s->is_mean);
        put(o, name, "_std", s->is_std);
        break;
    case FD_SCORE_FD_INFINITY:
        put(o, name, "_infinity", s->infinity.distance);
        put(o, name, "_infinity_error", s->infinity.error);
        break;
    }
}

static json_t *results(const fd_fid_report *r, const fd_scores *s) {
    json_t *o = json_object();
    for (int i = 0; i < (int)FD_COUNT(order); i++)
        if (r->spec->which & order[i].score) put_score(r, i, s, o);
    return o;
}

/* Over the blocks: smallest distance, mean, standard deviation (divisor blocks - 1). */
static void spread(const fd_fid_report *r, double *least, double *mean, double *sd) {
    double sum = 0, square = 0;
    *least = INFINITY;
    for (int i = 0; i < r->blocks; i++) sum += r->block[i].fd.distance, *least = fmin(*least, r->block[i].fd.distance);
    *mean = sum / r->blocks;
    for (int i = 0; i < r->blocks; i++) square += pow(r->block[i].fd.distance - *mean, 2);
    *sd = r->blocks > 1 ? sqrt(square / (r->blocks - 1)) : 0;
}

static uint64_t first_seed(const fd_fid_report *r, int block) {
    return r->input->seed + (uint64_t)block * (uint64_t)r->from.n;
}

json_t *fd_fid_json(const fd_fid_report *r) {
    char words[160] = "", metric[340];
    if (r->input->source.is_network) fd_sampler_words(&r->input->source.sampler, words);
    json_t *o = json_object(), *list = json_array();
    if (r->spec->which & FD_SCORE_FD) {
        double least, mean, sd;
        spread(r, &least, &mean, &sd);
        label(r, "FD", metric);
        json_object_set_new(o, "metric", json_string(metric));
        json_object_set_new(o, "value", fd_json_real(least));
        if (r->blocks > 1) {
            json_object_set_new(o, "mean", fd_json_real(mean));
            json_object_set_new(o, "std", fd_json_real(sd));
        } else {
            json_object_set_new(o, "mean_part", fd_json_real(r->block[0].fd.mean_part));
            json_object_set_new(o, "covariance_part", fd_json_real(r->block[0].fd.covariance_part));
        }
    }
    json_object_set_new(o, "results", results(r, &r->block[0]));
    if (r->blocks > 1) {
        json_t *blocks = json_array();
        for (int i = 0; i < r->blocks; i++)
            json_array_append_new(blocks, json_pack("{s:I, s:o}", "seed", (json_int_t)first_seed(r, i), "results",
                                                    results(r, &r->block[i])));
        json_object_set_new(o, "blocks", blocks);
    }
    double seconds = 0;
    for (int i = 0; i < r->blocks; i++) seconds += r->seconds[i];
    for (int i = 0; i < r->warnings; i++) json_array_append_new(list, json_string(r->warning[i]));
    json_t *rest = json_pack(
        "{s:I, s:s, s:s, s:s, s:I, s:{s:s, s:I, s:s, s:s}, s:{s:s, s:s, s:i, s:s}, s:o, s:o, s:s}", "n",
        (json_int_t)r->from.n, "images", r->from.data, "digest", r->from.data_digest, "sampler", words, "seed",
        (json_int_t)r->input->seed, "ref", "path", r->ref_path, "n", (json_int_t)r->ref.n, "data", r->ref.data,
        "data_digest", r->ref.data_digest, "features", "name", r->from.features, "digest", r->from.features_digest,
        "dimension", r->d, "resize", r->from.resize, "warnings", list, "seconds", fd_json_real(seconds), "tool",
        r->from.tool);
    if (rest) json_object_update(o, rest);
    else json_decref(o), o = NULL;
    json_decref(rest);
    return o;
}

/* ---- text ------------------------------------------------------------------------------------------------------ */

static void print_block(const fd_fid_report *r, const fd_scores *s) {
    const unsigned which = r->spec->which;
    char name[340];
    if (which & FD_SCORE_FD) label(r, "FD", name), printf("%s %.6g\n", name, s->fd.distance);
    if (which & FD_SCORE_SPATIAL) label(r, r->is_fid ? "sFID" : "spatial FD", name), printf("%s %.6g\n", name, s->spatial.distance);
    if (which & FD_SCORE_KID)
        label(r, "KID", name), printf("%s %.6g   %.6g ± %.3g over %d subsets\n", name, s->kid, s->kid_subsets.mean,
                                      s->kid_subsets.std, r->spec->kid_subsets);
    if (which & FD_SCORE_PRDC)
        label(r, "k nearest", name), printf("%s precision %.4f, recall %.4f, density %.4f, coverage %.4f, k %d\n", name,
                                            s->prdc.precision, s->prdc.recall, s->prdc.density, s->prdc.coverage,
                                            r->spec->nearest);
    if (which & FD_SCORE_IS)
        label(r, "IS", name), printf("%s %.4f ± %.4f over %d splits\n", name, s->is_mean, s->is_std, r->spec->splits);
    if (which & FD_SCORE_FD_INFINITY)
        label(r, "FD", name), printf("%s of infinitely many images %.6g ± %.2g\n", name, s->infinity.distance,
                                     s->infinity.error);
}

void fd_fid_print(const fd_fid_report *r) {
    const char *against = r->ref.known ? r->ref.data : fd_base_name(r->ref_path);
    printf("%lld images of %s%s%s, resize: %s\n", (long long)r->from.n, r->from.data, *against ? " against " : "", against,
           r->from.resize);
    for (int i = 0; i < r->blocks; i++) {
        if (r->blocks > 1) printf("seeds from %llu\n", (unsigned long long)first_seed(r, i));
        print_block(r, &r->block[i]);
    }
    if (r->blocks > 1 && r->spec->which & FD_SCORE_FD) {
        double least, mean, sd;
        char name[340];
        spread(r, &least, &mean, &sd);
        label(r, "FD", name);
        printf("%s of %d blocks: minimum %.6g, mean %.6g ± %.3g\n", name, r->blocks, least, mean, sd);
    }
}

void fd_fid_summary(const fd_fid_report *r, char *out, size_t size) {
    json_t *values = json_object(), *v;
    const char *key;
    size_t n = 0;
    for (int i = 0; i < (int)FD_COUNT(order); i++)
        if (r->spec->which & order[i].score) put_score(r, i, &r->block[0], values);
    out[0] = 0;
    json_object_foreach(values, key, v) {
        if (n < size) n += (size_t)snprintf(out + n, size - n, "%s%s %.6g", n ? ", " : "", key, json_number_value(v));
    }
    json_decref(values);
}

/* ---- run folder ------------------------------------------------------------------------------------------------ */

static fd_status record(fd_ctx *ctx, const fd_fid_report *r, const char *folder, int which, int block) {
    char name[64], duration[32];
    json_t *values = json_object();
    count_name(r, order[which].word, name);
    if (order[which].score == FD_SCORE_FD_INFINITY) strcat(name, "_infinity");
    put_score(r, which, &r->block[block], values);
    fd_format_duration(r->seconds[block], duration);
    json_t *o = json_pack("{s:o, s:s, s:o, s:s, s:i, s:s, s:o, s:I, s:s, s:s, s:s, s:s, s:s}", "results", values, "metric",
                          name, "total_time", fd_json_real(r->seconds[block]), "total_time_str", duration, "num_gpus", 0,
                          "snapshot_pkl", fd_base_name(r->input->network), "timestamp", fd_json_real((double)time(NULL)),
                          "seed", (json_int_t)first_seed(r, block), "network_digest", r->from.data_digest, "features",
                          r->from.features, "resize", r->from.resize, "ref", fd_base_name(r->ref_path), "ref_digest",
                          r->ref.data_digest);
    if (!o) return FD_FAIL(ctx, FD_E_FORMAT, "a name in the result is not UTF-8 and cannot be written as JSON");
    fd_status s = fd_run_metric(ctx, folder, name, o);
    json_decref(o);
    return s;
}

fd_status fd_fid_record(fd_ctx *ctx, const fd_fid_report *r) {
    char folder[4096], options[4200];
    if (!r->input->network) return FD_OK;
    const char *slash = strrchr(r->input->network, '/');
    int n = slash ? (int)(slash - r->input->network) : 0;
    if (n >= (int)sizeof folder) return FD_OK;
    snprintf(folder, sizeof folder, "%.*s", n ? n : 1, slash && n ? r->input->network : slash ? "/" : ".");
    snprintf(options, sizeof options, "%s/training_options.json", folder);
    if (!fd_file_exists(options)) return FD_OK;
    for (int b = 0; b < r->blocks; b++)
        for (int i = 0; i < (int)FD_COUNT(order); i++)
            if (r->spec->which & order[i].score) FD_TRY(record(ctx, r, folder, i, b));
    return FD_OK;
}
