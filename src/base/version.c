#include "base/version.h"

const char *fd_version(void) { return FD_VERSION; }
const char *fd_software(void) { return "fdistill " FD_VERSION; }
