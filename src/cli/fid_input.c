#include "cli/fid_input.h"

#include <stdio.h>
#include <string.h>

#include "io/json.h"

const char *fd_base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

fd_status fd_fid_input_open(fd_ctx *ctx, fd_fid_input *p, int block) {
    if (!p->images == !p->network)
        return FD_FAIL(ctx, FD_E_ARG, "give either --images PATH or --network FILE");
    const fd_backend *backend;
    FD_TRY(fd_device_open(ctx, p->sampling.device, &backend));
    fd_image_source_close(&p->source);
    if (p->images) {
        FD_TRY(fd_image_source_set(ctx, p->images, p->num, p->seed, &p->source));
        p->source.backend = backend;
        return FD_OK;
    }
    if (!p->net) FD_TRY(fd_load_generator(ctx, p->network, &p->net));
    fd_image_source_network_spec spec = {.num = p->num ? p->num : 50000, .cls = p->sampling.cls, .backend = backend,
                                         .dtype = p->sampling.precision ? FD_BF16 : FD_F32};
    spec.first_seed = p->seed + (uint64_t)block * (uint64_t)spec.num;
    FD_TRY(fd_sampling_resolve(ctx, &p->sampling, p->net, &spec.sampler));
    spec.batch = spec.num < p->sampling.batch ? (int)spec.num : p->sampling.batch;
    return fd_image_source_network(ctx, p->net, fd_base_name(p->network), &spec, &p->source);
}

void fd_fid_input_close(fd_fid_input *p) {
    fd_image_source_close(&p->source);
    fd_net_free(p->net);
    p->net = NULL;
}

fd_status fd_fid_print_json(fd_ctx *ctx, json_t *o) {
    fd_arena a = {0};
    char *text = o ? fd_json_dump(ctx, &a, o, 2) : NULL;
    json_decref(o);
    fd_status s = FD_OK;
    if (text) fputs(text, stdout);
    else s = FD_FAIL(ctx, FD_E_FORMAT, "a name in the result is not UTF-8 and cannot be written as JSON");
    fd_arena_free(&a);
    return s;
}
