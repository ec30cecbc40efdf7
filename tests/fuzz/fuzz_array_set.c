/* CIFAR's archives and MNIST's files. The sums in tar headers are put right first, or hardly an input would get past them. */
#include "fuzz.h"
#include "io/array_set.h"
#include "io/tar.h"

static void right_sums(uint8_t *p, size_t n) {
    for (size_t at = 0; n - at >= 512;) {
        char sum_text[8];
        unsigned sum = 0;
        size_t size = 0;
        memset(p + at + 148, ' ', 8);
        for (int i = 0; i < 512; i++) sum += p[at + (size_t)i];
        snprintf(sum_text, sizeof sum_text, "%06o", sum);
        memcpy(p + at + 148, sum_text, 7);
        for (int i = 124; i < 135; i++) size = size * 8 + (p[at + (size_t)i] & 7);
        size_t left = n - at - 512;
        at += 512 + (size > left ? left : (size + 511) / 512 * 512 > left ? left : (size + 511) / 512 * 512);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *copy = fd_alloc(&(fd_ctx){0}, size);
    if (!copy) return 0;
    memcpy(copy, data, size);
    if (fd_is_tar((fd_bytes){copy, size})) right_sums(copy, size);
    const char *path = fuzz_file(copy, size);
    fd_free(copy);
    if (!path) return 0;
    fd_ctx ctx = fuzz_ctx();
    fd_array_set s;
    fd_status status = fd_array_set_open(&ctx, path, &s);
    fuzz_judge(&ctx, status);
    for (int64_t i = 0; status == FD_OK && i < s.n && i < 100; i++) {
        fd_image m;
        if (s.classes && (s.label[i] < 0 || s.label[i] >= s.classes)) __builtin_trap();
        if ((int64_t)s.h * s.w > 1 << 20 || fd_array_set_image(&ctx, &s, i, &m) != FD_OK) break;
        fuzz_touch(m.p, (size_t)m.c * (size_t)m.h * (size_t)m.w);
        fd_image_free(&m);
    }
    fd_array_set_close(&s);
    return 0;
}
