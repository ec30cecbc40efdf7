#include "cli/run_metric.h"

#include "cli/fid_calc.h"

static fd_fid_calc_options calc_options(const fd_run_metric_options *m, const char *network, int blocks) {
    fd_fid_calc_options o = fd_fid_calc_defaults();
    o.ref_path = m->ref;
    o.net_path = m->net;
    o.metrics = m->metrics;
    o.blocks = blocks;
    o.input.network = network;
    o.input.num = m->num;
    o.input.sampling.device = m->device;
    return o;
}

static fd_status measure(fd_ctx *ctx, void *user, const char *network, char *line, size_t size) {
    fd_run_metric_options *m = user;
    fd_fid_calc_options o = calc_options(m, network, 1);
    fd_fid_report report;
    const bool quiet = ctx->quiet;
    ctx->quiet = true;            /* the run has a bar already */
    fd_status s = fd_fid_calc_run(ctx, &o, &report);
    ctx->quiet = quiet;
    if (s == FD_OK) fd_fid_summary(&report, line, size);
    return s;
}

fd_status fd_run_metric_attach(fd_ctx *ctx, fd_run_metric_options *m, fd_device_choice device, fd_job_options *j) {
    if (!m->ref && !m->net) return FD_OK;
    if (!m->net)
        return FD_FAIL(ctx, FD_E_ARG, "--metric-ref: give the feature network of these statistics to --metric-net too");
    m->device = device;
    fd_fid_calc_options o = calc_options(m, "of the run", 0);
    fd_fid_report report;
    FD_TRY(fd_fid_calc_run(ctx, &o, &report));
    j->measure = measure;
    j->measure_user = m;
    return FD_OK;
}
