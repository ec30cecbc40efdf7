/* A picture: PNG, JPEG, BMP, PGM or PPM, and the texts in a PNG. */
#include "fuzz.h"
#include "io/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fd_ctx ctx = fuzz_ctx();
    fd_arena arena = {0};
    fd_image image;
    fd_status s = fd_image_decode(&ctx, (fd_bytes){data, size}, "input", &image);
    fuzz_judge(&ctx, s);
    if (s == FD_OK) fuzz_touch(image.p, (size_t)image.w * (size_t)image.h * (size_t)image.c);
    if (s == FD_OK) fd_image_free(&image);
    const char *text = fd_png_find_text(&ctx, &arena, (fd_bytes){data, size}, "seed");
    if (text) fuzz_touch(text, strlen(text) + 1);
    fd_arena_free(&arena);
    return 0;
}
