/* runfolder.h — a training run's folder in EDM's form: 00000-description/ with training_options.json, log.txt and
 * stats.jsonl.
 */
#ifndef FD_IO_RUNFOLDER_H
#define FD_IO_RUNFOLDER_H

#include <jansson.h>

#include "base/file.h"

typedef struct fd_run {
    char path[3072];              /* the folder, without a slash at the end */
    FILE *log, *stats;
    bool quiet;                   /* log lines go to log.txt only */
} fd_run;

/* Makes outdir/NNNNN-description with NNNNN one more than the highest there; with nosubdir, outdir itself. The
 * description must not contain '/'. */
fd_status fd_run_create(fd_ctx *ctx, const char *outdir, const char *description, bool nosubdir, fd_run *out);
/* Opens an existing folder: both files are appended to. IO if another program has it open. */
fd_status fd_run_resume(fd_ctx *ctx, const char *path, fd_run *out);
void fd_run_close(fd_run *r);                         /* safe on {0} */

/* A line to stdout and log.txt, flushed. The newline is added. A run that is not open ({0}) drops it, and statistics too. */
fd_status fd_run_log(fd_ctx *ctx, fd_run *r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* One object as one line of stats.jsonl, flushed. */
fd_status fd_run_stats(fd_ctx *ctx, fd_run *r, const json_t *object);
/* One object as one line at the end of folder/metric-NAME.jsonl, where StyleGAN's tools look for results. */
fd_status fd_run_metric(fd_ctx *ctx, const char *folder, const char *name, const json_t *object);
/* training_options.json, atomically. */
fd_status fd_run_save_options(fd_ctx *ctx, const fd_run *r, const json_t *options);
/* path of a file in the folder, "run/network-snapshot-000012.safetensors", into out[4096]. */
fd_status fd_run_file(fd_ctx *ctx, const fd_run *r, char out[4096], const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Largest number in names PREFIX + digits + SUFFIX of a folder, -1 if there is none: the newest snapshot. */
int64_t fd_newest_numbered(const char *folder, const char *prefix, const char *suffix);

#endif
