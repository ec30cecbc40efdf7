/* run_find.h — the run that --resume continues, and in words why another is not it. */
#ifndef FD_TRAIN_RUN_FIND_H
#define FD_TRAIN_RUN_FIND_H

#include <jansson.h>

#include "base/file.h"

/* The options that must agree on resume, as one line of text: all but the member "run" and the
 * paths of data and teacher, whose digests decide. NULL and NOMEM on failure. */
char *fd_run_fixed_options(fd_ctx *ctx, fd_arena *a, const json_t *options);

typedef struct fd_run_search {
    char path[4096];      /* the folder to continue; "" = start a new run                                       */
    char other[5120];     /* when resuming finds runs, but none of these options: "00003-x has batch 64, not 32" */
} fd_run_search;

/* The newest run folder under outdir with these options; nothing is looked for unless `resume`. With nosubdir the run is
 * outdir itself, and ARG if what is there would be overwritten: a run of other options, or any when not resuming. */
fd_status fd_run_find(fd_ctx *ctx, const char *outdir, bool nosubdir, bool resume, const json_t *options,
                      fd_run_search *out);

#endif
