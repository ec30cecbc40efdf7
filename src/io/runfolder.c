#include "io/runfolder.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/json.h"

int64_t fd_newest_numbered(const char *folder, const char *prefix, const char *suffix) {
    int64_t newest = -1;
    size_t before = strlen(prefix), after = strlen(suffix);
    DIR *d = opendir(folder);
    if (!d) return -1;
    for (struct dirent *e; (e = readdir(d));) {
        const char *name = e->d_name;
        size_t n = strlen(name);
        if (n <= before + after || strncmp(name, prefix, before) || strcmp(name + n - after, suffix)) continue;
        size_t digits = n - before - after;
        if (strspn(name + before, "0123456789") < digits || digits > 18) continue;
        int64_t v = 0;
        for (size_t i = 0; i < digits; i++) v = 10 * v + (name[before + i] - '0');
        if (v > newest) newest = v;
    }
    closedir(d);
    return newest;
}

/* Highest NNNNN of the names "NNNNN" and "NNNNN-anything", -1 if there is none: EDM's rule for new runs. */
static int64_t highest_run(const char *outdir) {
    int64_t highest = -1;
    DIR *d = opendir(outdir);
    if (!d) return -1;
    for (struct dirent *e; (e = readdir(d));) {
        size_t digits = strspn(e->d_name, "0123456789");
        if (!digits || digits > 9 || (e->d_name[digits] && e->d_name[digits] != '-')) continue;
        int64_t v = 0;
        for (size_t i = 0; i < digits; i++) v = 10 * v + (e->d_name[i] - '0');
        if (v > highest) highest = v;
    }
    closedir(d);
    return highest;
}

static fd_status open_append(fd_ctx *ctx, const char *folder, const char *name, FILE **out) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    *out = fopen(path, "a+e");
    return *out ? FD_OK : FD_FAIL(ctx, FD_E_IO, "%s: cannot open for writing: %s", path, strerror(errno));
}

/* A line that a killed run left without an end would swallow the first line of the next run. */
static void end_line(FILE *f) {
    if (fseek(f, -1, SEEK_END) == 0 && fgetc(f) != '\n') fputc('\n', f);
}

/* Two programs in one run would write each other's states. Ends with the program, however that ends; file systems without
 * locks do without. */
static fd_status lock(fd_ctx *ctx, const fd_run *r) {
    if (flock(fileno(r->log), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return FD_OK;
    return FD_FAIL(ctx, FD_E_IO, "%s: another fdistill is at work in this run; let it end or stop it first", r->path);
}

fd_status fd_run_resume(fd_ctx *ctx, const char *path, fd_run *out) {
    *out = (fd_run){.quiet = ctx->quiet};
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    if (n >= sizeof out->path) return FD_FAIL(ctx, FD_E_ARG, "%.60s…: the path is too long", path);
    memcpy(out->path, path, n);
    if (!fd_is_folder(out->path)) return FD_FAIL(ctx, FD_E_IO, "%s: is not a folder", path);
    fd_status s = open_append(ctx, out->path, "log.txt", &out->log);
    if (s == FD_OK) s = lock(ctx, out);
    if (s == FD_OK) s = open_append(ctx, out->path, "stats.jsonl", &out->stats);
    if (s != FD_OK) {
        fd_run_close(out);
        return s;
    }
    end_line(out->log);
    end_line(out->stats);
    return FD_OK;
}

fd_status fd_run_create(fd_ctx *ctx, const char *outdir, const char *description, bool nosubdir, fd_run *out) {
    *out = (fd_run){0};
    FD_TRY(fd_make_folder(ctx, outdir));
    if (nosubdir) return fd_run_resume(ctx, outdir, out);
    if (strchr(description, '/'))
        return FD_FAIL(ctx, FD_E_ARG, "run description '%s': must not contain '/'", description);
    char path[4096];
    for (int64_t number = highest_run(outdir) + 1;; number++) {       /* another run may start at this moment */
        int n = snprintf(path, sizeof path, "%s/%05lld%s%s", outdir, (long long)number, description[0] ? "-" : "",
                         description);
        if (n >= (int)sizeof path) return FD_FAIL(ctx, FD_E_ARG, "%.60s…: the path is too long", outdir);
        if (mkdir(path, 0777) == 0) return fd_run_resume(ctx, path, out);
        if (errno != EEXIST) return FD_FAIL(ctx, FD_E_IO, "%s: cannot make folder: %s", path, strerror(errno));
    }
}

void fd_run_close(fd_run *r) {
    if (r->log) fclose(r->log);
    if (r->stats) fclose(r->stats);
    *r = (fd_run){0};
}

fd_status fd_run_log(fd_ctx *ctx, fd_run *r, const char *fmt, ...) {
    char line[4096];
    if (!r->log) return FD_OK;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (!r->quiet && !ctx->silent) {
        printf("%s\n", line);
        fflush(stdout);
    }
    if (fprintf(r->log, "%s\n", line) < 0 || fflush(r->log))
        return FD_FAIL(ctx, FD_E_IO, "%s/log.txt: cannot write: %s", r->path, strerror(errno));
    return FD_OK;
}

static fd_status write_line(fd_ctx *ctx, FILE *f, const char *folder, const char *name, const json_t *object) {
    fd_arena arena = {0};
    const char *text = fd_json_dump(ctx, &arena, object, 0);
    fd_status s = text ? FD_OK : FD_E_NOMEM;
    if (s == FD_OK && (fprintf(f, "%s\n", text) < 0 || fflush(f)))
        s = FD_FAIL(ctx, FD_E_IO, "%s/%s: cannot write: %s", folder, name, strerror(errno));
    fd_arena_free(&arena);
    return s;
}

fd_status fd_run_stats(fd_ctx *ctx, fd_run *r, const json_t *object) {
    if (!r->stats) return FD_OK;
    return write_line(ctx, r->stats, r->path, "stats.jsonl", object);
}

fd_status fd_run_metric(fd_ctx *ctx, const char *folder, const char *name, const json_t *object) {
    char file[128];
    FILE *f;
    snprintf(file, sizeof file, "metric-%s.jsonl", name);
    FD_TRY(open_append(ctx, folder, file, &f));
    end_line(f);
    fd_status s = write_line(ctx, f, folder, file, object);
    fclose(f);
    return s;
}

fd_status fd_run_file(fd_ctx *ctx, const fd_run *r, char out[4096], const char *fmt, ...) {
    int n = snprintf(out, 4096, "%s/", r->path);
    va_list ap;
    va_start(ap, fmt);
    int m = vsnprintf(out + n, (size_t)(4096 - n), fmt, ap);
    va_end(ap);
    if (m < 0 || n + m >= 4096) return FD_FAIL(ctx, FD_E_ARG, "%s: the path of a file in it is too long", r->path);
    return FD_OK;
}

fd_status fd_run_save_options(fd_ctx *ctx, const fd_run *r, const json_t *options) {
    char path[4096];
    FD_TRY(fd_run_file(ctx, r, path, "training_options.json"));
    return fd_json_save(ctx, path, options);
}
