#include "cli/job_options.h"

const char *const fd_lr_shape_names[] = {"none", "linear", "cosine", NULL};
const char *const fd_auto_word[] = {"auto", NULL};

fd_job_extra fd_job_extra_of(const fd_job_options *j, const fd_lr *lr) {
    return (fd_job_extra){.precision = j->dtype == FD_BF16, .lr_shape = lr->shape, .lr_ramp = lr->ramp,
                          .lr_start = lr->start};
}

void fd_job_resolve(fd_job_options *j, const fd_job_extra *x, bool iterations_given, fd_lr *const *lr, int n_lr) {
    if (iterations_given) j->duration = (double)x->iterations * j->batch;
    j->dtype = x->precision ? FD_BF16 : FD_F32;
    for (int i = 0; i < n_lr; i++) {
        lr[i]->shape = (fd_lr_shape)x->lr_shape;
        lr[i]->ramp = x->lr_ramp;
        lr[i]->start = x->lr_start;
    }
}
