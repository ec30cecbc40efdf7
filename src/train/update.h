/* update.h — train/optim.h where the weights are: on the host, or on the device that computed the gradients, so that
 * nothing of the size of a network crosses between them in a step.
 *
 * On a device the newest gradients, weights, moments and averages are there. Whoever reads host blocks afterwards calls
 * fd_twins_to_host (run/twin.h) first.
 */
#ifndef FD_TRAIN_UPDATE_H
#define FD_TRAIN_UPDATE_H

#include "graph/params.h"
#include "run/twin.h"
#include "train/optim.h"

#define FD_UPDATER_BLOCKS 32

typedef struct fd_updater {
    const fd_device *device;      /* NULL: the host */
    fd_twin *held[FD_UPDATER_BLOCKS], *reserved[FD_UPDATER_BLOCKS];
    int n, n_reserved;
} fd_updater;                     /* {0}: the host */

void fd_updater_close(fd_updater *u);      /* before the blocks are freed */

/* Memory on the device for a block, now: so that a training that does not fit is told before its first step. No-op on the host, or
 * the second time. */
fd_status fd_updater_reserve(fd_ctx *ctx, fd_updater *u, const float *host, int64_t count);

/* g = 0 */
fd_status fd_updater_clear(fd_ctx *ctx, fd_updater *u, fd_params *p);
/* g becomes the sum over the ranks (comm/comm.h): on a device by its own library, or else through g. */
fd_status fd_updater_sum(fd_ctx *ctx, fd_updater *u, fd_params *p);
/* fd_grad_measure of g */
fd_status fd_updater_measure(fd_ctx *ctx, fd_updater *u, const fd_range *range, int n, fd_params *p, fd_grad_stats *out);
/* fd_adamw_step on w; the weights are then marked as changed. m, v [trained]; averages [total]. */
fd_status fd_updater_adamw(fd_ctx *ctx, fd_updater *u, const fd_adam *o, int64_t step, const fd_range *range, int n, fd_params *p,
                           float *m, float *v, double grad_scale, const fd_ema *emas, int n_emas);
/* fd_ema_update for each average */
fd_status fd_updater_average(fd_ctx *ctx, fd_updater *u, const fd_range *range, int n, fd_params *p, const fd_ema *emas,
                             int n_emas);

#endif
