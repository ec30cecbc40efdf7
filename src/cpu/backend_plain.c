/* The CPU backend of a tree without src/cpu/backend_cpu.c: the plain references for every op. Not compiled otherwise. */
#include "run/backend.h"

const fd_backend *fd_backend_cpu(void) { return fd_backend_reference(); }
