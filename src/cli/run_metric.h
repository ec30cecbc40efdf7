/* run_metric.h — options of train and distill: measure every snapshot against a reference, as 'fid calc' does. */
#ifndef FD_CLI_RUN_METRIC_H
#define FD_CLI_RUN_METRIC_H

#include "cli/args.h"
#include "cli/fid_input.h"
#include "eval/scores.h"
#include "train/job.h"

typedef struct fd_run_metric_options {
    const char *ref, *net, *metrics;
    int64_t num;
    fd_device_choice device;      /* of the run */
} fd_run_metric_options;

#define FD_RUN_METRIC_DEFAULTS {.metrics = "fd", .num = 10000}
#define FD_RUN_METRIC_ROWS(m)                                                                                        \
    {.name = "metric-ref", .type = FD_OPT_TEXT, .to = &(m).ref, .value = "FILE.npz", .group = "Measuring",            \
     .help = "Measure every snapshot against these reference statistics: a line in log.txt and in metric-*.jsonl."}, \
    {.name = "metric-net", .type = FD_OPT_TEXT, .to = &(m).net, .value = "FILE", .help = FD_FID_NET_HELP},            \
    {.name = "metrics", .type = FD_OPT_TEXT, .to = &(m).metrics, .value = "LIST",                                    \
     .help = "Any of " FD_SCORE_WORDS ", with commas; see 'fdistill fid calc'."},                                    \
    {.name = "metric-num", .type = FD_OPT_COUNT, .to = &(m).num, .value = "N", .lo = 2, .hi = 1e8,                    \
     .help = "Images of each measurement."}

/* Checks what was given and hangs it into the job's options; nothing when neither --metric-ref nor --metric-net is
 * there. m must outlive the run. */
fd_status fd_run_metric_attach(fd_ctx *ctx, fd_run_metric_options *m, fd_device_choice device, fd_job_options *j);

#endif
