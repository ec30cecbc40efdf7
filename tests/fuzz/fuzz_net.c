/* A network file: configuration, provenance, tensors against the configuration. */
#include "fuzz.h"
#include "models/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fd_ctx ctx = fuzz_ctx();
    fd_net *net;
    const char *path = fuzz_file(data, size);
    if (!path) return 0;
    fd_status s = fd_net_load(&ctx, path, &net);
    fuzz_judge(&ctx, s);
    if (s == FD_OK) fd_net_free(net);
    return 0;
}
