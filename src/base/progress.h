/* progress.h — one line on stderr that is redrawn, with rate and time left; plain lines every 10 s when stderr is no
 * terminal. Silent when ctx->quiet. */
#ifndef FD_BASE_PROGRESS_H
#define FD_BASE_PROGRESS_H

#include <stdint.h>

#include "base/err.h"

typedef struct {
    const char *what, *unit;      /* "generating", "images" */
    int64_t total, done;
    double start, last_drawn;     /* seconds, monotonic */
    bool on, terminal;
} fd_progress;

void fd_progress_start(fd_ctx *ctx, fd_progress *p, const char *what, const char *unit, int64_t total);
/* `note` is shown after the numbers ("loss 0.31"); NULL for none. */
void fd_progress_update(fd_progress *p, int64_t done, const char *note);
void fd_progress_end(fd_progress *p);

double fd_now(void);                                   /* monotonic seconds */
void fd_format_duration(double seconds, char out[32]); /* "1h 02m 03s", EDM's form */
double fd_peak_rss_gb(void);                            /* this process, GiB */

#endif
