/* library.h — functions of a library that is loaded only when it is needed (MPI, cuDNN, NCCL), so that one program runs where
 * it is missing. */
#ifndef FD_BASE_LIBRARY_H
#define FD_BASE_LIBRARY_H

#include <stddef.h>

typedef struct { const char *name; void *to; } fd_symbol;        /* to: where its address goes */

/* Fills all places from a library of dlopen. NULL, or the name of the first that it lacks. */
const char *fd_library_find(void *library, const fd_symbol *symbol, size_t n);

#endif
