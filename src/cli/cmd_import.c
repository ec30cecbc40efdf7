/* fdistill import — other people's weights: what is in a file, which network it is, as a file of ours or torch's. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/import_list.h"
#include "models/import.h"
#include "models/net_file.h"

static const char *const preconds[] = {"edm", "vp", "ve", "iddpm", NULL};

typedef struct {
    const char *out, *export_to, *key;
    bool list, json, raw, precond_given;
    int precond;
    double sigma_init;
} options;

static void line(const char *name, const char *value) {
    if (*value) printf("%-12s %s\n", name, value);
}

static fd_status describe(fd_ctx *ctx, const fd_import *in, int n, int64_t parameters) {
    fd_arena a = {0};
    const fd_net_config *c = &in->config;
    const char *json = fd_safetensors_meta(&in->view, "fdistill.config");
    line("file", in->file->path);
    line("format", in->ours ? "network file of fdistill" : in->file->format);
    line("tensors of", in->tree->path);
    if (in->class_name[0])
        printf("%-12s %s%s%s\n", "class", in->class_name, in->model_name[0] ? ", " : "", in->model_name);
    if (in->network && !in->ours) {
        line("family", fd_family_name(c->family));
        if (fd_is_unet(c->family)) line("precond", fd_precond_name(c->precond));
        printf("%-12s %d x %d, %d channel%s\n", "images", c->resolution, c->resolution, c->image_channels,
               c->image_channels == 1 ? "" : "s");
        if (c->label_dim) printf("%-12s %d\n", "classes", c->label_dim);
        else if (fd_is_unet(c->family)) line("classes", "none");
        line("data", in->meta.data);
        line("licence", in->meta.licence);
    }
    if (json) line("config", json);
    printf("%-12s %lld in %d tensors%s\n", in->network ? "parameters" : "numbers", (long long)parameters, n,
           in->network ? ": all there, of the right shapes, finite" : "");
    if (!in->network) line("note", "not a network that fdistill knows: tensors are copied as they are");
    for (int i = 0; i < in->notes; i++) line("note", in->note[i]);
    fd_arena_free(&a);
    return FD_OK;
}

/* The metadata of the file to write; a student's noise level is put into it. */
static fd_status choose_meta(fd_ctx *ctx, fd_import *in, const options *o, const fd_st_meta **meta, int *n) {
    static fd_st_meta own[FD_NET_META_MAX];
    *meta = in->view.meta;
    *n = in->view.nmeta;
    if (!(o->sigma_init > 0)) return FD_OK;
    if (!in->network || in->ours)
        return FD_FAIL(ctx, FD_E_ARG, "--sigma_init: only for networks that are imported");
    snprintf(in->meta.kind, sizeof in->meta.kind, "student");
    in->meta.sigma_init = o->sigma_init;
    *meta = own;
    return fd_net_metadata(ctx, &in->arena, &in->config, &in->meta, own, n);
}

static fd_status convert(fd_ctx *ctx, const options *o, fd_import *in) {
    fd_st_tensor *tensor;
    const fd_st_meta *meta;
    int n, nmeta;
    int64_t parameters;
    FD_TRY(choose_meta(ctx, in, o, &meta, &nmeta));
    FD_TRY(fd_import_tensors(ctx, in, &tensor, &n, &parameters));
    FD_TRY(describe(ctx, in, n, parameters));
    if (o->out) {
        FD_TRY(fd_safetensors_write(ctx, o->out, tensor, n, meta, nmeta));
        line("wrote", o->out);
    }
    if (o->export_to) {
        FD_TRY(fd_torch_save(ctx, o->export_to, tensor, n));
        line("wrote", o->export_to);
    }
    return FD_OK;
}

static fd_status run(fd_ctx *ctx, const char *path, const options *o) {
    if (o->list) {
        fd_checkpoint *c;
        FD_TRY(fd_checkpoint_open(ctx, path, &c));
        fd_status s = fd_import_list(ctx, c, o->json);
        fd_checkpoint_close(c);
        return s;
    }
    fd_import in;
    fd_import_options how = {.key = o->key, .raw = o->raw, .precond_given = o->precond_given,
                             .precond = (fd_precond_type)o->precond};
    FD_TRY(fd_import_open(ctx, path, &how, &in));
    fd_status s = convert(ctx, o, &in);
    fd_import_close(&in);
    return s;
}

fd_status fd_cmd_import(fd_ctx *ctx, int argc, char **argv) {
    options p = {0};
    fd_option o[] = {
        {.name = "out", .type = FD_OPT_TEXT, .to = &p.out, .value = "FILE.safetensors",
         .help = "Write the network as a file of fdistill. Without it, it is only checked and described."},
        {.name = "key", .type = FD_OPT_TEXT, .to = &p.key, .value = "NAME",
         .help = "Which tensors, if the file has several groups: a path as --list shows it, or a word of one. If not "
                 "given: ema where there is one, else the network."},
        {.name = "list", .type = FD_OPT_FLAG, .to = &p.list,
         .help = "Show what the file contains, without converting anything."},
        {.name = "json", .type = FD_OPT_FLAG, .to = &p.json,
         .help = "With --list: as JSON, with the sum and the CRC-32 of every tensor."},
        {.name = "export", .type = FD_OPT_TEXT, .to = &p.export_to, .value = "FILE.pt",
         .help = "Write a state dict for torch.load under EDM's names."},
        {.name = "raw", .type = FD_OPT_FLAG, .to = &p.raw,
         .help = "Copy the tensors as they are, whether they make a network or not."},
        {.name = "precond", .type = FD_OPT_ENUM, .to = &p.precond, .value = "NAME", .words = preconds,
         .given = &p.precond_given, .no_default = true,
         .help = "Preconditioning, where the file does not name it: EDM's, or that of score-SDE's VP and VE or iDDPM's "
                 "networks (EDM's baseline folder)."},
        {.name = "sigma_init", .type = FD_OPT_DOUBLE, .to = &p.sigma_init, .value = "X", .lo = 0, .hi = 1e6,
         .no_default = true,
         .help = "The network is a one-step student that starts from this noise level (FastGen: 80)."},
    };
    fd_args a = {.command = "import", .operands = "FILE", .least = 1, .most = 1, .option = o, .n = (int)FD_COUNT(o),
                 .about = "Reads weights that other programs wrote: EDM's network pickles (.pkl), torch state dicts "
                          "and checkpoints (.pt, .pth, new and old containers), FastGen's, and safetensors. Nothing in the "
                          "file is executed; a file that asks for it is refused. The configuration is found from the "
                          "tensors and every tensor is checked.\n"
                          "generate, distill and fid read such files directly too.",
                 .examples = "  fdistill import edm-cifar10-32x32-cond-vp.pkl --out teacher.safetensors\n"
                             "  fdistill import fastgen.pth --key net --sigma_init 80 --out student.safetensors\n"
                             "  fdistill import checkpoint.pt --list\n"
                             "  fdistill import student.safetensors --export student.pt\n"};
    FD_TRY(fd_args_parse(ctx, &a, argc, argv));
    if (a.helped) return FD_OK;
    if (p.json && !p.list) return FD_FAIL(ctx, FD_E_ARG, "--json: goes with --list");
    if (p.list && (p.out || p.export_to || p.key || p.raw || p.precond_given))
        return FD_FAIL(ctx, FD_E_ARG, "--list: shows the file only; leave the other options out");
    return run(ctx, a.operand[0], &p);
}
