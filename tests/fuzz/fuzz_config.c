/* The JSON that describes a network; what is accepted must come back from its own text, and be declarable. */
#include <stdlib.h>

#include "fuzz.h"
#include "models/net.h"

static fd_status round_trip(fd_ctx *ctx, const fd_net_config *c) {
    const char *text;
    fd_arena arena = {0};
    fd_net_config again;
    fd_status s = fd_net_config_format(ctx, &arena, c, &text);
    if (s == FD_OK) s = fd_net_config_parse(ctx, "again", text, strlen(text), &again);
    fd_arena_free(&arena);
    if (s != FD_OK) {
        fprintf(stderr, "an accepted configuration was refused: %s\n", ctx->message);
        abort();
    }
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fd_ctx ctx = fuzz_ctx();
    fd_net_config c;
    fd_status s = fd_net_config_parse(&ctx, "input", (const char *)data, size, &c);
    if (s == FD_OK) s = round_trip(&ctx, &c);
    if (s == FD_OK) {
        fd_params set;
        fd_params_init(&set);
        s = fd_net_declare(&ctx, &c, &set);
        fd_params_free(&set);
    }
    fuzz_judge(&ctx, s);
    return 0;
}
