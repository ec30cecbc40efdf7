/* golden — runs stored cases and says how close we are.
 *
 *   golden [--backend cpu|reference|cuda] [--conv direct|auto] [--perturb [--expect-failure]] [FOLDER …]
 *
 * A FOLDER is a case (it holds case.json), a set of files with their contents (expected.json) or a folder of cases.
 * Without any: the cases kept with this test and, where it exists, ../shared/golden next to the source tree. Exit code
 * 0 only if every case passed.
 * --perturb spoils one number by 1e-3 of its size first: then every case must fail, which --expect-failure asserts.
 */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "cpu/conv_choice.h"
#include "golden.h"
#include "io/json.h"

static const struct { const char *name; golden_kind_fn *run;
} kinds[] = {
    {"net", golden_kind_net},
    {"full", golden_kind_full},
    {"formula", golden_kind_formula},
    {"grids", golden_kind_grids},
    {"divergences", golden_kind_divergences},
    {"ratio", golden_kind_ratio},
    {"optim", golden_kind_optim},
    {"edm-train", golden_kind_edm_train},
    {"heun", golden_kind_heun},
    {"fdistill-step", golden_kind_fdistill_step},
    {"fdistill-run", golden_kind_fdistill_run},
};

static golden_options options;
static bool expect_failure;
static int passed, failed, skipped;

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Every output must have been compared, else a misspelt name would pass for agreement. */
static fd_status insist(golden *g) {
    const char *key;
    json_t *v;
    json_object_foreach(g->outputs, key, v) {
        const fd_st_tensor *t = fd_safetensors_find(&g->st, key);
        if (!t || !g->seen[t - g->st.tensor])
            return FD_FAIL(g->ctx, FD_E_FORMAT, "output '%s' was never compared", key);
    }
    return FD_OK;
}

static fd_status open_case(golden *g, const char *folder, fd_arena *a, const char **kind) {
    const char *file = fd_arena_printf(g->ctx, a, "%s/case.json", folder);
    const char *tensors = fd_arena_printf(g->ctx, a, "%s/tensors.safetensors", folder);
    if (!file || !tensors) return FD_E_NOMEM;
    FD_TRY(fd_json_load(g->ctx, file, &g->meta));
    FD_TRY(fd_json_text(g->ctx, g->meta, "kind", file, FD_REQUIRED, kind));
    FD_TRY(fd_json_object(g->ctx, g->meta, "config", file, FD_REQUIRED, &g->config));
    FD_TRY(fd_json_object(g->ctx, g->meta, "outputs", file, FD_REQUIRED, &g->outputs));
    FD_TRY(fd_safetensors_open(g->ctx, tensors, &g->st));
    FD_NEW(g->ctx, a, g->seen, g->st.n + 1);
    FD_NEW(g->ctx, a, g->gradient_errors, g->st.n + 1);
    return FD_OK;
}

static fd_status compute(golden *g, const char *folder, fd_arena *a) {
    const char *kind;
    FD_TRY(open_case(g, folder, a, &kind));
    for (size_t i = 0; i < FD_COUNT(kinds); i++) {
        if (strcmp(kinds[i].name, kind) != 0) continue;
        FD_TRY(kinds[i].run(g, a));
        return insist(g);
    }
    return FD_FAIL(g->ctx, FD_E_UNSUPPORTED, "unknown kind '%s'", kind);
}

static void run_case(const char *folder) {
    fd_ctx ctx = {.quiet = true};
    golden g = {.ctx = &ctx, .o = &options};
    fd_arena a = {0};
    double start = fd_now(), median = 0;
    fd_status s = compute(&g, folder, &a);
    if (g.ngradients) {
        qsort(g.gradient_errors, (size_t)g.ngradients, sizeof(double), ascending);
        median = g.gradient_errors[g.ngradients / 2];
    }
    bool within = g.worst <= 1 && (options.wide || median < 3e-5), good = s == FD_OK && within;
    if (expect_failure) good = s == FD_OK && g.spoiled && !within;
    const char *slash = strrchr(folder, '/');
    printf("%s  %-28s", good ? "PASS" : "FAIL", slash && slash[1] ? slash + 1 : folder);
    if (s != FD_OK) printf(" %s: %s", fd_status_name(s), ctx.message);
    else
        printf(" %4d tensors  worst %s %.2g (%.0f %% of its limit)", g.compared, g.worst_name, g.worst_error,
               100 * g.worst);
    if (s == FD_OK && g.ngradients) printf("  median gradient %.1g", median);
    if (expect_failure && !good && s == FD_OK) printf("  the spoiled number went unnoticed");
    printf("  %.1f s\n", fd_now() - start);
    fflush(stdout);
    if (good) passed++;
    else failed++;
    json_decref(g.meta);
    fd_safetensors_close(&g.st);
    fd_arena_free(&a);
}

static void run_files(const char *folder) {
    char words[300];
    double start = fd_now();
    const char *slash = strrchr(folder, '/');
    /* Without a tensor there is no number to spoil: such a set is left out then. */
    bool good = golden_is_import(folder) ? golden_run_import(&options, folder, words, sizeof words)
                                         : golden_run_files(&options, folder, words, sizeof words);
    printf("%s  %-28s %s  %.1f s\n", good ? "PASS" : "FAIL", slash && slash[1] ? slash + 1 : folder, words,
           fd_now() - start);
    if (good) passed++;
    else failed++;
}

static bool has_file(const char *folder, const char *file) {
    char path[4400];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    return fd_file_exists(path);
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static bool is_files(const char *folder) { return golden_is_import(folder) || golden_files_kind(folder); }

/* A folder of sets of files, such as fid/. */
static bool holds_files(const char *folder) {
    struct dirent **list;
    int n = scandir(folder, &list, NULL, by_name);
    bool yes = false;
    for (int i = 0; i < n; i++) {
        char path[4400];
        snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name);
        yes |= list[i]->d_name[0] != '.' && fd_is_folder(path) && is_files(path);
        free(list[i]);
    }
    if (n >= 0) free(list);
    return yes;
}

static void run_folder(const char *folder) {
    if (has_file(folder, "case.json")) {
        run_case(folder);
        return;
    }
    int before = passed + failed;
    if (is_files(folder)) run_files(folder);
    struct dirent **list;
    int n = scandir(folder, &list, NULL, by_name), cases = 0;
    for (int i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name);
        if (list[i]->d_name[0] != '.' && fd_is_folder(path)) {
            if (has_file(path, "case.json")) {
                run_case(path);
                cases++;
            } else if (is_files(path) || holds_files(path)) {
                run_folder(path);
            } else if (!is_files(folder)) {
                printf("SKIP  %-28s no case.json of its own: it belongs to other tests (file formats)\n",
                       list[i]->d_name);
                skipped++;
            }
        }
        free(list[i]);
    }
    if (n >= 0) free(list);
    if (cases || passed + failed > before) return;
    printf("FAIL  %s: no case.json here and no cases below\n", folder);
    failed++;
}

static int usage(const char *why) {
    fprintf(stderr,
            "golden: %s\nusage: golden [--backend cpu|reference|cuda] [--conv direct|auto] [--perturb [--expect-failure]] "
            "[FOLDER ...]\n",
            why);
    return 2;
}

int main(int argc, char **argv) {
    int i = 1;
    options.backend = fd_backend_cpu();
    fd_cpu_conv_algorithm(FD_CONV_DIRECT); /* the limits are made for them: the README next to the cases says why */
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--perturb") == 0) options.perturb = true;
        else if (strcmp(argv[i], "--expect-failure") == 0) expect_failure = true;
        else if (strcmp(argv[i], "--backend") == 0) {
            fd_ctx ctx = {0};
            if (fd_backend_choose(&ctx, value, &options.backend) != FD_OK) {
                printf("SKIP %s\n", ctx.message);
                return ctx.code == FD_E_UNSUPPORTED ? 77 : 2;
            }
            i++;
        }
        else if (strcmp(argv[i], "--conv") == 0 && strcmp(value, "auto") == 0) {
            fd_cpu_conv_algorithm(FD_CONV_AUTO);
            options.wide = true;
            i++;
        } else if (strcmp(argv[i], "--conv") == 0 && strcmp(value, "direct") == 0) i++;
        else return usage(argv[i]);
    }
    if (expect_failure && !options.perturb) return usage("--expect-failure needs --perturb");
    for (int k = i; k < argc; k++) run_folder(argv[k]);
    if (i == argc) {
        run_folder(FD_GOLDEN_CASES);
        if (fd_is_folder(FD_GOLDEN_SHARED)) run_folder(FD_GOLDEN_SHARED);
        else printf("      %s is not there: only the cases kept with this test were run\n", FD_GOLDEN_SHARED);
    }
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed ? 1 : 0;
}
