/* blas.h — OpenBLAS with a fixed number of threads, so that sums are cut the same way on every machine and results have
 * the same bits whatever --threads says. */
#ifndef FD_EVAL_BLAS_H
#define FD_EVAL_BLAS_H

#include <cblas.h>

enum { FD_BLAS_THREADS = 2 };      /* enough: the Fréchet distance of 2048 features takes under 3 s with them */

/* Returns what fd_blas_restore wants. Not for calls from several threads at once. */
static inline int fd_blas_fix(int threads) {
    int before = openblas_get_num_threads();
    if (before != threads) openblas_set_num_threads(threads);
    return before;
}
static inline void fd_blas_restore(int before) {
    if (openblas_get_num_threads() != before) openblas_set_num_threads(before);
}

#endif
