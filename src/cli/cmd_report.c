/* fdistill report — one page about a run: numbers, pictures, curves, options; a single HTML file that needs nothing else. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "cli/chart.h"
#include "cli/commands.h"
#include "io/json.h"
#include "io/runfolder.h"

#define MOST_METRICS 64

typedef struct {
    const char *folder, *title;
    fd_arena arena;
    json_t *options, *ticks, *metrics;      /* ticks, metrics: lists of objects */
    double *kimg;                           /* [ticks] */
    int n;
} report;

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Every line of a .jsonl file into a list. A last line cut short by a kill is left out. */
static fd_status read_lines(fd_ctx *ctx, const char *path, json_t *list) {
    fd_bytes b;
    FD_TRY(fd_file_map(ctx, path, &b));
    fd_status s = FD_OK;
    for (size_t at = 0; at < b.size && s == FD_OK;) {
        const uint8_t *end = memchr(b.data + at, '\n', b.size - at);
        if (!end) break;
        size_t bytes = (size_t)(end - (b.data + at));
        json_t *line;
        if (bytes) {
            s = fd_json_parse(ctx, (fd_bytes){b.data + at, bytes}, path, &line);
            if (s == FD_OK) json_array_append_new(list, line);
        }
        at += bytes + 1;
    }
    fd_file_unmap(&b);
    return s;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Names in the folder with this beginning and end, sorted, at most `most`. */
static fd_status list_files(fd_ctx *ctx, report *r, const char *prefix, const char *suffix, int most, char **name, int *n) {
    *n = 0;
    DIR *d = opendir(r->folder);
    if (!d) return FD_FAIL(ctx, FD_E_IO, "%s: cannot be opened as a folder", r->folder);
    fd_status s = FD_OK;
    for (struct dirent *e; s == FD_OK && *n < most && (e = readdir(d));) {
        size_t length = strlen(e->d_name), tail = strlen(suffix);
        if (strncmp(e->d_name, prefix, strlen(prefix)) || length < tail || strcmp(e->d_name + length - tail, suffix)) continue;
        if (!(name[(*n)++] = fd_arena_strdup(ctx, &r->arena, e->d_name))) s = FD_E_NOMEM;
    }
    closedir(d);
    if (s == FD_OK) qsort(name, (size_t)*n, sizeof *name, by_name);
    return s;
}

static fd_status read_run(fd_ctx *ctx, report *r) {
    char path[4200], *name[MOST_METRICS];
    int n;
    snprintf(path, sizeof path, "%s/training_options.json", r->folder);
    if (!fd_file_exists(path))
        return FD_FAIL(ctx, FD_E_ARG, "%s: has no training_options.json; give the folder of a run, such as runs/00000-…", r->folder);
    FD_TRY(fd_json_load(ctx, path, &r->options));
    if (!(r->ticks = json_array()) || !(r->metrics = json_array())) return FD_E_NOMEM;
    snprintf(path, sizeof path, "%s/stats.jsonl", r->folder);
    if (fd_file_exists(path)) FD_TRY(read_lines(ctx, path, r->ticks));
    FD_TRY(list_files(ctx, r, "metric-", ".jsonl", MOST_METRICS, name, &n));
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", r->folder, name[i]);
        FD_TRY(read_lines(ctx, path, r->metrics));
    }
    return FD_OK;
}

/* Means of a key over the ticks; NaN where a tick has none. */
static double *series(fd_ctx *ctx, report *r, const char *key, bool *any) {
    double *y = fd_arena_alloc(ctx, &r->arena, (size_t)(r->n + 1) * sizeof *y);
    for (int i = 0; y && i < r->n; i++) {
        const json_t *mean = json_object_get(json_object_get(json_array_get(r->ticks, (size_t)i), key), "mean");
        y[i] = json_is_number(mean) ? json_number_value(mean) : NAN;
        *any |= isfinite(y[i]);
    }
    return y;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void put_text(FILE *f, const char *s) {
    for (; *s; s++) {
        if (*s == '<') fputs("&lt;", f);
        else if (*s == '>') fputs("&gt;", f);
        else if (*s == '&') fputs("&amp;", f);
        else if (*s == '"') fputs("&quot;", f);
        else fputc(*s, f);
    }
}

static void put_base64(FILE *f, fd_bytes b) {
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < b.size; i += 3) {
        uint32_t v = (uint32_t)b.data[i] << 16;
        if (i + 1 < b.size) v |= (uint32_t)b.data[i + 1] << 8;
        if (i + 2 < b.size) v |= b.data[i + 2];
        char out[] = {digit[v >> 18], digit[v >> 12 & 63], i + 1 < b.size ? digit[v >> 6 & 63] : '=',
                      i + 2 < b.size ? digit[v & 63] : '=', 0};
        fputs(out, f);
    }
}

static fd_status put_picture(fd_ctx *ctx, FILE *f, const report *r, const char *name, const char *caption) {
    char path[4200];
    fd_bytes b;
    snprintf(path, sizeof path, "%s/%s", r->folder, name);
    FD_TRY(fd_file_map(ctx, path, &b));
    fprintf(f, "<figure><img alt=\"");
    put_text(f, name);
    fprintf(f, "\" src=\"data:image/png;base64,");
    put_base64(f, b);
    fprintf(f, "\"><figcaption>%s <code>", caption);
    put_text(f, name);
    fprintf(f, "</code></figcaption></figure>\n");
    fd_file_unmap(&b);
    return FD_OK;
}

static void put_value(FILE *f, const json_t *v) {
    if (json_is_string(v)) put_text(f, json_string_value(v));
    else if (json_is_integer(v)) fprintf(f, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_number(v)) fprintf(f, "%.5g", json_number_value(v));
    else if (json_is_boolean(v)) fputs(json_is_true(v) ? "yes" : "no", f);
}

/* One measurement, as the file has it; objects inside it become rows of their own. */
static void put_members(FILE *f, const json_t *object) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)object, key, v) {
        if (json_is_object(v)) {
            put_members(f, v);
            continue;
        }
        if (json_is_array(v) || json_is_null(v)) continue;
        fputs("<tr><td>", f);
        put_text(f, key);
        fputs("</td><td>", f);
        put_value(f, v);
        fputs("</td></tr>\n", f);
    }
}

static void put_metrics(FILE *f, const report *r) {
    if (!json_array_size(r->metrics)) return;
    fputs("<h2>Measured</h2>\n<div class=\"row\">\n", f);
    for (size_t i = 0; i < json_array_size(r->metrics); i++) {
        fputs("<table>\n", f);
        put_members(f, json_array_get(r->metrics, i));
        fputs("</table>\n", f);
    }
    fputs("</div>\n", f);
}

/* The newest of a numbered kind, or a fixed name. */
static fd_status put_newest(fd_ctx *ctx, FILE *f, const report *r, const char *prefix, const char *caption) {
    char name[64], path[4200];
    int64_t kimg = fd_newest_numbered(r->folder, prefix, ".png");
    if (kimg >= 0) snprintf(name, sizeof name, "%s%06lld.png", prefix, (long long)kimg);
    else snprintf(name, sizeof name, "%s.png", prefix);
    snprintf(path, sizeof path, "%s/%s", r->folder, name);
    return fd_file_exists(path) ? put_picture(ctx, f, r, name, caption) : FD_OK;
}

static fd_status put_pictures(fd_ctx *ctx, FILE *f, const report *r) {
    static const struct { const char *prefix, *caption; } kind[] = {
        {"teacher", "Teacher, 35 evaluations per image:"}, {"ema", "Student, one step, averaged weights:"},
        {"student", "Student, one step, raw weights:"}, {"fake", "The fake score's denoising of the student's images:"},
        {"fakes", "Teacher in training, 35 evaluations per image:"}};
    fputs("<h2>Pictures</h2>\n<p>Every grid is of the same seeds.</p>\n<div class=\"row\">\n", f);
    for (size_t i = 0; i < FD_COUNT(kind); i++) FD_TRY(put_newest(ctx, f, r, kind[i].prefix, kind[i].caption));
    fputs("</div>\n", f);
    return FD_OK;
}

static fd_status put_charts(fd_ctx *ctx, FILE *f, report *r) {
    static const struct { const char *title; bool log; const char *key[FD_CHART_LINES]; } chart[] = {
        {"Loss", false, {"Loss/loss"}},
        {"Losses of fake score and heads", false, {"Loss/fake_score", "Loss/disc", "Loss/r1"}},
        {"Losses of the student", false, {"Loss/vsd", "Loss/gan"}},
        {"Gradients at the images: score and GAN part", true, {"Grad/image_vsd", "Grad/image_gan"}},
        {"Gradients of the weights", true, {"Grad/norm", "Grad/student", "Grad/fake", "Grad/heads"}},
        {"Weights h", false, {"F/h_min", "F/h_mean", "F/h_max"}},
        {"Heads: spread of the logits", false, {"F/logit_std"}},
        {"Heads: share told rightly", false, {"D/accuracy_real", "D/accuracy_fake"}},
        {"Accuracy", false, {"Accuracy/class", "Accuracy/shape", "Accuracy/hue", "Accuracy/background", "Accuracy/size"}},
        {"Images per second", false, {"Timing/images_per_sec"}},
    };
    bool some = false;
    fputs("<h2>Curves</h2>\n<div class=\"row\">\n", f);
    if (!(r->kimg = series(ctx, r, "Progress/kimg", &some))) return FD_E_NOMEM;
    for (size_t i = 0; i < FD_COUNT(chart); i++) {
        fd_chart c = {.title = chart[i].title, .log = chart[i].log, .n = r->n, .x = r->kimg};
        for (int k = 0; k < FD_CHART_LINES && chart[i].key[k]; k++) {
            bool any = false;
            c.y[c.lines] = series(ctx, r, chart[i].key[k], &any);
            if (!c.y[c.lines]) return FD_E_NOMEM;
            c.name[c.lines] = chart[i].key[k];
            c.lines += any;
        }
        fd_chart_write(f, &c);
    }
    fputs("</div>\n", f);
    return FD_OK;
}

static fd_status put_page(fd_ctx *ctx, FILE *f, report *r) {
    char *options = fd_json_dump(ctx, &r->arena, r->options, 2);
    if (!options) return FD_E_NOMEM;
    fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>", f);
    put_text(f, r->title);
    fputs("</title>\n<style>body{font:15px/1.45 sans-serif;margin:2em;max-width:1500px;color:#222}"
          ".row{display:flex;flex-wrap:wrap;gap:1.5em}figure{margin:0}img{max-width:520px;image-rendering:pixelated}"
          "figcaption{font-size:13px;max-width:520px}table{border-collapse:collapse;align-self:flex-start}"
          "td{border-bottom:1px solid #ddd;padding:2px 10px;max-width:28em;overflow-wrap:anywhere}"
          ".t{font:bold 13px sans-serif}.a{font:11px sans-serif}pre{background:#f6f6f6;padding:1em;overflow:auto}</style></head><body>\n<h1>", f);
    put_text(f, r->title);
    fprintf(f, "</h1>\n<p>%s</p>\n", fd_software());
    put_metrics(f, r);
    FD_TRY(put_pictures(ctx, f, r));
    FD_TRY(put_charts(ctx, f, r));
    fputs("<h2>Options</h2>\n<pre>", f);
    put_text(f, options);
    fputs("</pre>\n</body></html>\n", f);
    return FD_OK;
}

static fd_status make(fd_ctx *ctx, report *r, const char *out) {
    FD_TRY(read_run(ctx, r));
    r->n = (int)json_array_size(r->ticks);
    fd_outfile o;
    FD_TRY(fd_outfile_open(ctx, out, &o));
    fd_status s = put_page(ctx, o.f, r);
    if (s == FD_OK) s = fd_outfile_commit(ctx, &o);
    else fd_outfile_abandon(&o);
    if (s == FD_OK) printf("%s: %d ticks, %d measurements\n", out, r->n, (int)json_array_size(r->metrics));
    return s;
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

fd_status fd_cmd_report(fd_ctx *ctx, int argc, char **argv) {
    const char *out = NULL, *title = NULL;
    char folder[4096], standard[4200];
    fd_option o[] = {
        {.name = "out", .type = FD_OPT_TEXT, .to = &out, .value = "FILE",
         .help = "The page. (default report.html in the run folder)"},
        {.name = "title", .type = FD_OPT_TEXT, .to = &title, .value = "TEXT",
         .help = "Its heading. (default the folder's name)"},
    };
    fd_args a = {.command = "report", .operands = "RUN", .least = 1, .most = 1, .option = o, .n = (int)FD_COUNT(o),
                 .about = "Makes one page about a training run: what was measured (metric-*.jsonl), the newest "
                          "pictures, curves of stats.jsonl, the options. One HTML file without scripts that can be "
                          "sent to anybody.",
                 .examples = "  fdistill report runs/00003-sprites-cond-ddpmpp-js-batch64\n"};
    FD_TRY(fd_args_parse(ctx, &a, argc, argv));
    if (a.helped) return FD_OK;
    snprintf(folder, sizeof folder, "%s", a.operand[0]);
    for (size_t n = strlen(folder); n > 1 && folder[n - 1] == '/';) folder[--n] = 0;
    snprintf(standard, sizeof standard, "%s/report.html", folder);
    report r = {.folder = folder, .title = title ? title : last_part(folder)};
    fd_status s = make(ctx, &r, out ? out : standard);
    json_decref(r.options);
    json_decref(r.ticks);
    json_decref(r.metrics);
    fd_arena_free(&r.arena);
    return s;
}
