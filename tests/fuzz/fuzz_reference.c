/* Reference statistics (npz). */
#include "eval/reference.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_file(data, size);
    fd_ctx ctx = fuzz_ctx();
    fd_reference r = {0};
    if (!path) return 0;
    fd_status s = fd_reference_load(&ctx, path, &r);
    fuzz_judge(&ctx, s);
    if (s == FD_OK) {
        fuzz_judge(&ctx, fd_reference_load_features(&ctx, path, &r));
        fd_reference_free(&r);
    }
    return 0;
}
