/* A file of weights on its way to a network: group, configuration, names, metadata, every check but the weights. */
#include "fuzz.h"
#include "models/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fd_ctx ctx = fuzz_ctx();
    fd_import in;
    fd_st_tensor *t;
    int n;
    int64_t parameters;
    const char *path = fuzz_file(data, size);
    if (!path) return 0;
    fd_status s = fd_import_open(&ctx, path, NULL, &in);
    if (s == FD_OK) {
        s = fd_import_tensors(&ctx, &in, &t, &n, &parameters);
        for (int i = 0; s == FD_OK && i < n; i++) fuzz_touch(t[i].data, t[i].bytes);
        fd_import_close(&in);
    }
    fuzz_judge(&ctx, s);
    return 0;
}
