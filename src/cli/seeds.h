/* seeds.h — lists of seeds as EDM writes them: "0-63,70". */
#ifndef FD_CLI_SEEDS_H
#define FD_CLI_SEEDS_H

#include <stdint.h>

#include "base/arena.h"

#define FD_SEEDS_MAX (1 << 24)

/* Comma list of whole numbers and inclusive ranges, in the order given, into the arena. ARG, with `flag` ("seeds") in
 * the message, for anything else and for more than FD_SEEDS_MAX seeds. */
fd_status fd_seeds_parse(fd_ctx *ctx, fd_arena *arena, const char *flag, const char *text, uint64_t **seeds,
                         int64_t *n);

#endif
