#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A message is one line, for people and log parsers: control characters of file and tensor names become '?'. */
static void one_line(char *s) {
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f) *s = '?';
}

fd_status fd_fail(fd_ctx *ctx, fd_status code, const char *file, int line, const char *fmt, ...) {
    if (!ctx || ctx->code != FD_OK) return code;
    ctx->code = code;
    ctx->file = file;
    ctx->line = line;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(ctx->message, sizeof ctx->message, fmt, ap);
    va_end(ap);
    one_line(ctx->message);
    return code;
}

fd_status fd_while(fd_ctx *ctx, const char *fmt, ...) {
    char text[FD_MESSAGE_MAX + 256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, 256, fmt, ap);
    va_end(ap);
    if (n < 0) return ctx->code;
    if (n > 255) n = 255;
    snprintf(text + n, sizeof text - (size_t)n, ": %s", ctx->message);
    text[sizeof ctx->message - 1] = 0;
    memcpy(ctx->message, text, strlen(text) + 1);
    one_line(ctx->message);
    return ctx->code;
}

void fd_clear(fd_ctx *ctx) {
    ctx->code = FD_OK;
    ctx->message[0] = 0;
    ctx->file = NULL;
    ctx->line = 0;
}

const char *fd_status_name(fd_status s) {
    switch (s) {
    case FD_OK: return "ok";
    case FD_E_ARG: return "argument";
    case FD_E_SHAPE: return "shape";
    case FD_E_FORMAT: return "format";
    case FD_E_IO: return "io";
    case FD_E_NOMEM: return "memory";
    case FD_E_UNSUPPORTED: return "unsupported";
    case FD_E_NUMERIC: return "numeric";
    case FD_E_DEVICE: return "device";
    case FD_E_CANCELLED: return "cancelled";
    }
    return "unknown";
}
