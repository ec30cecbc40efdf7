#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/json.h"
#include "io/runfolder.h"

static char folder[64];

static void content(const char *path, const char *want) {
    fd_ctx ctx = {0};
    fd_bytes f;
    assert_int_equal(fd_file_map(&ctx, path, &f), FD_OK);
    assert_int_equal(f.size, strlen(want));
    assert_memory_equal(f.data, want, f.size);
    fd_file_unmap(&f);
}

static void runs_are_numbered_and_appended(void **state) {
    fd_ctx ctx = {.quiet = true};
    fd_run r;
    char path[4096], want[128];
    assert_int_equal(fd_run_create(&ctx, folder, "cifar-edm", false, &r), FD_OK);
    snprintf(want, sizeof want, "%s/00000-cifar-edm", folder);
    assert_string_equal(r.path, want);
    fd_run_close(&r);
    snprintf(path, sizeof path, "%s/00041-x", folder);
    fd_make_folder(&ctx, path);
    snprintf(path, sizeof path, "%s/99999x", folder);       /* not a run's name */
    fd_make_folder(&ctx, path);
    assert_int_equal(fd_run_create(&ctx, folder, "", false, &r), FD_OK);
    snprintf(want, sizeof want, "%s/00042", folder);
    assert_string_equal(r.path, want);
    assert_int_equal(fd_run_log(&ctx, &r, "tick %d", 1), FD_OK);
    json_t *j = json_pack("{s:f, s:i}", "Loss/loss", 0.25, "timestamp", 7);
    assert_int_equal(fd_run_stats(&ctx, &r, j), FD_OK);
    assert_int_equal(fd_run_save_options(&ctx, &r, j), FD_OK);
    fputs("half a li", r.log);                              /* what a killed run leaves */
    fd_run_close(&r);
    assert_int_equal(fd_run_resume(&ctx, want, &r), FD_OK);
    fd_run second;                                          /* as another program would */
    assert_int_equal(fd_run_resume(&ctx, want, &second), FD_E_IO);
    assert_non_null(strstr(ctx.message, "at work"));
    assert_int_equal(fd_run_log(&ctx, &r, "tick %d", 2), FD_OK);
    assert_int_equal(fd_run_stats(&ctx, &r, j), FD_OK);
    assert_int_equal(fd_run_file(&ctx, &r, path, "log.%s", "txt"), FD_OK);
    content(path, "tick 1\nhalf a li\ntick 2\n");
    fd_run_file(&ctx, &r, path, "stats.jsonl");
    content(path, "{\"Loss/loss\": 0.25, \"timestamp\": 7}\n{\"Loss/loss\": 0.25, \"timestamp\": 7}\n");
    fd_run_file(&ctx, &r, path, "training_options.json");
    content(path, "{\n  \"Loss/loss\": 0.25,\n  \"timestamp\": 7\n}\n");
    json_decref(j);
    fd_run_close(&r);
    fd_run_close(&r);
    assert_int_equal(fd_run_create(&ctx, folder, "ignored", true, &r), FD_OK);
    assert_string_equal(r.path, folder);
    fd_run_close(&r);
    snprintf(path, sizeof path, "%s/network-snapshot-000012.safetensors", folder);
    fd_file_write(&ctx, path, "x", 1);
    snprintf(path, sizeof path, "%s/network-snapshot-000003.safetensors", folder);
    fd_file_write(&ctx, path, "x", 1);
    snprintf(path, sizeof path, "%s/network-snapshot-99a.safetensors", folder);
    fd_file_write(&ctx, path, "x", 1);
    assert_int_equal(fd_newest_numbered(folder, "network-snapshot-", ".safetensors"), 12);
    assert_int_equal(fd_newest_numbered(folder, "training-state-", ""), -1);
    assert_int_equal(fd_newest_numbered("/nonexistent", "", ""), -1);
}

static void errors(void **state) {
    fd_ctx ctx = {.quiet = true};
    fd_run r;
    char path[128];
    assert_int_equal(fd_run_create(&ctx, folder, "a/b", false, &r), FD_E_ARG);
    fd_clear(&ctx);
    snprintf(path, sizeof path, "%s/file", folder);
    fd_file_write(&ctx, path, "x", 1);
    assert_int_equal(fd_run_create(&ctx, path, "x", false, &r), FD_E_IO);
    fd_clear(&ctx);
    assert_int_equal(fd_run_resume(&ctx, "/nonexistent", &r), FD_E_IO);
    fd_run_close(&r);
    fd_clear(&ctx);
    assert_int_equal(fd_run_create(&ctx, folder, "full", false, &r), FD_OK);
    fclose(r.log);
    r.log = fopen("/dev/full", "w");
    assert_int_equal(fd_run_log(&ctx, &r, "x"), FD_E_IO);
    assert_non_null(strstr(ctx.message, "log.txt: cannot write: No space left"));
    fd_run_close(&r);
}

int main(void) {
    snprintf(folder, sizeof folder, "/tmp/fd-test-run-%ld", (long)getpid());
    const struct CMUnitTest tests[] = {cmocka_unit_test(runs_are_numbered_and_appended), cmocka_unit_test(errors)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) || failed;
}
