/* A NumPy array. */
#include "fuzz.h"
#include "io/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fd_ctx ctx = fuzz_ctx();
    fd_arena arena = {0};
    fd_npy a;
    fd_status s = fd_npy_parse(&ctx, &arena, (fd_bytes){data, size}, "input", &a);
    if (s == FD_OK) fuzz_touch(a.data, (size_t)a.count * fd_npy_dtype_bytes(a.dtype));
    if (s == FD_OK && !fd_npy_doubles(&ctx, &arena, &a)) s = FD_E_NOMEM;
    fuzz_judge(&ctx, s);
    fd_arena_free(&arena);
    return 0;
}
