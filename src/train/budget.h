/* budget.h — where a training's memory goes, said before its first step. */
#ifndef FD_TRAIN_BUDGET_H
#define FD_TRAIN_BUDGET_H

#include "graph/params.h"
#include "run/backend.h"

/* Bytes on the device that computes. What it leaves out: the program and its libraries, copies of weights in the layouts of
 * convolutions, and on a processor the pictures that are kept decoded. */
typedef struct fd_budget {
    size_t weights, gradients, moments, averages;
    size_t pass;                  /* activations, work space and batches of one pass */
} fd_budget;

/* Weights, gradient and AdamW's moments of a network that is trained, and n averages of it. */
void fd_budget_add(fd_budget *b, const fd_params *p, int averages);
/* Weights alone. */
void fd_budget_add_frozen(fd_budget *b, const fd_params *p);
/* One line in the arena: "weights 212.4, gradients …, a pass of 32 images 940.0: 1652.3 MiB". */
const char *fd_budget_text(fd_ctx *ctx, fd_arena *a, const fd_budget *b, int images, const fd_backend *backend);

#endif
