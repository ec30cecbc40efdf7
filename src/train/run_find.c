#include "train/run_find.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "io/json.h"

/* Where a file lies changes nothing: its digest is there too. */
static json_t *fixed_part(const json_t *options) {
    json_t *copy = json_deep_copy(options);
    json_object_del(copy, "run");
    json_object_del(json_object_get(copy, "dataset"), "path");
    json_object_del(json_object_get(copy, "teacher"), "path");
    return copy;
}

char *fd_run_fixed_options(fd_ctx *ctx, fd_arena *a, const json_t *options) {
    json_t *copy = fixed_part(options);
    char *text = copy ? fd_json_dump(ctx, a, copy, 0) : NULL;
    json_decref(copy);
    return text;
}

/* ---- what differs ------------------------------------------------------------------------------------------------ */

static void describe_value(const json_t *v, char out[512]) {
    fd_ctx quiet = {0};
    fd_arena a = {0};
    const char *text = v ? fd_json_dump(&quiet, &a, v, 0) : "nothing";
    snprintf(out, 512, "%.200s", text ? text : "?");
    fd_arena_free(&a);
}

/* The first member that is not equal, "lr.ramp is 0 there and 2000 here", into out[1024]; false if there is none. */
static bool difference(const json_t *there, const json_t *here, const char *prefix, char out[1024]) {
    const json_t *const side[2] = {here, there};
    for (int i = 0; i < 2; i++) {
        const char *key;
        json_t *ignored;
        json_object_foreach((json_t *)side[i], key, ignored) {
            const json_t *a = json_object_get(there, key), *b = json_object_get(here, key);
            char name[256], va[512], vb[512];
            if (a && b && json_equal(a, b)) continue;
            snprintf(name, sizeof name, "%.120s%s%.120s", prefix, prefix[0] ? "." : "", key);
            if (json_is_object(a) && json_is_object(b)) {
                if (difference(a, b, name, out)) return true;
                continue;
            }
            describe_value(a, va);
            describe_value(b, vb);
            snprintf(out, 1024, "%.250s is %.200s there and %.200s here", name, va, vb);
            return true;
        }
    }
    return false;
}

/* ---- folders ----------------------------------------------------------------------------------------------------- */

typedef enum { NO_RUN, SAME, OTHER } kinship;

/* Unreadable or foreign folders are simply not ours. */
static kinship compare(const char *folder, const json_t *options, char why[1024]) {
    fd_ctx quiet = {0};
    char path[4096];
    json_t *theirs = NULL;
    why[0] = 0;
    if (snprintf(path, sizeof path, "%s/training_options.json", folder) >= (int)sizeof path || !fd_file_exists(path) ||
        fd_json_load(&quiet, path, &theirs) != FD_OK)
        return NO_RUN;
    /* As text: what is compared is what the state's own copy will be compared with. */
    fd_arena a = {0};
    const char *there = fd_run_fixed_options(&quiet, &a, theirs), *here = fd_run_fixed_options(&quiet, &a, options);
    kinship k = there && here && !strcmp(there, here) ? SAME : OTHER;
    if (k == OTHER) {
        json_t *x = fixed_part(theirs), *y = fixed_part(options);
        if (!difference(x, y, "", why)) snprintf(why, 1024, "its options are in another order");
        json_decref(x);
        json_decref(y);
    }
    fd_arena_free(&a);
    json_decref(theirs);
    return k;
}

static fd_status find_here(fd_ctx *ctx, const char *outdir, bool resume, const json_t *options, fd_run_search *out) {
    char why[1024];
    kinship k = compare(outdir, options, why);
    if (k == NO_RUN) return FD_OK;
    if (!resume)
        return FD_FAIL(ctx, FD_E_ARG, "%s: already holds a run: --resume continues it, another --outdir starts a new one",
                       outdir);
    if (k == OTHER)
        return FD_FAIL(ctx, FD_E_ARG, "%s: holds a run with other options (%s): --resume wants the same, another --outdir "
                       "starts a new run", outdir, why);
    snprintf(out->path, sizeof out->path, "%s", outdir);
    return FD_OK;
}

fd_status fd_run_find(fd_ctx *ctx, const char *outdir, bool nosubdir, bool resume, const json_t *options,
                      fd_run_search *out) {
    long best = -1, best_other = -1;
    out->path[0] = out->other[0] = 0;
    if (nosubdir) return find_here(ctx, outdir, resume, options, out);
    DIR *d = resume ? opendir(outdir) : NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[4096], why[1024], *end;
        long number = strtol(e->d_name, &end, 10);
        if (end != e->d_name + 5 || *end != '-' || number <= best) continue;
        if (snprintf(path, sizeof path, "%s/%s", outdir, e->d_name) >= (int)sizeof path) continue;
        kinship k = compare(path, options, why);
        if (k == SAME) {
            best = number;
            memcpy(out->path, path, sizeof path);
        } else if (k == OTHER && number > best_other) {
            best_other = number;
            snprintf(out->other, sizeof out->other, "the newest there, %s, has other options: %.1000s", e->d_name, why);
        }
    }
    if (d) closedir(d);
    if (best >= 0) out->other[0] = 0;
    return FD_OK;
}
