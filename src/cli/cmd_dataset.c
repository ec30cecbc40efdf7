/* fdistill dataset create|check|stats — image sets in EDM's form. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/progress.h"
#include "cli/commands.h"
#include "cli/dataset_create.h"
#include "io/dataset.h"
#include "io/image.h"
#include "io/json.h"

/* ---- check ----------------------------------------------------------------------------------------------------- */

static void print_report(const char *path, const fd_dataset_report *r) {
    for (int i = 0; i < r->n; i++) {
        const fd_dataset_problem *p = &r->problem[i];
        printf("%s %s%s%s\n", p->fatal ? "wrong " : "note  ", p->path, *p->path ? ": " : "", p->text);
    }
    if (r->total > r->n) printf("… and %lld more\n", (long long)(r->total - r->n));
    if (r->images) printf("%s: %lld images", path, (long long)r->images);
    else printf("%s: no images", path);
    if (r->h) printf(", %d x %d, %s", r->w, r->h, r->c == 1 ? "gray" : "RGB");
    if (r->label_dim) printf(", labels of dimension %lld", (long long)r->label_dim);
    else printf(", no labels");
    printf(". %lld wrong, %lld worth knowing.\n", (long long)r->fatal, (long long)(r->total - r->fatal));
}

static fd_status run_check(fd_ctx *ctx, int argc, char **argv) {
    fd_args a = {.command = "dataset check", .operands = "PATH", .least = 1, .most = 1,
                 .about = "Reads every picture and label of a zip or folder and says in plain words what is wrong "
                          "or odd with it. Exit code 1 if training on the set would fail.",
                 .examples = "  fdistill dataset check cifar10-32x32.zip\n"};
    FD_TRY(fd_args_parse(ctx, &a, argc, argv));
    if (a.helped) return FD_OK;
    fd_dataset_report r;
    FD_TRY(fd_dataset_check(ctx, a.operand[0], &r));
    print_report(a.operand[0], &r);
    fd_status s = FD_OK;
    if (r.fatal)
        s = FD_FAIL(ctx, FD_E_FORMAT, "%s: %lld thing%s wrong with this set; see above", a.operand[0],
                    (long long)r.fatal, r.fatal == 1 ? " is" : "s are");
    fd_dataset_report_free(&r);
    return s;
}

/* ---- stats ----------------------------------------------------------------------------------------------------- */

typedef struct {
    double mean[3], std[3];       /* per channel, 0 … 255 */
    int64_t *of_class;            /* [classes], NULL without class labels */
    int classes;
    struct { char name[8]; int64_t n; } codec[8];
    int codecs;
    char digest[65];
} set_stats;

static void count_codec(set_stats *t, const char *name) {
    const char *dot = strrchr(name, '.');
    char kind[8];
    snprintf(kind, sizeof kind, "%s", dot ? dot + 1 : "?");
    if (!strcasecmp(kind, "jpg")) strcpy(kind, "jpeg");
    for (char *p = kind; *p; p++) *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    for (int i = 0; i < t->codecs; i++)
        if (!strcmp(t->codec[i].name, kind)) { t->codec[i].n++; return; }
    if (t->codecs == (int)FD_COUNT(t->codec)) return;
    strcpy(t->codec[t->codecs].name, kind);
    t->codec[t->codecs++].n = 1;
}

/* Sums are whole numbers, so threads change nothing. */
static fd_status count_pixels(fd_ctx *ctx, const fd_dataset *d, set_stats *t) {
    int64_t sum[3] = {0}, square[3] = {0}, plane = (int64_t)d->h * d->w;
    fd_progress bar;
    fd_progress_start(ctx, &bar, "reading", "images", d->n);
    int64_t done = 0;
    fd_ctx failed = {.code = FD_OK};
#pragma omp parallel
    {
        fd_ctx mine = {.quiet = true};
        uint8_t *p = fd_alloc(&mine, (size_t)(d->c * plane));
        int64_t s[3] = {0}, q[3] = {0};
#pragma omp for schedule(dynamic, 16)
        for (int64_t i = 0; i < d->n; i++) {
            if (mine.code != FD_OK || fd_dataset_get(&mine, d, i, p, NULL) != FD_OK) continue;
            for (int c = 0; c < d->c; c++)
                for (int64_t k = 0; k < plane; k++) {
                    int64_t v = p[c * plane + k];
                    s[c] += v;
                    q[c] += v * v;
                }
#pragma omp critical(stats_progress)
            fd_progress_update(&bar, ++done, NULL);
        }
#pragma omp critical(stats_join)
        {
            for (int c = 0; c < 3; c++) { sum[c] += s[c]; square[c] += q[c]; }
            if (failed.code == FD_OK) failed = mine;
        }
        fd_free(p);
    }
    fd_progress_end(&bar);
    if (failed.code != FD_OK) return FD_FAIL(ctx, failed.code, "%s", failed.message);
    double n = (double)(d->n * plane);
    for (int c = 0; c < d->c; c++) {
        t->mean[c] = (double)sum[c] / n;
        t->std[c] = sqrt(fmax(0, (double)square[c] / n - t->mean[c] * t->mean[c]));
    }
    return FD_OK;
}

static fd_status gather(fd_ctx *ctx, fd_arena *arena, fd_dataset *d, set_stats *t) {
    if (d->class_labels) {
        t->classes = d->label_dim;
        FD_NEW(ctx, arena, t->of_class, t->classes);
    }
    for (int64_t i = 0; i < d->n; i++) {
        int c = fd_dataset_class(d, i);
        if (t->of_class && c >= 0 && c < t->classes) t->of_class[c]++;
        count_codec(t, fd_dataset_image_name(d, i));
    }
    FD_TRY(count_pixels(ctx, d, t));
    return fd_dataset_digest(ctx, d, t->digest);
}

static void print_stats(const fd_dataset *d, const set_stats *t) {
    static const char *const names[] = {"red", "green", "blue"};
    printf("name      %s\nimages    %lld\nsize      %d x %d, %s\n", d->name, (long long)d->n, d->w, d->h,
           d->c == 1 ? "gray" : "RGB");
    printf("files     ");
    for (int i = 0; i < t->codecs; i++)
        printf("%s%lld %s", i ? ", " : "", (long long)t->codec[i].n, t->codec[i].name);
    printf("\nlabels    ");
    if (!d->label_dim) printf("none\n");
    else printf("%s, dimension %d\n", d->class_labels ? "classes" : "vectors", d->label_dim);
    int64_t most = 1;
    for (int i = 0; i < t->classes; i++) most = t->of_class[i] > most ? t->of_class[i] : most;
    for (int i = 0; i < t->classes && t->classes <= 200; i++) {
        printf("  %4d    %8lld ", i, (long long)t->of_class[i]);
        for (int64_t k = 0; k < 40 * t->of_class[i] / most; k++) putchar('#');
        putchar('\n');
    }
    if (t->classes > 200) printf("  (%d classes; --json lists them)\n", t->classes);
    for (int c = 0; c < d->c; c++)
        printf("%-9s mean %.3f, deviation %.3f  (%.4f, %.4f in [-1, 1])\n", d->c == 1 ? "gray" : names[c], t->mean[c],
               t->std[c], t->mean[c] / 127.5 - 1, t->std[c] / 127.5);
    if (*d->crop) printf("crop      %s\n", d->crop);
    printf("digest    %s\n", t->digest);
}

static fd_status print_stats_json(fd_ctx *ctx, fd_arena *arena, const fd_dataset *d, const set_stats *t) {
    json_t *mean = json_array(), *std = json_array(), *files = json_object(), *classes = json_null();
    for (int c = 0; c < d->c; c++) {
        json_array_append_new(mean, fd_json_real(t->mean[c]));
        json_array_append_new(std, fd_json_real(t->std[c]));
    }
    for (int i = 0; i < t->codecs; i++) json_object_set_new(files, t->codec[i].name, json_integer(t->codec[i].n));
    if (t->of_class) {
        classes = json_array();
        for (int i = 0; i < t->classes; i++) json_array_append_new(classes, json_integer(t->of_class[i]));
    }
    json_t *o = json_pack("{s:s, s:I, s:i, s:i, s:i, s:i, s:o, s:o, s:o, s:o, s:s, s:s}", "name", d->name, "images",
                          (json_int_t)d->n, "width", d->w, "height", d->h, "channels", d->c, "label_dim",
                          d->label_dim, "classes", classes, "files", files, "mean", mean, "std", std, "crop", d->crop,
                          "digest", t->digest);
    char *text = o ? fd_json_dump(ctx, arena, o, 2) : NULL;
    json_decref(o);
    if (!text) return FD_FAIL(ctx, FD_E_FORMAT, "%s: the name cannot be written as JSON", d->path);
    fputs(text, stdout);
    return FD_OK;
}

/* With labels if the set has them. */
static fd_status open_any(fd_ctx *ctx, const char *path, fd_dataset *d) {
    fd_dataset_options o = {.use_labels = true, .folder_labels = true, .allow_any_size = true, .cache = FD_CACHE_OFF};
    fd_status s = fd_dataset_open(ctx, path, &o, d);
    if (s != FD_E_ARG) return s;
    fd_clear(ctx);
    o.use_labels = o.folder_labels = false;
    return fd_dataset_open(ctx, path, &o, d);
}

static fd_status run_stats(fd_ctx *ctx, int argc, char **argv) {
    bool json = false;
    fd_option o[] = {{.name = "json", .type = FD_OPT_FLAG, .to = &json, .help = "Print JSON."}};
    fd_args a = {.command = "dataset stats", .operands = "PATH", .least = 1, .most = 1, .option = o,
                 .n = (int)FD_COUNT(o),
                 .about = "Counts the pictures of a zip or folder: size, file types, classes, mean and deviation per "
                          "channel, digest.",
                 .examples = "  fdistill dataset stats cifar10-32x32.zip\n"};
    FD_TRY(fd_args_parse(ctx, &a, argc, argv));
    if (a.helped) return FD_OK;
    fd_dataset d = {0};
    fd_arena arena = {0};
    set_stats t = {.classes = 0};
    fd_status s = open_any(ctx, a.operand[0], &d);
    if (s == FD_OK) s = gather(ctx, &arena, &d, &t);
    if (s == FD_OK && json) s = print_stats_json(ctx, &arena, &d, &t);
    else if (s == FD_OK) print_stats(&d, &t);
    fd_dataset_close(&d);
    fd_arena_free(&arena);
    return s;
}

fd_status fd_cmd_dataset(fd_ctx *ctx, int argc, char **argv) {
    static const fd_command commands[] = {
        {"create", "Make a set: the procedural sprites, or from a folder or zip of pictures.",
         fd_dataset_create_command, FD_ALONE},
        {"check", "Say what is wrong or odd with a set.", run_check, FD_ALONE},
        {"stats", "Count it: size, classes, file types, channel means, digest.", run_stats, FD_ALONE},
    };
    return fd_command_run(ctx, "dataset",
                          "Image sets as EDM keeps them: a zip or folder of pictures, labels in dataset.json.",
                          commands, (int)FD_COUNT(commands), argc, argv);
}
