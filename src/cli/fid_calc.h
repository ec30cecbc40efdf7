/* fid_calc.h — what 'fid calc' computes, for that command and for runs that measure their snapshots. */
#ifndef FD_CLI_FID_CALC_H
#define FD_CLI_FID_CALC_H

#include "cli/fid_report.h"

typedef struct fd_fid_calc_options {
    const char *ref_path, *data_path, *net_path, *metrics;
    int resize;                   /* an fd_resize_rule */
    int blocks;                   /* 0: only checks that network, reference and options go together */
    bool json;                    /* for the command's own use */
    bool record;                  /* append to metric-*.jsonl */
    fd_fid_input input;
    fd_score_spec spec;
} fd_fid_calc_options;

fd_fid_calc_options fd_fid_calc_defaults(void);
/* Measures, the ranks together (comm/comm.h): rank 0 gets the report. It points into *o. Prints nothing. */
fd_status fd_fid_calc_run(fd_ctx *ctx, fd_fid_calc_options *o, fd_fid_report *report);

#endif
