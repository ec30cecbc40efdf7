/* err.h — status codes, and the context that carries the message of the first failure.
 *
 * Every function that can fail returns fd_status. The text (what, where, what to do) is written into the context by
 * the place that found the fault; the callers hand the code upwards unchanged with FD_TRY. The first failure wins, so
 * clean-up code that fails too cannot hide the cause. The buffer is fixed: reporting a failure cannot fail.
 */
#ifndef FD_BASE_ERR_H
#define FD_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    FD_OK = 0,
    FD_E_ARG,          /* a flag, option or call argument is wrong         (exit code 2) */
    FD_E_SHAPE,        /* tensor shapes disagree                                        */
    FD_E_FORMAT,       /* a file's contents are not what they should be                 */
    FD_E_IO,           /* the operating system refused: open, read, write, rename       */
    FD_E_NOMEM,        /* memory                                                        */
    FD_E_UNSUPPORTED,  /* valid, but this build or machine cannot                       */
    FD_E_NUMERIC,      /* non-finite numbers where finite ones are needed               */
    FD_E_DEVICE,       /* a compute library reported an error                           */
    FD_E_CANCELLED     /* interrupted by the user; state was saved      (exit code 130) */
} fd_status;

#define FD_MESSAGE_MAX 1024

/* How the algorithm of a convolution is chosen on the CPU (cpu/tune.h): by what was measured before, else by rules; by
 * measuring what is not known yet; by rules alone. */
typedef enum { FD_TUNE_KNOWN, FD_TUNE_ON, FD_TUNE_OFF } fd_tuning;

/* One per thread of control that calls the library; never shared between threads that run at the same time. */
typedef struct fd_ctx {
    fd_status code;                  /* FD_OK, or the code of the first failure since fd_clear  */
    char message[FD_MESSAGE_MAX];    /* its text, one line, "" when there was none              */
    const char *file;                /* source position of the report                           */
    int line;
    int threads;                     /* compute threads; 0 = one per available core             */
    fd_tuning tune;                  /* of convolutions                                         */
    bool large_pages;                /* for big blocks: pays after some seconds of work (mem.c)   */
    bool quiet;                      /* no progress bars                                        */
    bool silent;                     /* nothing on stdout and stderr: the public API            */
    /* Long runs ask it after every step, from their own thread; false: save and stop, as after a signal. NULL: none. */
    bool (*watch)(void *user, int64_t done, int64_t total);
    void *watch_user;
    struct fd_comm *comm;            /* the ranks that share the run (comm/comm.h); NULL: alone */
} fd_ctx;

/* Records a failure (if it is the first) and returns `code`, so that `return FD_FAIL(...)` reads well. */
fd_status fd_fail(fd_ctx *ctx, fd_status code, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* Puts "text: " before the message of the failure on its way up; at most once per layer. Returns ctx->code. */
fd_status fd_while(fd_ctx *ctx, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void fd_clear(fd_ctx *ctx);
const char *fd_status_name(fd_status s);   /* "format", "io", … */

#define FD_FAIL(ctx, code, ...) fd_fail((ctx), (code), __FILE__, __LINE__, __VA_ARGS__)
#define FD_TRY(call)                                  \
    do {                                              \
        fd_status fd_try_status = (call);             \
        if (fd_try_status != FD_OK) return fd_try_status; \
    } while (0)

#define FD_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
