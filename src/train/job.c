#include "train/job.h"

#include <stdio.h>

#include "comm/comm.h"
#include "io/json.h"

fd_job_options fd_job_defaults(void) {
    return (fd_job_options){.duration = 200e6, .batch = 512, .tick = 50000, .snap = 50, .dump = 500, .grid = 8};
}

int fd_pass_size(int batch, int most) {
    int n = batch < most ? batch : most;
    while (batch % n) n--;
    return n;
}

fd_status fd_job_share(fd_ctx *ctx, const fd_job_options *o, int most, fd_share *out) {
    const int ranks = fd_comm_size(ctx), pass = o->batch_gpu ? o->batch_gpu : fd_pass_size(o->batch, most);
    if (pass > o->batch || o->batch % pass)
        return FD_FAIL(ctx, FD_E_ARG, "--batch-gpu %d does not divide --batch %d", pass, o->batch);
    if (o->batch % ranks)
        return FD_FAIL(ctx, FD_E_ARG, "--batch %d cannot be shared evenly by %d ranks: choose a multiple", o->batch, ranks);
    const int mine = o->batch / ranks;
    *out = (fd_share){.mine = mine, .first = (int64_t)fd_comm_rank(ctx) * mine, .pass = fd_pass_size(mine, pass),
                      .pass_alone = pass};
    return FD_OK;
}

bool fd_job_smaller_pass(fd_ctx *ctx, const fd_job_options *o, fd_status s, fd_share *share) {
    if (s != FD_E_NOMEM || o->batch_gpu || fd_comm_size(ctx) > 1 || share->pass == 1) return false;
    share->pass = share->pass_alone = fd_pass_size(share->mine, share->pass - 1);
    fd_clear(ctx);
    return true;
}

static const char *shape_name(fd_lr_shape s) { return s == FD_LR_LINEAR ? "linear" : s == FD_LR_COSINE ? "cosine" : "none"; }

json_t *fd_lr_json(const fd_lr *lr) {
    json_t *o = json_object();
    json_object_set_new(o, "lr", fd_json_real(lr->lr));
    json_object_set_new(o, "ramp", fd_json_real(lr->ramp));
    json_object_set_new(o, "decay", json_string(shape_name(lr->shape)));
    if (lr->shape != FD_LR_CONSTANT) json_object_set_new(o, "decay_start", fd_json_real(lr->start));
    return o;
}

json_t *fd_job_json(const fd_job_options *o, const fd_dataset *data, const char *digest, int pass) {
    json_t *root = json_object(), *set = json_object(), *run = json_object();
    json_object_set_new(set, "path", json_string(o->data));
    json_object_set_new(set, "digest", json_string(digest));
    json_object_set_new(set, "images", json_integer(data->n));
    json_object_set_new(set, "resolution", json_integer(data->w));
    json_object_set_new(set, "channels", json_integer(data->c));
    json_object_set_new(set, "label_dim", json_integer(data->label_dim));
    json_object_set_new(set, "xflip", json_boolean(o->xflip));
    json_object_set_new(root, "dataset", set);
    json_object_set_new(root, "batch_size", json_integer(o->batch));
    json_object_set_new(root, "batch_gpu", json_integer(pass));
    json_object_set_new(root, "seed", json_integer((json_int_t)o->seed));
    json_object_set_new(root, "precision", json_string(o->dtype == FD_BF16 ? "bf16" : "fp32"));
    json_object_set_new(run, "outdir", json_string(o->outdir));
    json_object_set_new(run, "duration", fd_json_real(o->duration));
    json_object_set_new(run, "tick", json_integer(o->tick));
    json_object_set_new(run, "snap", json_integer(o->snap));
    json_object_set_new(run, "dump", json_integer(o->dump));
    json_object_set_new(run, "grid", json_integer(o->grid));
    json_object_set_new(root, "run", run);
    return root;
}

fd_status fd_job_dataset(fd_ctx *ctx, const fd_job_options *o, fd_dataset *out) {
    fd_dataset_options d = {.use_labels = o->cond, .xflip = o->xflip, .max_size = o->max_size, .seed = o->seed};
    FD_TRY(fd_dataset_open(ctx, o->data, &d, out));
    fd_status s = FD_OK;
    if (out->h != out->w)
        s = FD_FAIL(ctx, FD_E_SHAPE, "%s: images are %dx%d; networks want square ones", o->data, out->w, out->h);
    if (s != FD_OK) fd_dataset_close(out);
    return s;
}
