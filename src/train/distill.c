#include "train/distill.h"

fd_distill_method fd_distill_method_defaults(void) {
    return (fd_distill_method){.ratio = fd_ratio_defaults(), .freq = 5, .gan_weight = 1e-3, .r1_alpha = 0.1, .guidance = 1,
                               .sigma_max = 80, .sigma_min = 0.002, .rho = 7, .clip = 10};
}
