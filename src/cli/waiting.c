/* A thread that sleeps is woken in some 20 to 50 microseconds, as long as a small operation takes; one that spins and waits for
 * one that another program has displaced makes a busy machine many times slower. OpenMP's own choice is to spin for many
 * milliseconds. Here: where nothing else runs when the program starts, threads spin for an eighth of a millisecond and then
 * sleep, so that programs which come later cost two fifths of the speed and not most of it; else they sleep at once.
 * docs/speed.md has the measurements. */
#include "cli/waiting.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/progress.h"

#define SPIN_SECONDS 125e-6
#define SAMPLES 4
#define BETWEEN_NS 300000

/* Threads of this process that run: a BLAS starts its own when it is loaded, and lets them spin for a while. */
static int own(void) {
    int running = 0;
    DIR *folder = opendir("/proc/self/task");
    if (!folder) return 1;
    for (struct dirent *e; (e = readdir(folder));) {
        char path[sizeof "/proc/self/task//stat" + sizeof e->d_name], state;
        snprintf(path, sizeof path, "/proc/self/task/%s/stat", e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (!f) continue;
        running += fscanf(f, "%*d (%*[^)]) %c", &state) == 1 && state == 'R';
        fclose(f);
    }
    closedir(folder);
    return running;
}

/* Other tasks that run or want to: the fewest of a few looks, since many run for a moment only. -1: not known. */
static int others(void) {
    int fewest = -1;
    for (int i = 0; i < SAMPLES && fewest; i++) {
        int running, n;
        FILE *f = fopen("/proc/loadavg", "r");
        if (!f) return -1;
        n = fscanf(f, "%*f %*f %*f %d", &running) == 1 ? running - own() : -1;
        fclose(f);
        if (n >= 0 && (fewest < 0 || n < fewest)) fewest = n;
        nanosleep(&(struct timespec){.tv_nsec = BETWEEN_NS}, NULL);
    }
    return fewest;
}

/* Turns of libgomp's loop (look, then pause) in the time to spin. */
static long turns(void) {
    enum { TRIED = 500 };
    const double start = fd_now();
    for (int i = 0; i < TRIED; i++) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#else
        __asm__ volatile("" ::: "memory");
#endif
    }
    const double each = (fd_now() - start) / TRIED;
    return each > 0 ? (long)(SPIN_SECONDS / each) : 0;
}

void fd_waiting_describe(char out[80]) {
    const char *policy = getenv("OMP_WAIT_POLICY"), *count = getenv("GOMP_SPINCOUNT");
    if (count) snprintf(out, 80, "spin %.20s turns, then sleep", count);
    else if (policy) snprintf(out, 80, "%s", strcasecmp(policy, "passive") ? "spin" : "sleep at once");
    else snprintf(out, 80, "as OpenMP has it");
}

void fd_waiting_choose(char **argv) {
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT") || getenv("KMP_BLOCKTIME")) return;
    char count[32];
    snprintf(count, sizeof count, "%ld", turns());
    int failed = others() == 0 ? setenv("GOMP_SPINCOUNT", count, 1) || setenv("KMP_BLOCKTIME", "1", 1)
                               : setenv("OMP_WAIT_POLICY", "passive", 1);
    if (!failed) execv("/proc/self/exe", argv);
}
