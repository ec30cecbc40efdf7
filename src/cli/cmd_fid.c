/* fdistill fid ref|calc|sprites — Fréchet distances with provenance, and the exact judge of the sprites set. */
#include <stdio.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/fid_input.h"
#include "cli/fid_net.h"
#include "comm/comm.h"
#include "eval/measure.h"
#include "eval/sprites_judge.h"
#include "io/json.h"

/* ---- ref ------------------------------------------------------------------------------------------------------- */

static fd_status run_ref(fd_ctx *ctx, int argc, char **argv) {
    const char *data = NULL, *dest = NULL, *net_path = NULL;
    int64_t num = 0;
    uint64_t seed = 0;
    int resize = FD_RESIZE_TF1;
    char name[256] = "";
    fd_measure_spec spec = {.name = name, .batch = 64, .what = "measuring"};
    fd_device_choice device = {0};
    fd_option o[] = {
        {.name = "data", .type = FD_OPT_TEXT, .to = &data, .value = "PATH", .help = "Zip or folder.",
         .required = true},
        {.name = "net", .type = FD_OPT_TEXT, .to = &net_path, .value = "FILE", .help = FD_FID_NET_HELP,
         .required = true},
        {.name = "dest", .type = FD_OPT_TEXT, .to = &dest, .value = "FILE.npz", .help = "Statistics to write.",
         .required = true},
        {.name = "num", .type = FD_OPT_COUNT, .to = &num, .value = "N", .lo = 2, .hi = 1e8, .no_default = true,
         .help = "Only so many images, drawn with the seed; all if not given."},
        {.name = "seed", .type = FD_OPT_SEED, .to = &seed, .value = "N", .help = "Of that draw."},
        FD_FID_RESIZE_ROW(resize),
        {.name = "keep-features", .type = FD_OPT_FLAG, .to = &spec.keep_features,
         .help = "Write the features of every image too, 4 d bytes each: what KID and precision/recall compare."},
        {.name = "spatial", .type = FD_OPT_FLAG, .to = &spec.spatial,
         .help = "Also mu_s and sigma_s of Inception's spatial features, which sFID compares."},
        {.name = "batch", .type = FD_OPT_INT, .to = &spec.batch, .value = "N", .lo = 1, .hi = 65536,
         .help = "Images per pass."},
        FD_DEVICE_ROWS(device),
    };
    fd_args a = {.command = "fid ref", .option = o, .n = (int)FD_COUNT(o),
                 .about = "Writes the reference statistics of a set: mu and sigma of its features as an npz that "
                          "EDM's tools read too, with an entry that says which images, which feature network and "
                          "which rules made it.",
                 .examples = "  fdistill fid ref --data cifar10-32x32.zip --net inception.safetensors --dest "
                             "cifar10-32x32.npz\n"};
    FD_TRY(fd_args_parse(ctx, &a, argc, argv));
    if (a.helped) return FD_OK;
    spec.resize = (fd_resize_rule)resize;
    const fd_backend *backend;
    FD_TRY(fd_device_open(ctx, device, &backend));
    fd_interrupt_install();
    fd_image_source source = {0};
    fd_measured r = {0};
    fd_status s = fd_net_load(ctx, net_path, &spec.net);
    if (s == FD_OK) s = fd_image_source_set(ctx, data, num, seed, &source);
    if (s == FD_OK) {
        source.backend = backend;
        fd_feature_net_name(spec.net, net_path, name);
        s = fd_measure(ctx, &source, &spec, &r);
    }
    if (s == FD_OK && fd_comm_first(ctx)) s = fd_reference_save(ctx, dest, &r.stats);
    if (s == FD_OK)
        printf("%s: %lld images of %s, %d features of %s\n", dest, (long long)r.stats.from.n, r.stats.from.data,
               r.stats.d, name);
    fd_measured_free(&r);
    fd_image_source_close(&source);
    fd_net_free(spec.net);
    return s;
}

/* ---- sprites --------------------------------------------------------------------------------------------------- */

#define CHUNK 256

static fd_status judge(fd_ctx *ctx, fd_fid_input *p, fd_arena *a, fd_sprites_judge *j, fd_sprite_report *out) {
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
    json_t *rank = json_array();
    for (int i = 0; i < FD_SPRITE_HUES; i++) json_array_append_new(rank, fd_json_real(s->hue_rank[i]));
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "n", (json_int_t)s->n, "shape_right",
                     fd_json_real(s->shape_right), "valid_strict", fd_json_real(s->valid_strict), "valid_loose",
                     fd_json_real(s->valid_loose), "residual_median", fd_json_real(s->residual_median), "mode_kl",
                     fd_json_real(s->mode_kl), "mode_tv", fd_json_real(s->mode_tv), "class_mode_kl",
                     fd_json_real(s->class_mode_kl), "rare_recall",
                     fd_json_real(s->rare_recall), "rare_coverage", fd_json_real(s->rare_coverage), "hue_rank", rank,
                     "light", fd_json_real(s->light), "small", fd_json_real(s->small), "shift_spread",
                     fd_json_real(s->shift_spread), "turn_spread", fd_json_real(s->turn_spread));
}

static void print_score(const char *name, const fd_sprite_score *s) {
    printf("%-10s %7lld %7.3f %7.3f %7.3f %8.4f %8.4f %7.3f %7.3f %7.3f\n", name, (long long)s->n, s->shape_right,
           s->valid_strict, s->valid_loose, s->residual_median, s->mode_kl, s->mode_tv, s->rare_recall,
           s->rare_coverage);
}

static fd_status print_judgement(fd_ctx *ctx, const fd_fid_input *p, const fd_sprite_report *r, bool json) {
    if (json) {
        json_t *classes = json_object();
        for (int i = 0; i < FD_SPRITE_CLASSES; i++)
            json_object_set_new(classes, fd_sprite_class_names[i], score_json(&r->of_class[i]));
        json_t *o = score_json(&r->all);
        json_object_set_new(o, "images", json_string(p->source.name));
        json_object_set_new(o, "digest", json_string(p->source.digest));
        json_object_set_new(o, "labels_known", json_boolean(p->source.classes));
        json_object_set_new(o, "classes", classes);
        return fd_fid_print_json(ctx, o);
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
    fd_fid_input p = {.sampling = FD_SAMPLING_DEFAULTS};
    bool json = false;
    fd_option o[] = {
        FD_FID_INPUT_ROWS(p),
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
    fd_status s = fd_fid_input_open(ctx, &p, 0);
    if (s == FD_OK && (p.source.c != 3 || p.source.h != p.source.w))
        s = FD_FAIL(ctx, FD_E_ARG, "%s: sprites are square and RGB, these pictures are not", p.source.name);
    if (s == FD_OK) s = fd_sprites_judge_open(ctx, p.source.h, &j);
    if (s == FD_OK) s = judge(ctx, &p, &arena, j, &r);
    if (s == FD_OK) s = print_judgement(ctx, &p, &r, json);
    fd_sprites_judge_close(j);
    fd_fid_input_close(&p);
    fd_arena_free(&arena);
    return s;
}

fd_status fd_cmd_fid(fd_ctx *ctx, int argc, char **argv) {
    static const fd_command commands[] = {
        {"net", "Train the feature network of a set.", fd_cmd_fid_net, FD_ALONE},
        {"ref", "Reference statistics of a set.", run_ref, FD_RANKS},
        {"calc", "Fréchet distance and other numbers of a set or of a network's images.", fd_fid_calc, FD_RANKS},
        {"sprites", "What the exact decoder of the sprites set says of images.", run_sprites, FD_ALONE},
    };
    return fd_command_run(ctx, "fid", "How good images are, as numbers that say what they were made from.", commands,
                          (int)FD_COUNT(commands), argc, argv);
}
