/* attributes.h — what there is to tell about every picture of a set: the targets a feature network learns from. */
#ifndef FD_EVAL_ATTRIBUTES_H
#define FD_EVAL_ATTRIBUTES_H

#include "io/dataset.h"
#include "models/net_config.h"

typedef enum { FD_ATTRIBUTES_LABELS, FD_ATTRIBUTES_SPRITES } fd_attributes_kind;

typedef struct {
    int n;                                  /* attributes */
    int classes[FD_MAX_HEADS];              /* values attribute i can take */
    const char *name[FD_MAX_HEADS];
    int32_t *value[FD_MAX_HEADS];           /* [pictures], 0 … classes[i] - 1; owner: the arena */
} fd_attributes;

/* LABELS   the class labels of the set, one attribute. ARG if it has none or its labels are no classes.
 * SPRITES  shape, hue, background and size, read from the pictures by the exact decoder (sprites_judge.h), so that
 *          any set of true sprites will do. ARG unless the pictures are RGB. */
fd_status fd_attributes_read(fd_ctx *ctx, fd_arena *arena, const fd_dataset *data, fd_attributes_kind kind,
                             fd_attributes *out);

#endif
