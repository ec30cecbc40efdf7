/* version.h — one number for the program, written into everything it makes. */
#ifndef FD_BASE_VERSION_H
#define FD_BASE_VERSION_H

#include "base/err.h"

const char *fd_version(void);      /* "0.1.0" */
const char *fd_software(void);     /* "fdistill 0.1.0", for PNG, npz and safetensors metadata */

#endif
