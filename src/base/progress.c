#include "base/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

double fd_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void fd_format_duration(double seconds, char out[32]) {
    if (!(seconds >= 0)) seconds = 0;
    if (seconds > 1e12) seconds = 1e12;
    long long s = (long long)(seconds + 0.5);
    if (s < 60) snprintf(out, 32, "%llds", s);
    else if (s < 3600) snprintf(out, 32, "%lldm %02llds", s / 60, s % 60);
    else if (s < 86400) snprintf(out, 32, "%lldh %02lldm %02llds", s / 3600, s / 60 % 60, s % 60);
    else snprintf(out, 32, "%lldd %02lldh %02lldm", s / 86400, s / 3600 % 24, s / 60 % 60);
}

/* Not ru_maxrss where the system says it better: that one begins with the peak of the process this one was split from. */
double fd_peak_rss_gb(void) {
    struct rusage u;
    char line[128];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && !kib && fgets(line, sizeof line, f)) sscanf(line, "VmHWM: %ld kB", &kib);
    if (f) fclose(f);
    if (kib > 0) return (double)kib / 1048576.0;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_maxrss / 1048576.0;       /* Linux counts KiB */
}

static void draw(fd_progress *p, double now, const char *note) {
    double spent = now - p->start, rate = spent > 0 ? (double)p->done / spent : 0;
    char left[32] = "", line[256];
    if (p->total > 0 && rate > 0) fd_format_duration((double)(p->total - p->done) / rate, left);
    int n = snprintf(line, sizeof line, "%s", p->what);
    if (p->total > 0)
        n += snprintf(line + n, sizeof line - (size_t)n, "  %3d%%  %lld/%lld %s", (int)(100 * p->done / p->total),
                      (long long)p->done, (long long)p->total, p->unit);
    else
        n += snprintf(line + n, sizeof line - (size_t)n, "  %lld %s", (long long)p->done, p->unit);
    if (n < (int)sizeof line && rate > 0)
        n += snprintf(line + n, sizeof line - (size_t)n, rate < 10 ? "  %.2f/s" : "  %.0f/s", rate);
    if (n < (int)sizeof line && left[0] && p->done < p->total)
        n += snprintf(line + n, sizeof line - (size_t)n, "  %s left", left);
    if (n < (int)sizeof line && note && note[0]) snprintf(line + n, sizeof line - (size_t)n, "  %s", note);
    if (p->terminal) fprintf(stderr, "\r%s\033[K", line);
    else fprintf(stderr, "%s\n", line);
    fflush(stderr);
    p->last_drawn = now;
}

void fd_progress_start(fd_ctx *ctx, fd_progress *p, const char *what, const char *unit, int64_t total) {
    *p = (fd_progress){.what = what, .unit = unit, .total = total, .on = !ctx->quiet};
    p->terminal = isatty(STDERR_FILENO);
    p->start = p->last_drawn = fd_now();
}

void fd_progress_update(fd_progress *p, int64_t done, const char *note) {
    p->done = done;
    if (!p->on) return;
    double now = fd_now();
    if (now - p->last_drawn >= (p->terminal ? 0.1 : 10.0)) draw(p, now, note);
}

/* Jobs too short to have been drawn leave no line on a log, and a clean line on a terminal. */
void fd_progress_end(fd_progress *p) {
    if (!p->on) return;
    double now = fd_now();
    if (p->last_drawn > p->start || now - p->start >= 0.1) {
        if (p->terminal || now - p->start >= 10.0) draw(p, now, NULL);
        if (p->terminal) fputc('\n', stderr);
    }
    p->on = false;
}
