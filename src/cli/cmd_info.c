/* fdistill info — what a file or folder is: network, set, reference statistics, run; and the run list of a network.
 * */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/sampling.h"
#include "eval/reference.h"
#include "io/dataset.h"
#include "io/json.h"
#include "io/npy.h"
#include "io/runfolder.h"
#include "io/safetensors.h"
#include "train/edm_step.h"

static bool ends_in(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);
    return a >= b && !strcmp(text + a - b, end);
}

/* ---- networks -------------------------------------------------------------------------------------------------- */

static void line(const char *name, const char *value) {
    if (*value) printf("%-12s %s\n", name, value);
}

static fd_status show_network(fd_ctx *ctx, const char *path, const fd_net *net, bool tensors) {
    const fd_net_config *c = &net->config;
    const fd_net_meta *m = &net->meta;
    fd_arena a = {0};
    char digest[65];
    const char *config;
    fd_status s = fd_net_digest(ctx, net, digest);
    if (s == FD_OK) s = fd_net_config_format(ctx, &a, c, &config);
    if (s != FD_OK) {
        fd_arena_free(&a);
        return s;
    }
    printf("%-12s %s\n", "file", path);
    line("kind", m->kind);
    line("title", m->title);
    printf("%-12s %s\n", "family", fd_family_name(c->family));
    if (c->resolution)
        printf("%-12s %d x %d, %d channel%s\n", "images", c->resolution, c->resolution, c->image_channels,
               c->image_channels == 1 ? "" : "s");
    if (fd_is_unet(c->family)) {
        printf("%-12s %s", "classes", c->label_dim ? "" : "none\n");
        if (c->label_dim) printf("%d\n", c->label_dim);
    }
    printf("%-12s %lld in %d tensors\n", "parameters", (long long)net->params.count_trained, net->params.n);
    if (m->sigma_init > 0) printf("%-12s one step from sigma %g\n", "student", m->sigma_init);
    if (m->sigma_max > 0) printf("%-12s sigma %g to %g, rho %g\n", "noise", m->sigma_min, m->sigma_max, m->rho);
    if (m->images > 0) printf("%-12s %lld images\n", "trained on", (long long)m->images);
    if (m->ema_kind[0]) printf("%-12s %s %g\n", "average", m->ema_kind, m->ema);
    line("data", m->data);
    line("crop", m->crop);
    line("parent", m->parent);
    line("date", m->date);
    line("licence", m->licence);
    printf("%-12s %s\n%-12s %s\n", "digest", digest, "config", config);
    for (int i = 0; tensors && i < net->params.n; i++) {
        const fd_param *p = &net->params.list[i];
        printf("  %-48s [", p->name);
        for (int k = 0; k < p->rank; k++) printf("%s%lld", k ? ", " : "", (long long)p->dim[k]);
        printf("]%s\n", p->buffer ? " buffer" : "");
    }
    fd_arena_free(&a);
    return FD_OK;
}

/* A safetensors file of somebody else's: its tensors, as they are. */
static fd_status show_foreign(fd_ctx *ctx, const char *path) {
    fd_safetensors f;
    FD_TRY(fd_safetensors_open(ctx, path, &f));
    printf("%-12s %s\n%-12s not a network of fdistill: its metadata has no fdistill.config\n%-12s %d\n", "file",
           path, "kind", "tensors", f.n);
    for (int i = 0; i < f.nmeta; i++) printf("%-12s %s = %.200s\n", "metadata", f.meta[i].key, f.meta[i].value);
    for (int i = 0; i < f.n; i++) {
        printf("  %-48s %s [", f.tensor[i].name, fd_st_dtype_name(f.tensor[i].dtype));
        for (int k = 0; k < f.tensor[i].rank; k++) printf("%s%lld", k ? ", " : "", (long long)f.tensor[i].dim[k]);
        printf("]\n");
    }
    fd_safetensors_close(&f);
    return FD_OK;
}

static bool is_ours(fd_ctx *ctx, const char *path) {
    fd_safetensors f;
    fd_ctx probe = {.quiet = true};
    if (fd_safetensors_open(&probe, path, &f) != FD_OK)
        return true;      /* the real attempt will say what is wrong */
    bool ours = fd_safetensors_meta(&f, "fdistill.config") != NULL;
    fd_safetensors_close(&f);
    return ours;
}

/* ---- plans ----------------------------------------------------------------------------------------------------- */

static void show_plan(const fd_exec *e, int batch, const char *what) {
    printf("%s, batch %d\n", what, batch);
    fd_exec_dump(e, stdout);
}

static fd_status plan_network(fd_ctx *ctx, fd_net *net, int batch, int precision, bool train) {
    fd_dtype dt = precision ? FD_BF16 : FD_F32;
    if (!fd_is_unet(net->config.family)) return FD_FAIL(ctx, FD_E_ARG, "--plan: only U-Nets can be planned here");
    if (train) {
        fd_edm_step step = {0};
        fd_edm_step_spec spec = {.n = batch, .dtype = dt};
        fd_status s = fd_edm_step_open(ctx, net, &spec, &step);
        if (s == FD_OK) show_plan(step.view.e, batch, "training pass");
        fd_edm_step_close(&step);
        return s;
    }
    fd_denoiser *d = NULL;
    fd_run_options o = {.dtype = dt};
    FD_TRY(fd_denoiser_new(ctx, net, batch, &o, &d));
    show_plan(fd_denoiser_exec(d), batch, "one denoising");
    fd_denoiser_free(d);
    return FD_OK;
}

/* An npz without mu and sigma: what is in it. */
static bool show_arrays(const char *path) {
    fd_ctx probe = {.quiet = true};
    fd_zip *z;
    bool dump = false;
    if (fd_zip_open(&probe, path, &z) != FD_OK) return false;      /* the real attempt will say what is wrong */
    fd_arena a = {0};
    fd_npy images;
    if (!fd_npz_has(z, "mu") && fd_npz_has(z, "arr_0") && fd_npz_read(&probe, z, "arr_0", &a, &images) == FD_OK) {
        dump = true;
        printf("%-12s %s\n%-12s sample dump\n%-12s %s [", "file", path, "kind", "images",
               fd_npy_dtype_name(images.dtype));
        for (int k = 0; k < images.rank; k++) printf("%s%lld", k ? ", " : "", (long long)images.dim[k]);
        printf("]\n%-12s %s\n", "classes", fd_npz_has(z, "arr_1") ? "arr_1" : "none");
    }
    fd_arena_free(&a);
    fd_zip_close(z);
    return dump;
}

/* ---- everything else ------------------------------------------------------------------------------------------- */

static fd_status show_reference(fd_ctx *ctx, const char *path) {
    fd_reference r;
    FD_TRY(fd_reference_load(ctx, path, &r));
    double trace = 0;
    for (int i = 0; i < r.d; i++) trace += r.sigma[(size_t)i * (size_t)r.d + (size_t)i];
    printf("%-12s %s\n%-12s reference statistics\n%-12s %d features, total variance %g\n", "file", path, "kind",
           "size", r.d, trace);
    if (r.from.known) {
        printf("%-12s %lld\n", "images", (long long)r.from.n);
        line("data", r.from.data);
        line("data digest", r.from.data_digest);
        line("features", r.from.features);
        line("net digest", r.from.features_digest);
        line("resize", r.from.resize);
        line("uint8", r.from.uint8_rule);
        line("codec", r.from.codec);
        line("crop", r.from.crop);
        line("made by", r.from.tool);
    } else printf("%-12s unknown: the file does not say\n", "made from");
    fd_reference_free(&r);
    return FD_OK;
}

static fd_status show_run(fd_ctx *ctx, const char *path) {
    char name[4200];
    snprintf(name, sizeof name, "%s/training_options.json", path);
    json_t *o;
    FD_TRY(fd_json_load(ctx, name, &o));
    fd_arena a = {0};
    char *text = fd_json_dump(ctx, &a, o, 2);
    json_decref(o);
    if (text) {
        printf("%-12s %s\n%-12s training run\n", "folder", path, "kind");
        long long state = (long long)fd_newest_numbered(path, "training-state-", ".safetensors");
        long long snap = (long long)fd_newest_numbered(path, "network-snapshot-", ".safetensors");
        if (snap >= 0) printf("%-12s network-snapshot-%06lld.safetensors\n", "snapshot", snap);
        if (state >= 0) printf("%-12s at %lld kimg\n", "state", state);
        printf("options\n%s", text);
    }
    fd_arena_free(&a);
    return text ? FD_OK : FD_E_NOMEM;
}

static fd_status show_set(fd_ctx *ctx, const char *path) {
    fd_dataset_options o = {.use_labels = true, .folder_labels = true, .allow_any_size = true, .cache = FD_CACHE_OFF};
    fd_dataset d = {0};
    fd_status s = fd_dataset_open(ctx, path, &o, &d);
    if (s == FD_E_ARG) {
        fd_clear(ctx);
        o.use_labels = o.folder_labels = false;
        s = fd_dataset_open(ctx, path, &o, &d);
    }
    FD_TRY(s);
    printf("%-12s %s\n%-12s image set\n%-12s %lld of %d x %d, %s\n%-12s ", "path", path, "kind", "images",
           (long long)d.n, d.w, d.h, d.c == 1 ? "gray" : "RGB", "labels");
    if (d.label_dim) printf("%s, dimension %d\n", d.class_labels ? "classes" : "vectors", d.label_dim);
    else printf("none\n");
    fd_dataset_close(&d);
    return FD_OK;
}

fd_status fd_cmd_info(fd_ctx *ctx, int argc, char **argv) {
    bool plan = false, train = false, tensors = false;
    int batch = 1, precision = 0;
    fd_option o[] = {
        {.name = "tensors", .type = FD_OPT_FLAG, .to = &tensors, .help = "Networks: list the tensors."},
        {.name = "plan", .type = FD_OPT_FLAG, .to = &plan,
         .help = "Networks: print the run list of one denoising: operation, scope, shapes, memory, work."},
        {.name = "train", .type = FD_OPT_FLAG, .to = &train, .help = "With --plan: of a training pass, backward "
                                                                     "included."},
        {.name = "batch", .type = FD_OPT_INT, .to = &batch, .value = "N", .lo = 1, .hi = 65536,
         .help = "Images of the plan."},
        {.name = "precision", .type = FD_OPT_ENUM, .to = &precision, .value = "NAME", .words = fd_precision_names,
         .help = "Number type of the plan."},
    };
    fd_args a = {.command = "info", .operands = "PATH", .least = 1, .most = 1, .option = o, .n = (int)FD_COUNT(o),
                 .about = "Says what a file or folder is: a network (.safetensors), reference statistics (.npz), a "
                          "training run, or an image set (zip or folder).",
                 .examples = "  fdistill info student.safetensors\n"
                             "  fdistill info teacher.safetensors --plan --train --batch 8\n"
                             "  fdistill info runs/00003-sprites-cond\n"};
    FD_TRY(fd_args_parse(ctx, &a, argc, argv));
    if (a.helped) return FD_OK;
    const char *path = a.operand[0];
    bool foreign = ends_in(path, ".pkl") || ends_in(path, ".pt") || ends_in(path, ".pth");
    if (foreign || ends_in(path, ".safetensors")) {
        if (!foreign && !plan && !is_ours(ctx, path)) return show_foreign(ctx, path);
        fd_net *net = NULL;
        FD_TRY(fd_net_load(ctx, path, &net));
        fd_status s = plan ? plan_network(ctx, net, batch, precision, train) : show_network(ctx, path, net, tensors);
        fd_net_free(net);
        return s;
    }
    if (plan) return FD_FAIL(ctx, FD_E_ARG, "--plan: %s is no network file (.safetensors)", path);
    if (ends_in(path, ".npz")) return show_arrays(path) ? FD_OK : show_reference(ctx, path);
    char options[4200];
    snprintf(options, sizeof options, "%s/training_options.json", path);
    if (fd_is_folder(path) && fd_file_exists(options)) return show_run(ctx, path);
    return show_set(ctx, path);
}
