/* fdistill bench — how fast this machine denoises, trains and generates with a network, and where the time goes. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "base/version.h"
#include "cli/bench_case.h"
#include "cli/commands.h"
#include "cli/device.h"
#include "cli/sampling.h"
#include "cpu/describe.h"
#include "cpu/peak.h"
#include "io/json.h"

#define MOST_ROWS 256
#define MOST_REPS 10000

static const char *const case_names[] = {"denoise", "train", "generate", "distill", "features", NULL};
static const char *const config_names[] = {"ddpmpp-cifar10", "ncsnpp-cifar10", "adm-imagenet64", "demo", "inception", NULL};

typedef struct {
    const char *network, *save;
    int config, resolution, kind, batch, pass, reps, precision, shapes;
    fd_device_choice device;
    int64_t images;
    bool ops, json, paced;
} bench_options;

typedef struct {
    const bench_options *o;
    const fd_backend *backend;
    fd_net *net;
    fd_bench *work;
    int threads;
    double *ms;                   /* [reps] */
    int n;                        /* repetitions done */
    fd_profile_row rows[MOST_ROWS], by_shape[MOST_ROWS];
    int n_rows, n_shapes;
    double profiled;              /* seconds of the repetitions that were profiled */
    int profiled_reps;
    fd_cpu_peak peak;             /* 0: not known, as of a GPU */
} bench;

/* ---- the network ------------------------------------------------------------------------------------------------- */

static void named_config(int which, fd_net_config *c) {
    static const fd_family family[] = {FD_FAMILY_DDPMPP, FD_FAMILY_NCSNPP, FD_FAMILY_ADM, FD_FAMILY_DDPMPP,
                                       FD_FAMILY_INCEPTION};
    fd_net_config_preset(c, family[which]);
    if (c->family == FD_FAMILY_INCEPTION) return;
    c->label_dim = c->family == FD_FAMILY_ADM ? 1000 : 10;
    if (c->family != FD_FAMILY_ADM) c->augment_dim = 9;
    if (which != 3) return;
    c->resolution = 16;
    c->model_channels = 32;
    for (int i = 0; i < 3; i++) c->channel_mult[i] = 1 << i;
    c->num_blocks = 1;
    c->attn_resolutions[0] = 8;
    c->augment_dim = 0;
}

static fd_status open_network(fd_ctx *ctx, const bench_options *o, fd_net **out) {
    if (o->network) {
        if (o->resolution) return FD_FAIL(ctx, FD_E_ARG, "--resolution goes with --config; a file has its own");
        return o->kind == FD_BENCH_FEATURES ? fd_net_load(ctx, o->network, out) : fd_load_generator(ctx, o->network, out);
    }
    fd_net_config c;
    named_config(o->config, &c);
    if (o->resolution && c.family == FD_FAMILY_INCEPTION)
        return FD_FAIL(ctx, FD_E_ARG, "--resolution: Inception has its own");
    if (o->resolution) c.resolution = o->resolution;
    FD_TRY(fd_net_new(ctx, &c, out));
    fd_net_init_random(*out, 1);
    fd_net_meta *m = &(*out)->meta;
    snprintf(m->kind, sizeof m->kind, "student");
    snprintf(m->title, sizeof m->title, "%s with random weights", config_names[o->config]);
    m->sigma_init = 80;
    return FD_OK;
}

static const char *network_name(const bench_options *o) { return o->network ? o->network : config_names[o->config]; }

/* ---- measuring --------------------------------------------------------------------------------------------------- */

static fd_status one(fd_ctx *ctx, bench *b, double *ms) {
    double start = fd_now();
    FD_TRY(fd_bench_run(ctx, b->work));
    *ms = (fd_now() - start) * 1e3;
    return FD_OK;
}

/* The first run lays out the weights and touches the memory; it is not counted. */
static fd_status measure(fd_ctx *ctx, bench *b) {
    double ms;
    char line[64];
    FD_TRY(one(ctx, b, &ms));
    if (b->o->paced) {
        puts("ready");
        fflush(stdout);
    }
    while (b->n < b->o->reps) {
        if (b->o->paced && !fgets(line, sizeof line, stdin)) break;
        FD_TRY(one(ctx, b, &b->ms[b->n++]));
        if (!b->o->paced) continue;
        printf("%.6f\n", b->ms[b->n - 1]);
        fflush(stdout);
    }
    if (b->n == 0) return FD_FAIL(ctx, FD_E_ARG, "--paced: standard input ended before the first repetition");
    return FD_OK;
}

/* Apart from the timed repetitions: reading the clock around every node costs a little. */
static fd_status profile(fd_ctx *ctx, bench *b) {
    fd_exec *e = fd_bench_exec(b->work);
    double ms;
    fd_exec_profile(e, true);
    for (int i = 0; i < b->n; i++) {
        FD_TRY(one(ctx, b, &ms));
        b->profiled += ms * 1e-3;
        b->profiled_reps++;
    }
    b->n_rows = fd_exec_profile_rows(e, false, b->rows, MOST_ROWS);
    b->n_shapes = fd_exec_profile_rows(e, true, b->by_shape, MOST_ROWS);
    if (b->n_shapes > b->o->shapes) b->n_shapes = b->o->shapes;
    return b->backend->device ? FD_OK : fd_cpu_peak_measure(ctx, b->threads, &b->peak);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Lower, middle and upper of the sorted times. */
static double quantile(const bench *b, double q) {
    double at = q * (b->n - 1);
    int i = (int)at;
    return i + 1 < b->n ? b->ms[i] + (at - i) * (b->ms[i + 1] - b->ms[i]) : b->ms[i];
}

/* ---- reporting --------------------------------------------------------------------------------------------------- */

static double peak_of(const bench *b, const fd_profile_row *r) {
    return r->dt == FD_BF16 && b->peak.bf16 > b->peak.f32 ? b->peak.bf16 : b->peak.f32;
}

/* Share of what the machine can do at most: of its arithmetic or of its memory, whichever is more. */
static double share_of_peak(const bench *b, const fd_profile_row *r) {
    if (!(r->seconds > 0 && b->peak.f32 > 0)) return 0;
    double work = r->flops / r->seconds / peak_of(b, r), bytes = r->bytes / r->seconds / b->peak.memory;
    return work > bytes ? work : bytes;
}

static void print_rows(const bench *b, const fd_profile_row *rows, int n, bool shapes) {
    char text[64] = "";
    double per = 1e3 / b->profiled_reps, total = 0;
    printf("\n%-14s %-20s %-4s %s%7s %9s %6s %8s %7s %7s\n", "op", "algorithm", "type", shapes ? "first input -> output            " : "",
           "calls", "ms", "%", "GFLOP/s", "GB/s", "% peak");
    for (int i = 0; i < n; i++) {
        const fd_profile_row *r = &rows[i];
        if (shapes)
            snprintf(text, sizeof text, "%lldx%lldx%lldx%lld -> %lldx%lldx%lldx%lld", (long long)r->in.n, (long long)r->in.c,
                     (long long)r->in.h, (long long)r->in.w, (long long)r->out.n, (long long)r->out.c, (long long)r->out.h,
                     (long long)r->out.w);
        printf("%-14s %-20s %-4s %-*s%7lld %9.3f %6.1f %8.1f %7.1f %7.1f\n", r->op, r->algo, r->dt == FD_BF16 ? "bf16" : "f32",
               shapes ? 34 : 0, text, (long long)r->calls / b->profiled_reps, r->seconds * per,
               100 * r->seconds / b->profiled, r->seconds > 0 ? r->flops * 1e-9 / r->seconds : 0,
               r->seconds > 0 ? r->bytes * 1e-9 / r->seconds : 0, 100 * share_of_peak(b, r));
        total += r->seconds;
    }
    if (shapes) return;
    printf("%-14s %-20s %-4s %7s %9.3f %6.1f\n", "outside ops", "", "", "", (b->profiled - total) * per,
           100 * (b->profiled - total) / b->profiled);
}

static void print_text(bench *b) {
    const bench_options *o = b->o;
    fd_cpu_facts f;
    fd_cpu_describe(&f);
    const fd_exec *plan = fd_bench_exec(b->work);
    const fd_plan_summary s = plan ? fd_exec_summary(plan) : (fd_plan_summary){0};
    double median = quantile(b, 0.5), images = (double)fd_bench_images(b->work);
    double flops = s.flops * (double)fd_bench_passes(b->work);
    printf("%s, %s, %s %lld, %s, %d thread%s\n", network_name(o), case_names[o->kind],
           fd_bench_images(b->work) == o->batch ? "batch" : "images", (long long)fd_bench_images(b->work),
           fd_precision_names[o->precision], b->threads, b->threads == 1 ? "" : "s");
    if (b->backend->device) printf("%s\n", b->backend->device->describe());
    printf("%s, %s, %s, fdistill %s\n", f.processor[0] ? f.processor : "unknown processor", f.isa, f.onednn, fd_version());
    printf("time    median %.2f ms of %d (%.2f to %.2f), %.3f ms per image, %.2f images/s\n", median, b->n, b->ms[0],
           b->ms[b->n - 1], median / images, images / median * 1e3);
    if (plan) printf("work    %.2f GFLOP per image, %.1f GFLOP/s, %d nodes per pass\n", flops / images * 1e-9, flops / median * 1e-6,
           s.nodes);
    printf("memory  %.1f MiB of the pass, peak of the process %.1f MiB\n",
           (double)fd_bench_bytes(b->work) / 1048576, fd_peak_rss_gb() * 1024);
    if (!o->ops) return;
    if (b->peak.f32 > 0) printf("peak    %.0f GFLOP/s f32", b->peak.f32 * 1e-9);
    if (b->peak.bf16 > 0) printf(", %.0f GFLOP/s bf16", b->peak.bf16 * 1e-9);
    if (b->peak.f32 > 0) printf(", %.1f GB/s of memory\n", b->peak.memory * 1e-9);
    print_rows(b, b->rows, b->n_rows, false);
    if (b->n_shapes) print_rows(b, b->by_shape, b->n_shapes, true);
    printf("\nPer repetition. GFLOP/s counts direct convolution, so Winograd may pass the peak; GB/s counts every operand\n"
           "once, so what stays in the caches may pass the memory's.\n");
}

static json_t *shape_json(fd_shape s) {
    return json_pack("[I,I,I,I]", (json_int_t)s.n, (json_int_t)s.c, (json_int_t)s.h, (json_int_t)s.w);
}

static json_t *rows_json(const bench *b, const fd_profile_row *rows, int n, bool shapes) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        const fd_profile_row *r = &rows[i];
        json_t *o = json_pack("{s:s,s:s,s:s,s:I}", "op", r->op, "algorithm", r->algo, "type",
                              r->dt == FD_BF16 ? "bf16" : "f32", "calls", (json_int_t)(r->calls / b->profiled_reps));
        if (shapes) {
            json_object_set_new(o, "in", shape_json(r->in));
            json_object_set_new(o, "out", shape_json(r->out));
        }
        json_object_set_new(o, "ms", fd_json_real(r->seconds * 1e3 / b->profiled_reps));
        json_object_set_new(o, "share", fd_json_real(r->seconds / b->profiled));
        json_object_set_new(o, "gflops", fd_json_real(r->seconds > 0 ? r->flops * 1e-9 / r->seconds : 0));
        json_object_set_new(o, "gbytes_per_s", fd_json_real(r->seconds > 0 ? r->bytes * 1e-9 / r->seconds : 0));
        if (b->peak.f32 > 0) json_object_set_new(o, "share_of_peak", fd_json_real(share_of_peak(b, r)));
        json_array_append_new(list, o);
    }
    return list;
}

static fd_status print_json(fd_ctx *ctx, bench *b) {
    const bench_options *o = b->o;
    fd_cpu_facts f;
    fd_cpu_describe(&f);
    const fd_exec *plan = fd_bench_exec(b->work);
    const fd_plan_summary s = plan ? fd_exec_summary(plan) : (fd_plan_summary){0};
    json_t *root = json_object(), *times = json_array();
    const struct { const char *key; json_t *value; } row[] = {
        {"case", json_string(case_names[o->kind])},
        {"network", json_string(network_name(o))},
        {"precision", json_string(fd_precision_names[o->precision])},
        {"batch", json_integer(o->batch)},
        {"images", json_integer((json_int_t)fd_bench_images(b->work))},
        {"threads", json_integer(b->threads)},
        {"device", json_string(b->backend->device ? b->backend->device->describe() : b->backend->name)},
        {"processor", json_string(f.processor)},
        {"instructions", json_string(f.isa)},
        {"onednn", json_string(f.onednn)},
        {"version", json_string(fd_version())},
        {"median_ms", fd_json_real(quantile(b, 0.5))},
        {"sorted_ms", times},
        {"gflop", fd_json_real(s.flops * (double)fd_bench_passes(b->work) * 1e-9)},
        {"nodes", json_integer(s.nodes)},
        {"pass_bytes", json_integer((json_int_t)fd_bench_bytes(b->work))},
        {"peak_bytes", json_integer((json_int_t)(fd_peak_rss_gb() * 1073741824))},
    };
    for (int i = 0; i < b->n; i++) json_array_append_new(times, fd_json_real(b->ms[i]));
    for (size_t i = 0; i < FD_COUNT(row); i++) json_object_set_new(root, row[i].key, row[i].value);
    if (o->ops) {
        if (b->peak.f32 > 0)
            json_object_set_new(root, "peak", json_pack("{s:f,s:f,s:f}", "gflops_f32", b->peak.f32 * 1e-9, "gflops_bf16",
                                                        b->peak.bf16 * 1e-9, "gbytes_per_s", b->peak.memory * 1e-9));
        json_object_set_new(root, "ops", rows_json(b, b->rows, b->n_rows, false));
        if (b->n_shapes) json_object_set_new(root, "shapes", rows_json(b, b->by_shape, b->n_shapes, true));
    }
    fd_arena a = {0};
    char *text = fd_json_dump(ctx, &a, root, o->paced ? 0 : 2);
    if (text) printf("%s%s", text, o->paced ? "\n" : "");
    json_decref(root);
    fd_arena_free(&a);
    return text ? FD_OK : FD_E_NOMEM;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static fd_status run(fd_ctx *ctx, bench *b) {
    const bench_options *o = b->o;
    FD_TRY(fd_device_open(ctx, o->device, &b->backend));
    FD_TRY(open_network(ctx, o, &b->net));
    if (o->save) return fd_net_save(ctx, b->net, NULL, o->save);
    if (o->pass && o->batch % o->pass)
        return FD_FAIL(ctx, FD_E_ARG, "--batch-gpu %d does not divide --batch %d", o->pass, o->batch);
    fd_bench_spec spec = {.kind = (fd_bench_kind)o->kind, .batch = o->batch, .pass = o->pass, .images = o->images,
                          .dtype = o->precision ? FD_BF16 : FD_F32, .backend = b->backend};
    if (o->ops && spec.kind == FD_BENCH_DISTILL)
        return FD_FAIL(ctx, FD_E_ARG, "--ops: distill runs several plans; take --case train and denoise for its parts");
    FD_TRY(fd_bench_new(ctx, b->net, &spec, &b->work));
    b->ms = fd_alloc(ctx, (size_t)o->reps * sizeof *b->ms);
    if (!b->ms) return FD_E_NOMEM;
    b->threads = ctx->threads > 0 ? ctx->threads : omp_get_max_threads();
    FD_TRY(measure(ctx, b));
    qsort(b->ms, (size_t)b->n, sizeof *b->ms, ascending);
    if (o->ops) FD_TRY(profile(ctx, b));
    if (o->json || o->paced) return print_json(ctx, b);
    print_text(b);
    return FD_OK;
}

fd_status fd_cmd_bench(fd_ctx *ctx, int argc, char **argv) {
    ctx->large_pages = true;
    bench_options p = {.batch = 8, .images = 1000, .reps = 5};
    fd_option o[] = {
        {.name = "config", .type = FD_OPT_ENUM, .to = &p.config, .value = "NAME", .words = config_names,
         .help = "A published network, or one of the demo's size (16x16, 32 channels), with random weights; inception goes with "
                 "--case features.",
         .group = "Network"},
        {.name = "resolution", .type = FD_OPT_INT, .to = &p.resolution, .value = "N", .lo = 1, .hi = 4096, .no_default = true,
         .help = "With --config: another side of the images."},
        {.name = "network", .type = FD_OPT_TEXT, .to = &p.network, .value = "FILE", .help = "Or this network, .safetensors."},
        {.name = "case", .type = FD_OPT_ENUM, .to = &p.kind, .value = "NAME", .words = case_names, .group = "Work",
         .help = "One denoising of a batch; one step of training on a batch, optimiser included; images from seeds; "
                 "five iterations of f-distill, four of the critic and one of the student; features of 8-bit images, "
                 "resized where the network is Inception."},
        {.name = "batch", .type = FD_OPT_INT, .to = &p.batch, .value = "N", .lo = 1, .hi = 65536,
         .help = "Images at a time."},
        {.name = "batch-gpu", .type = FD_OPT_INT, .to = &p.pass, .value = "N", .lo = 1, .hi = 65536, .no_default = true,
         .help = "Of train and distill: images of one pass; smaller takes less memory. Without it, as these choose it."},
        {.name = "images", .type = FD_OPT_COUNT, .to = &p.images, .value = "N", .lo = 1, .hi = 1e7,
         .help = "Images of one repetition of generate."},
        {.name = "precision", .type = FD_OPT_ENUM, .to = &p.precision, .value = "NAME", .words = fd_precision_names,
         .help = "Number type of the computation."},
        FD_DEVICE_ROWS(p.device),
        {.name = "reps", .type = FD_OPT_INT, .to = &p.reps, .value = "N", .lo = 1, .hi = MOST_REPS,
         .help = "Repetitions, after one that is not counted. The median is what to compare."},
        {.name = "paced", .type = FD_OPT_FLAG, .to = &p.paced,
         .help = "Wait for a line on standard input before each repetition and answer with its milliseconds, so that "
                 "another program can take turns; ends with one line of JSON."},
        {.name = "ops", .type = FD_OPT_FLAG, .to = &p.ops, .group = "Output",
         .help = "Time of every operation, its rate, and its share of what the machine was measured to do at most."},
        {.name = "shapes", .type = FD_OPT_INT, .to = &p.shapes, .value = "N", .lo = 0, .hi = MOST_ROWS,
         .help = "With --ops: also the N slowest operations by shape."},
        {.name = "json", .type = FD_OPT_FLAG, .to = &p.json, .help = "JSON instead of text."},
        {.name = "save", .type = FD_OPT_TEXT, .to = &p.save, .value = "FILE",
         .help = "Only write the network, with its random weights, as a student (to time other programs with)."},
    };
    fd_args a = {
        .command = "bench", .option = o, .n = (int)FD_COUNT(o),
        .about = "Times a network on this machine. Other work on the machine changes the numbers: compare medians, and "
                 "programs in turns.",
        .examples = "  fdistill bench --batch 8 --ops\n"
                    "  fdistill bench --config demo --case train --batch 64 --ops --shapes 20\n"
                    "  fdistill bench --network student.safetensors --case generate --images 1000 --precision bf16\n"};
    FD_TRY(fd_args_parse(ctx, &a, argc, argv));
    if (a.helped) return FD_OK;
    bench *b = fd_alloc(ctx, sizeof *b);
    if (!b) return FD_E_NOMEM;
    b->o = &p;
    fd_status s = run(ctx, b);
    fd_bench_free(b->work);
    fd_net_free(b->net);
    fd_free(b->ms);
    fd_free(b);
    return s;
}
