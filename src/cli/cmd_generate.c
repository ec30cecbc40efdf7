/* fdistill generate — images from seeds: one step for students, Heun or Euler for teachers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/image_sink.h"
#include "cli/sampling.h"
#include "cli/seeds.h"
#include "comm/comm.h"
#include "io/image.h"
#include "models/net_digest.h"

#define GRID_MAX 4096

static const char *const formats[] = {"png", "zip", "npz", NULL};

typedef struct {
    const char *network, *outdir, *seeds_text, *grid;
    bool subdirs;
    int format, columns, scale;
    bool format_given;
    fd_sampling sampling;
    /* made from them */
    char path[4096];              /* folder or file the images go to */
    uint64_t *seeds;
    int64_t n;
    fd_sampler sampler;
} generate_options;

static bool ends_in(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);
    return a > b && !strcmp(text + a - b, end);
}

/* --outdir may name the zip or npz itself. */
static fd_status choose_path(fd_ctx *ctx, generate_options *o, const fd_net_config *c) {
    if (!o->outdir) return FD_OK;
    bool zip = ends_in(o->outdir, ".zip"), npz = ends_in(o->outdir, ".npz");
    if (!o->format_given) o->format = zip ? FD_SINK_ZIP : npz ? FD_SINK_NPZ : FD_SINK_PNG;
    int n = 0;
    if (o->format == FD_SINK_PNG || (zip && o->format == FD_SINK_ZIP) || (npz && o->format == FD_SINK_NPZ))
        n = snprintf(o->path, sizeof o->path, "%s", o->outdir);
    else {
        FD_TRY(fd_make_folder(ctx, o->outdir));
        if (o->format == FD_SINK_ZIP) n = snprintf(o->path, sizeof o->path, "%s/samples.zip", o->outdir);
        else n = snprintf(o->path, sizeof o->path, "%s/samples_%lldx%dx%dx%d.npz", o->outdir, (long long)o->n,
                          c->resolution, c->resolution, c->image_channels);
    }
    if (n >= (int)sizeof o->path - 100) return FD_FAIL(ctx, FD_E_ARG, "--outdir: the path is too long");
    return FD_OK;
}

static int compare_seeds(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* A seed is one file, so it may come only once. */
static fd_status refuse_twins(fd_ctx *ctx, const generate_options *o) {
    uint64_t *sorted = fd_alloc(ctx, (size_t)o->n * sizeof *sorted);
    if (!sorted) return FD_E_NOMEM;
    memcpy(sorted, o->seeds, (size_t)o->n * sizeof *sorted);
    qsort(sorted, (size_t)o->n, sizeof *sorted, compare_seeds);
    fd_status s = FD_OK;
    for (int64_t i = 1; i < o->n && s == FD_OK; i++)
        if (sorted[i] == sorted[i - 1])
            s = FD_FAIL(ctx, FD_E_ARG, "--seeds: %llu comes twice, but a seed is one file",
                        (unsigned long long)sorted[i]);
    fd_free(sorted);
    return s;
}

typedef struct {
    fd_progress bar;
    int64_t before;
} ticker;

static bool tick(void *user, int64_t done) {
    ticker *t = user;
    fd_progress_update(&t->bar, t->before + done, NULL);
    return !fd_interrupted();
}

typedef struct {
    fd_arena arena;
    uint8_t *images;              /* of a chunk, or all of them for a grid */
    int *want, *used;
    int64_t chunk;
    fd_denoiser *denoiser;
    fd_sink *sink;
    fd_digest digest;             /* of the network, for the pictures' text */
} work;

/* Chunks are dealt to the ranks in turn; rank 0 gets them back in the order of the seeds and keeps them. */
static fd_status run(fd_ctx *ctx, const generate_options *o, work *w, size_t bytes, ticker *t) {
    const int ranks = fd_comm_size(ctx);
    for (int64_t at = 0, turn = 0; at < o->n; at += w->chunk, turn++) {
        int64_t n = o->n - at < w->chunk ? o->n - at : w->chunk;
        int from = (int)(turn % ranks);
        uint8_t *images = w->images + (o->grid ? (size_t)at * bytes : 0);
        for (int64_t i = 0; i < n; i++) w->want[i] = o->sampling.cls;
        t->before = at;
        if (from == fd_comm_rank(ctx))
            FD_TRY(fd_sample_seeds(ctx, &o->sampler, w->denoiser, o->seeds + at, w->want, n, images, w->used, tick, t));
        FD_TRY(fd_comm_bring(ctx, images, (size_t)n * bytes, from));
        FD_TRY(fd_comm_bring(ctx, w->used, (size_t)n * sizeof *w->used, from));
        if (w->sink) FD_TRY(fd_digest_wait(ctx, &w->digest));
        if (w->sink) FD_TRY(fd_sink_add(ctx, w->sink, o->seeds + at, w->used, n, images));
    }
    return FD_OK;
}

static fd_status save_grid(fd_ctx *ctx, const generate_options *o, const fd_net_config *c, work *w, const char *words) {
    fd_image grid;
    FD_TRY(fd_digest_wait(ctx, &w->digest));
    FD_TRY(fd_image_grid(ctx, w->images, (int)o->n, c->image_channels, c->resolution, c->resolution, o->columns, 1,
                         o->scale, &grid));
    fd_png_text text[] = {{"network", w->digest.hex}, {"sampler", words}, {"seeds", o->seeds_text}};
    fd_status s = fd_png_save(ctx, o->grid, &grid, text, (int)FD_COUNT(text));
    fd_image_free(&grid);
    return s;
}

static fd_status prepare(fd_ctx *ctx, generate_options *o, fd_net *net, const char *words, work *w) {
    const fd_net_config *c = &net->config;
    size_t bytes = (size_t)c->image_channels * (size_t)c->resolution * (size_t)c->resolution;
    const int64_t share = (o->n + fd_comm_size(ctx) - 1) / fd_comm_size(ctx);
    int batch = share < o->sampling.batch ? (int)share : o->sampling.batch;
    w->chunk = share < 64 ? share : batch >= 64 ? batch : batch * (64 / batch);
    FD_NEW(ctx, &w->arena, w->images, fd_mul_size((size_t)(o->grid ? o->n : w->chunk), bytes));
    FD_NEW(ctx, &w->arena, w->want, w->chunk);
    FD_NEW(ctx, &w->arena, w->used, w->chunk);
    if (o->outdir && fd_comm_first(ctx)) {
        fd_sink_spec spec = {.format = (fd_sink_format)o->format, .path = o->path, .subdirs = o->subdirs,
                             .c = c->image_channels, .h = c->resolution, .w = c->resolution, .total = o->n,
                             .classes = c->label_dim > 0, .network = w->digest.hex, .sampler = words};
        FD_TRY(fd_sink_open(ctx, &spec, &w->sink));
    }
    fd_run_options r = {.dtype = o->sampling.precision ? FD_BF16 : FD_F32};
    FD_TRY(fd_device_open(ctx, o->sampling.device, &r.backend));
    return fd_denoiser_new(ctx, net, batch, &r, &w->denoiser);
}

static fd_status generate(fd_ctx *ctx, generate_options *o, fd_net *net, work *w) {
    const fd_net_config *c = &net->config;
    char words[160];
    FD_TRY(fd_sampling_resolve(ctx, &o->sampling, net, &o->sampler));
    FD_TRY(choose_path(ctx, o, c));
    if (o->outdir && o->format == FD_SINK_PNG) FD_TRY(refuse_twins(ctx, o));
    fd_digest_begin(ctx, net, &w->digest);
    fd_sampler_words(&o->sampler, words);
    FD_TRY(prepare(ctx, o, net, words, w));

    ticker t;
    double start = fd_now();
    fd_progress_start(ctx, &t.bar, "generating", "images", o->n);
    FD_TRY(run(ctx, o, w, (size_t)c->image_channels * (size_t)c->resolution * (size_t)c->resolution, &t));
    fd_progress_end(&t.bar);
    double seconds = fd_now() - start;
    if (w->sink) {
        fd_sink *sink = w->sink;
        w->sink = NULL;
        FD_TRY(fd_sink_commit(ctx, sink));
    }
    if (o->grid && fd_comm_first(ctx)) FD_TRY(save_grid(ctx, o, c, w, words));
    printf("%lld image%s, %s, %.1f images/s: %s%s%s\n", (long long)o->n, o->n == 1 ? "" : "s", words,
           seconds > 0 ? (double)o->n / seconds : 0, o->outdir ? o->path : "", o->outdir && o->grid ? ", " : "",
           o->grid ? o->grid : "");
    return FD_OK;
}

fd_status fd_cmd_generate(fd_ctx *ctx, int argc, char **argv) {
    generate_options p = {.seeds_text = "0-63", .scale = 1, .sampling = FD_SAMPLING_DEFAULTS};
    fd_option o[] = {
        {.name = "network", .type = FD_OPT_TEXT, .to = &p.network, .value = "FILE", .required = true,
         .help = "Student or teacher: a .safetensors file of fdistill, or one that import reads."},
        {.name = "outdir", .type = FD_OPT_TEXT, .to = &p.outdir, .value = "PATH",
         .help = "Folder of the images, or the .zip or .npz to write. Files of the same name are replaced."},
        {.name = "seeds", .type = FD_OPT_TEXT, .to = &p.seeds_text, .value = "LIST",
         .help = "Seeds such as 0-63,70. A seed is one image, the same for any batch size and thread count."},
        {.name = "format", .type = FD_OPT_ENUM, .to = &p.format, .value = "NAME", .words = formats,
         .given = &p.format_given,
         .help = "PNG files; an EDM zip with dataset.json; or npz (arr_0, arr_1) as ADM's evaluator reads it."},
        {.name = "subdirs", .type = FD_OPT_FLAG, .to = &p.subdirs, .help = "One folder per thousand seeds."},
        {.name = "grid", .type = FD_OPT_TEXT, .to = &p.grid, .value = "FILE",
         .help = "Also one PNG with all images side by side."},
        {.name = "grid-columns", .type = FD_OPT_INT, .to = &p.columns, .value = "N", .lo = 1, .hi = 1024,
         .help = "Images per row of the grid; as square as possible if not given.", .no_default = true},
        {.name = "grid-scale", .type = FD_OPT_INT, .to = &p.scale, .value = "N", .lo = 1, .hi = 32,
         .help = "Enlargement of the grid's images."},
        FD_SAMPLING_ROWS(p.sampling),
    };
    fd_args a = {
        .command = "generate", .option = o, .n = (int)FD_COUNT(o),
        .about = "Makes images. Students need one step; teachers are solved by Heun's or Euler's method. Every PNG "
                 "carries its seed, class, sampler and the network's digest as text.",
        .examples = "  fdistill generate --network student.safetensors --outdir out --seeds 0-63 --class 3\n"
                    "  fdistill generate --network teacher.safetensors --steps 18 --outdir out --grid grid.png\n"
                    "  fdistill generate --network student.safetensors --outdir samples.zip --seeds 0-49999\n"};
    FD_TRY(fd_args_parse(ctx, &a, argc, argv));
    if (a.helped) return FD_OK;
    if (!p.outdir && !p.grid)
        return FD_FAIL(ctx, FD_E_ARG, "nothing would be kept: give --outdir PATH, --grid FILE or both");
    work w = {.chunk = 0};
    fd_net *net = NULL;
    fd_interrupt_install();
    fd_status s = fd_seeds_parse(ctx, &w.arena, "seeds", p.seeds_text, &p.seeds, &p.n);
    ctx->large_pages = p.n >= 256;
    if (s == FD_OK && p.grid && p.n > GRID_MAX)
        s = FD_FAIL(ctx, FD_E_ARG, "--grid: %lld images are too many for one picture; %d at most", (long long)p.n,
                    GRID_MAX);
    if (s == FD_OK) s = fd_load_generator(ctx, p.network, &net);
    if (s == FD_OK) s = generate(ctx, &p, net, &w);
    fd_sink_abandon(w.sink);
    fd_denoiser_free(w.denoiser);
    const fd_status digest = fd_digest_wait(ctx, &w.digest);      /* it reads the weights */
    if (s == FD_OK) s = digest;
    fd_net_free(net);
    fd_arena_free(&w.arena);
    return s;
}
