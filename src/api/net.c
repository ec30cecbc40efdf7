/* Networks of the public API. */
#include "api/api.h"
#include "train/sampler.h"

static fd_status load(fd_ctx *c, const char *path, fdistill_net *n) {
    FD_TRY(fd_net_load(c, path, &n->net));
    fd_family f = n->net->config.family;
    if (!fd_is_unet(f))
        return FD_FAIL(c, FD_E_ARG, "%s: a U-Net is needed to make images, but this is a %s network", path,
                       fd_family_name(f));
    return fd_net_digest(c, n->net, n->digest);
}

fdistill_status fdistill_net_load(fdistill_context *ctx, const char *path, fdistill_net **out) {
    fd_ctx *c = fd_api_enter(ctx);
    *out = NULL;
    if (!path || !*path) return (fdistill_status)FD_FAIL(c, FD_E_ARG, "fdistill_net_load: no file is named");
    fdistill_net *n = fd_alloc(c, sizeof *n);
    if (!n) return FDISTILL_E_NOMEM;
    fd_status s = load(c, path, n);
    if (s == FD_OK) *out = n;
    else fdistill_net_free(n);
    return (fdistill_status)s;
}

void fdistill_net_free(fdistill_net *net) {
    if (!net) return;
    fd_denoiser_free(net->denoiser);
    fd_net_free(net->net);
    fd_free(net);
}

fdistill_status fdistill_net_describe(fdistill_context *ctx, const fdistill_net *net, fdistill_net_info *info,
                                      size_t size) {
    fd_ctx *c = fd_api_enter(ctx);
    if (size <= offsetof(fdistill_net_info, digest) || size > 65536)
        return (fdistill_status)FD_FAIL(c, FD_E_ARG, "fdistill_net_describe: %zu is no size of the structure; give "
                                        "sizeof *info", size);
    const fd_net *n = net->net;
    fd_sampler s = fd_sampler_for(n, 0);
    fdistill_net_info all = {
        .size = size, .resolution = n->config.resolution, .channels = n->config.image_channels,
        .classes = n->config.label_dim, .steps = s.steps, .one_step = fd_is_student(n), .sigma_min = s.sigma_min,
        .sigma_max = s.sigma_max, .rho = s.rho, .parameters = n->params.count_trained,
        .family = fd_family_name(n->config.family), .kind = n->meta.kind, .digest = net->digest};
    memset(info, 0, size);      /* a newer header's members, unknown here, stay zero */
    memcpy(info, &all, size < sizeof all ? size : sizeof all);
    return FDISTILL_OK;
}
