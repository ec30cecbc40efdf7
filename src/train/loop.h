/* loop.h — the loop around every training run: step, log, snapshot, save, resume, stop on a signal.
 *
 * A job supplies what is its own (one optimiser iteration, a snapshot, the arrays of its state); the loop does the rest
 * the same way for all. It draws no random numbers and keeps no hidden state: what decides the next step is the image
 * counter and the registered arrays, so a resumed run repeats the bits of an uninterrupted one.
 *
 * With several ranks (comm/comm.h) every rank runs the loop and steps; rank 0 alone has the folder, logs and saves. The
 * registered arrays are the same on all: taken from rank 0 at the start, compared before they are saved.
 */
#ifndef FD_TRAIN_LOOP_H
#define FD_TRAIN_LOOP_H

#include "io/runfolder.h"
#include "train/job.h"
#include "train/state.h"
#include "train/stats.h"

#define FD_NONFINITE_LIMIT 20    /* skipped steps in a row before a run gives up */

typedef struct fd_job {
    const fd_job_options *o;
    const char *memory;           /* where it goes (budget.h), for the log */
    const char *description;      /* of the run folder: "sprites-cond-ddpmpp-batch64" */
    json_t *options;              /* training_options.json; what may differ on resume: run_find.h */
    void *self;
    /* One iteration on o->batch images. *skipped: non-finite numbers, nothing was changed. */
    fd_status (*step)(fd_ctx *ctx, struct fd_job *job, bool *skipped);
    /* Writes network-snapshot and pictures, on rank 0 only; kimg 0 is before the first step (pictures only). */
    fd_status (*snapshot)(fd_ctx *ctx, struct fd_job *job, int64_t kimg);
    /* Short text for the progress line, e.g. "loss 0.312". */
    void (*note)(struct fd_job *job, char *out, size_t size);
    fd_state state;
    fd_stats stats;
    fd_run run;                   /* {0} on other ranks than 0: what is logged there is dropped */
    /* Counters, part of the state. */
    struct { double images, iteration, tick, seconds, skipped; } count;
    double skipped_in_row;
    double apart;                        /* seconds of a step that trained nothing: reported as maintenance, not as pace */
} fd_job;

/* One line of the log about a step that was left out. kind: " (critic)" or ""; scope, op: the first layer with a non-finite
 * number on this rank, NULL where there is none; the line tells of the lowest rank that has one. */
fd_status fd_job_log_skipped(fd_ctx *ctx, fd_job *job, const char *kind, const char *scope, const char *op);

/* Finds or makes the run folder, loads the state when resuming, runs to o->duration. FD_E_CANCELLED after a signal. */
fd_status fd_job_run(fd_ctx *ctx, fd_job *job);

#endif
