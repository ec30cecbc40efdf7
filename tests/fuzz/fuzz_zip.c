/* A zip archive: every member is read; those that are arrays are parsed, as in an npz. */
#include "fuzz.h"
#include "io/npy.h"

static fd_status read_all(fd_ctx *ctx, fd_zip *z) {
    for (int64_t i = 0; i < fd_zip_count(z); i++) {
        fd_ctx own = fuzz_ctx();
        fd_arena arena = {0};
        fd_bytes bytes;
        fd_npy a;
        fd_status s = fd_zip_read(&own, z, i, &arena, 1 << 20, &bytes);
        fuzz_judge(&own, s);
        if (s == FD_OK) fuzz_touch(bytes.data, bytes.size);
        if (s == FD_OK) fuzz_judge(&own, fd_npy_parse(&own, &arena, bytes, fd_zip_name(z, i), &a));
        fd_arena_free(&arena);
        if (fd_zip_find(z, fd_zip_name(z, i)) < 0)
            return FD_FAIL(ctx, FD_E_FORMAT, "a member is not found by its name");
    }
    return FD_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fd_ctx ctx = fuzz_ctx();
    fd_zip *z;
    fd_status s = fd_zip_open_memory(&ctx, (fd_bytes){data, size}, "input", &z);
    if (s == FD_OK) {
        s = read_all(&ctx, z);
        fd_zip_close(z);
    }
    fuzz_judge(&ctx, s);
    return 0;
}
