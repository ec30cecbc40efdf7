/* fid_report.h — the result of 'fid calc' for people, as JSON, and as lines of metric-*.jsonl in a run folder. */
#ifndef FD_CLI_FID_REPORT_H
#define FD_CLI_FID_REPORT_H

#include "cli/fid_input.h"
#include "eval/scores.h"

enum { FD_FID_MAX_BLOCKS = 16, FD_FID_MAX_WARNINGS = 12 };

typedef struct fd_fid_report {
    const fd_fid_input *input;
    const fd_score_spec *spec;
    bool is_fid;                  /* fd_is_fid: the network is the one of the literature */
    fd_provenance from;           /* of the first block */
    int d;
    const char *ref_path;         /* "" without a reference */
    fd_provenance ref;
    int blocks;
    fd_scores block[FD_FID_MAX_BLOCKS];
    double seconds[FD_FID_MAX_BLOCKS];
    char warning[FD_FID_MAX_WARNINGS][320];
    int warnings;
} fd_fid_report;

/* Remembers a warning unless it is already there. */
void fd_fid_warn(fd_fid_report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void fd_fid_print(const fd_fid_report *r);
/* The first block's results in one line, by their names in the JSON: "fd10k 0.97, …". */
void fd_fid_summary(const fd_fid_report *r, char *out, size_t size);
json_t *fd_fid_json(const fd_fid_report *r);
/* Appends to the folder of the network's file if that is a run folder; nothing else. */
fd_status fd_fid_record(fd_ctx *ctx, const fd_fid_report *r);

#endif
