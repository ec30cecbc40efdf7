/* A whole set as a zip: checked, and opened if it can be. What check calls good, open must take. */
#include <stdlib.h>

#include "fuzz.h"
#include "io/dataset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_file(data, size);
    fd_ctx ctx = fuzz_ctx();
    fd_dataset_report report;
    fd_dataset d = {0};
    if (!path) return 0;
    fd_status checked = fd_dataset_check(&ctx, path, &report);
    fuzz_judge(&ctx, checked);
    bool good = checked == FD_OK && !report.fatal && report.images;
    if (checked == FD_OK) fd_dataset_report_free(&report);
    ctx = fuzz_ctx();
    fd_status s = fd_dataset_open(&ctx, path, &(fd_dataset_options){.cache = FD_CACHE_ON}, &d);
    fuzz_judge(&ctx, s);
    fd_dataset_close(&d);
    if (good && s != FD_OK) {
        fprintf(stderr, "check found nothing wrong, but the set cannot be opened: %s\n", ctx.message);
        abort();
    }
    return 0;
}
