/* JSON in, text out, in again: the second text is the first. */
#include <stdlib.h>

#include "fuzz.h"
#include "io/json.h"

static fd_status round_trip(fd_ctx *ctx, const json_t *v) {
    fd_arena arena = {0};
    json_t *again = NULL;
    const char *first = fd_json_dump(ctx, &arena, v, 2), *second = NULL;
    fd_status s = FD_E_NOMEM;
    if (first) s = fd_json_parse(ctx, (fd_bytes){(const uint8_t *)first, strlen(first)}, "again", &again);
    if (s == FD_OK) second = fd_json_dump(ctx, &arena, again, 2);
    if (s == FD_OK && (!second || strcmp(first, second))) {
        fprintf(stderr, "%s\nbecame\n%s\n", first, second ? second : "nothing");
        abort();
    }
    if (s == FD_OK) json_decref(again);
    fd_arena_free(&arena);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fd_ctx ctx = fuzz_ctx();
    json_t *v;
    fd_status s = fd_json_parse(&ctx, (fd_bytes){data, size}, "input", &v);
    if (s == FD_OK) {
        s = round_trip(&ctx, v);
        json_decref(v);
    }
    fuzz_judge(&ctx, s);
    return 0;
}
