#include "train/loop.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "base/progress.h"
#include "comm/comm.h"
#include "io/json.h"
#include "run/twin.h"
#include "train/run_find.h"

#define STATE_NAME "training-state-%06" PRId64 ".safetensors"
#define STATE_PREFIX "training-state-"
#define STATE_SUFFIX ".safetensors"

double fd_lr_at(const fd_lr *s, double images, double duration) {
    const double pi = 3.14159265358979323846;
    double lr = s->lr, x = duration > 0 ? images / duration : 0;
    if (s->ramp > 0 && images < s->ramp) lr *= images / s->ramp;
    if (s->shape == FD_LR_CONSTANT || x <= s->start || s->start >= 1) return lr;
    double u = fmin((x - s->start) / (1 - s->start), 1);
    return lr * (s->shape == FD_LR_LINEAR ? 1 - u : 0.5 * (1 + cos(pi * u)));
}

/* ---- the folder ------------------------------------------------------------------------------------------------- */

static fd_status load_newest(fd_ctx *ctx, fd_job *job, const char *fixed) {
    char path[4096];
    int64_t kimg = fd_newest_numbered(job->run.path, STATE_PREFIX, STATE_SUFFIX);
    if (kimg < 0) return FD_OK;
    FD_TRY(fd_run_file(ctx, &job->run, path, STATE_NAME, kimg));
    FD_TRY(fd_state_load(ctx, &job->state, path, fixed));
    return fd_run_log(ctx, &job->run, "Resuming from %s (%.1f kimg)", path, job->count.images / 1e3);
}

static fd_status find_folder(fd_ctx *ctx, fd_job *job, const char *fixed) {
    fd_run_search found;
    FD_TRY(fd_run_find(ctx, job->o->outdir, job->o->nosubdir, job->o->resume, job->options, &found));
    if (found.path[0]) {
        FD_TRY(fd_run_resume(ctx, found.path, &job->run));
        return load_newest(ctx, job, fixed);
    }
    FD_TRY(fd_run_create(ctx, job->o->outdir, job->description, job->o->nosubdir, &job->run));
    FD_TRY(fd_run_save_options(ctx, &job->run, job->options));
    return found.other[0] ? fd_run_log(ctx, &job->run, "A new run, not a resumed one: %s", found.other) : FD_OK;
}

/* Rank 0 has the folder and what is in it; the others get its arrays. */
static fd_status open_folder(fd_ctx *ctx, fd_job *job, const char *fixed) {
    const int ranks = fd_comm_size(ctx);
    if (fd_comm_first(ctx)) FD_TRY(find_folder(ctx, job, fixed));
    if (ranks == 1) return FD_OK;
    FD_TRY(fd_comm_same(ctx, fixed, strlen(fixed), "options, data or networks"));
    for (int i = 0; i < job->state.n; i++) {
        const fd_state_item *it = &job->state.list[i];
        FD_TRY(fd_comm_broadcast(ctx, it->data, (size_t)it->count * fd_st_dtype_bytes(it->dtype), 0));
    }
    return fd_run_log(ctx, &job->run, "%d ranks, each with %d of the %d images of an iteration", ranks, job->o->batch / ranks,
                      job->o->batch);
}

/* ---- saving ----------------------------------------------------------------------------------------------------- */

static int64_t kimg_of(const fd_job *job) { return (int64_t)(job->count.images / 1000); }

/* States are large and only the newest matters; the one before is kept too, in case a disk lies about syncing. */
static void drop_old_states(const fd_job *job) {
    int64_t keep[2] = {-1, -1};
    for (int pass = 0; pass < 2; pass++) {
        DIR *d = opendir(job->run.path);
        for (struct dirent *e; d && (e = readdir(d));) {
            int64_t k;
            char path[4096], exact[64];
            if (sscanf(e->d_name, STATE_NAME, &k) != 1) continue;
            snprintf(exact, sizeof exact, STATE_NAME, k);
            if (strcmp(exact, e->d_name) != 0) continue;
            if (pass == 0 && k > keep[0]) keep[1] = keep[0], keep[0] = k;
            else if (pass == 0 && k > keep[1]) keep[1] = k;
            else if (pass == 1 && k < keep[1] && snprintf(path, sizeof path, "%s/%s", job->run.path, exact) < (int)sizeof path)
                unlink(path);
        }
        if (d) closedir(d);
    }
}

/* All ranks took the same steps with the same sums, so their arrays agree to the bit; the clock among the counters does not. */
static fd_status compare_ranks(fd_ctx *ctx, const fd_job *job) {
    for (int i = 0; ctx->comm && i < job->state.n; i++) {
        const fd_state_item *it = &job->state.list[i];
        char what[80];
        if (it->data == &job->count) continue;
        snprintf(what, sizeof what, "the numbers of '%s'", it->name);
        FD_TRY(fd_comm_same(ctx, it->data, (size_t)it->count * fd_st_dtype_bytes(it->dtype), what));
    }
    return FD_OK;
}

static fd_status save_state(fd_ctx *ctx, fd_job *job, const char *fixed) {
    char path[4096];
    FD_TRY(fd_twins_to_host(ctx));      /* every rank's, for they are compared */
    FD_TRY(compare_ranks(ctx, job));
    if (!fd_comm_first(ctx)) return FD_OK;
    FD_TRY(fd_run_file(ctx, &job->run, path, STATE_NAME, kimg_of(job)));
    FD_TRY(fd_state_save(ctx, &job->state, path, fixed));
    drop_old_states(job);
    return FD_OK;
}

/* ---- ticks ------------------------------------------------------------------------------------------------------ */

typedef struct {
    double start, tick_start, tick_images, maintenance, base_seconds;
} clock_state;

static fd_status report_tick(fd_ctx *ctx, fd_job *job, clock_state *t) {
    double now = fd_now(), tick_sec = now - t->tick_start - t->maintenance, images = job->count.images - t->tick_images;
    char total[32], eta[32], note[128] = "";
    job->count.seconds = t->base_seconds + now - t->start;
    double rate = tick_sec > 0 ? images / tick_sec : 0;
    fd_format_duration(job->count.seconds, total);
    fd_format_duration(rate > 0 ? (job->o->duration - job->count.images) / rate : 0, eta);
    if (job->note) job->note(job, note, sizeof note);
    const fd_device *device = job->o->backend ? job->o->backend->device : NULL;
    size_t used = 0, all;
    if (device) device->memory(&used, &all);
    const double gpu = (double)used / (1 << 30);
    FD_TRY(fd_run_log(ctx, &job->run,
                      "tick %-5.0f kimg %-9.1f time %-12s sec/tick %-7.1f sec/kimg %-7.2f maintenance %-6.1f cpumem %-6.2f "
                      "gpumem %-6.2f reserved %-6.2f images/s %-7.1f eta %-10s %s",
                      job->count.tick, job->count.images / 1e3, total, tick_sec, images > 0 ? tick_sec / images * 1e3 : 0,
                      t->maintenance, fd_peak_rss_gb(), gpu, gpu, rate, eta, note));
    fd_stats_add(&job->stats, "Progress/tick", job->count.tick);
    fd_stats_add(&job->stats, "Progress/kimg", job->count.images / 1e3);
    fd_stats_add(&job->stats, "Timing/total_sec", job->count.seconds);
    fd_stats_add(&job->stats, "Timing/sec_per_tick", tick_sec);
    if (images > 0) fd_stats_add(&job->stats, "Timing/sec_per_kimg", tick_sec / images * 1e3);
    fd_stats_add(&job->stats, "Timing/maintenance_sec", t->maintenance);
    fd_stats_add(&job->stats, "Timing/images_per_sec", rate);
    fd_stats_add(&job->stats, "Resources/cpu_mem_gb", fd_peak_rss_gb());
    if (device) fd_stats_add(&job->stats, "Resources/peak_gpu_mem_gb", gpu);
    json_t *object = json_object();
    fd_stats_write(&job->stats, object);
    json_object_set_new(object, "timestamp", fd_json_real((double)time(NULL)));
    fd_status s = fd_run_stats(ctx, &job->run, object);
    json_decref(object);
    fd_stats_clear(&job->stats);
    return s;
}

/* A measurement that fails costs the run a line of its log, not more: so rank 0 measures alone, and nobody waits for its part. */
static fd_status measure_snapshot(fd_ctx *ctx, fd_job *job) {
    char path[4096], line[512];
    fd_comm *const ranks = ctx->comm;
    FD_TRY(fd_run_file(ctx, &job->run, path, "network-snapshot-%06" PRId64 ".safetensors", kimg_of(job)));
    ctx->comm = NULL;
    if (job->o->measure(ctx, job->o->measure_user, path, line, sizeof line) != FD_OK) {
        snprintf(line, sizeof line, "not measured: %.480s", ctx->message);
        fd_clear(ctx);
    }
    ctx->comm = ranks;
    return fd_run_log(ctx, &job->run, "network-snapshot-%06" PRId64 ": %s", kimg_of(job), line);
}

static fd_status save_snapshot(fd_ctx *ctx, fd_job *job) {
    if (!fd_comm_first(ctx)) return FD_OK;
    FD_TRY(fd_twins_to_host(ctx));
    FD_TRY(job->snapshot(ctx, job, kimg_of(job)));
    return job->o->measure && job->count.images > 0 ? measure_snapshot(ctx, job) : FD_OK;
}

static bool due(double tick, int every) { return every > 0 && fmod(tick, every) == 0; }

static fd_status end_tick(fd_ctx *ctx, fd_job *job, clock_state *t, const char *fixed, bool last) {
    FD_TRY(report_tick(ctx, job, t));
    double start = fd_now();
    job->count.tick++;
    if (last || due(job->count.tick, job->o->snap)) FD_TRY(save_snapshot(ctx, job));
    if (last || due(job->count.tick, job->o->dump)) FD_TRY(save_state(ctx, job, fixed));
    t->maintenance = fd_now() - start;
    t->tick_start = start;
    t->tick_images = job->count.images;
    return FD_OK;
}

/* A signal to one rank stops all after the same step. */
static fd_status asked_to_stop(fd_ctx *ctx, const fd_job *job, bool *stop) {
    bool mine = fd_interrupted() ||
                (ctx->watch && !ctx->watch(ctx->watch_user, (int64_t)job->count.images, (int64_t)job->o->duration));
    return fd_comm_any(ctx, mine, stop);
}

static fd_status stop_early(fd_ctx *ctx, fd_job *job, const char *fixed) {
    const char *by = fd_interrupted() ? fd_interrupt_name() : ctx->comm ? "a signal to another rank" : "the caller";
    FD_TRY(save_state(ctx, job, fixed));
    FD_TRY(fd_comm_barrier(ctx));           /* who leaves with a failure ends the others, who may still be writing */
    FD_TRY(fd_run_log(ctx, &job->run, "Stopped by %s at %.1f kimg; the same command with --resume goes on",
                      by, job->count.images / 1e3));
    return FD_FAIL(ctx, FD_E_CANCELLED, "stopped by %s; state saved in %s; the same command with --resume goes on", by,
                   job->run.path);
}

static fd_status one_step(fd_ctx *ctx, fd_job *job) {
    bool skipped = false;
    FD_TRY(job->step(ctx, job, &skipped));
    job->count.images += job->o->batch;
    job->count.iteration++;
    job->skipped_in_row = skipped ? job->skipped_in_row + 1 : 0;
    job->count.skipped += skipped;
    fd_stats_add(&job->stats, "Grad/nonfinite", skipped);
    if (job->skipped_in_row < FD_NONFINITE_LIMIT) return FD_OK;
    return FD_FAIL(ctx, FD_E_NUMERIC, "%d steps in a row gave non-finite numbers and were skipped; the last good state "
                   "is in %s; lower the learning rate or use --precision fp32", FD_NONFINITE_LIMIT, job->run.path);
}

fd_status fd_job_log_skipped(fd_ctx *ctx, fd_job *job, const char *kind, const char *scope, const char *op) {
    char first[256];
    snprintf(first, sizeof first, "%.120s (%.80s)", scope && scope[0] ? scope : "the sums over the batch", op ? op : "no layer");
    FD_TRY(fd_comm_first_word(ctx, op != NULL, first, sizeof first));
    return fd_run_log(ctx, &job->run, "iteration %.0f%s: non-finite numbers, skipped whole; first in %s", job->count.iteration + 1,
                      kind, first);
}

static fd_status run_to_end(fd_ctx *ctx, fd_job *job, const char *fixed) {
    if (job->count.images >= job->o->duration)
        return fd_run_log(ctx, &job->run, "This run is complete (%.1f kimg); nothing to do", job->count.images / 1e3);
    clock_state t = {.start = fd_now(), .tick_start = fd_now(), .tick_images = job->count.images,
                     .base_seconds = job->count.seconds};
    fd_progress bar;
    fd_progress_start(ctx, &bar, "training", "images", (int64_t)job->o->duration);
    fd_status s = FD_OK;
    if (job->count.images == 0) s = save_snapshot(ctx, job);
    while (s == FD_OK && job->count.images < job->o->duration) {
        s = one_step(ctx, job);
        if (s != FD_OK) break;
        t.maintenance += job->apart;
        job->apart = 0;
        char note[128] = "";
        if (job->note) job->note(job, note, sizeof note);
        fd_progress_update(&bar, (int64_t)job->count.images, note);
        bool last = job->count.images >= job->o->duration;
        /* A tick ends where the image counter passes a multiple of its length, whenever the run was interrupted. */
        if (last || job->count.images >= (job->count.tick + 1) * (double)job->o->tick)
            s = end_tick(ctx, job, &t, fixed, last);
        bool stop = false;
        if (s == FD_OK) s = asked_to_stop(ctx, job, &stop);
        if (stop && !last) s = stop_early(ctx, job, fixed);
    }
    fd_progress_end(&bar);
    return s;
}

fd_status fd_job_run(fd_ctx *ctx, fd_job *job) {
    fd_arena a = {0};
    char *fixed = fd_run_fixed_options(ctx, &a, job->options);
    if (!fixed) return FD_E_NOMEM;
    fd_status s = fd_state_add(ctx, &job->state, "counters", FD_ST_F64, &job->count,
                               (int64_t)(sizeof job->count / sizeof(double)));
    if (s == FD_OK) s = open_folder(ctx, job, fixed);
    if (s == FD_OK && job->o->folder) snprintf(job->o->folder, 4096, "%s", job->run.path);
    if (s == FD_OK && job->memory) s = fd_run_log(ctx, &job->run, "Memory: %s", job->memory);
    if (s == FD_OK) s = run_to_end(ctx, job, fixed);
    fd_run_close(&job->run);
    fd_arena_free(&a);
    return s;
}
