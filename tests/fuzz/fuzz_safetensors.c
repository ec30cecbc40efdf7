/* A safetensors file in memory: all it names is read, converted and hashed. */
#include "fuzz.h"
#include "io/safetensors.h"

static fd_status read_all(fd_ctx *ctx, const fd_safetensors *f) {
    char digest[65];
    for (int i = 0; i < f->n; i++) {
        const fd_st_tensor *t = &f->tensor[i];
        fuzz_touch(t->data, t->bytes);
        float *to = fd_alloc(ctx, (size_t)t->count * sizeof *to);
        fd_status s = to ? fd_safetensors_read_f32(ctx, f, t->name, -1, NULL, to) : FD_E_NOMEM;
        fd_free(to);
        FD_TRY(s);
    }
    for (int i = 0; i < f->nmeta; i++) fuzz_touch(f->meta[i].value, strlen(f->meta[i].value));
    return fd_safetensors_digest(ctx, f->tensor, f->n, digest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fd_ctx ctx = fuzz_ctx();
    fd_safetensors f;
    fd_status s = fd_safetensors_parse(&ctx, (fd_bytes){data, size}, "input", &f);
    if (s == FD_OK) {
        s = read_all(&ctx, &f);
        fd_safetensors_close(&f);
    }
    fuzz_judge(&ctx, s);
    return 0;
}
