/* zip_names.h — the rule for member names that reader and writer share. */
#ifndef FD_IO_ZIP_NAMES_H
#define FD_IO_ZIP_NAMES_H

#include "base/err.h"

/* FORMAT if a member's name is empty, absolute, has a drive letter or back-slash, or climbs with "..". */
fd_status fd_zip_check_name(fd_ctx *ctx, const char *archive, const char *name);

#endif
