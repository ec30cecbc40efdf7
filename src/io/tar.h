/* tar.h — members of a tar archive in memory, and what gzip put around it.
 *
 * Only what sets of pictures are distributed in: plain files of ustar, GNU and pax archives. Nothing is unpacked to disk.
 * Source: POSIX.1-2017 pax, "ustar Interchange Format"; RFC 1952.
 */
#ifndef FD_IO_TAR_H
#define FD_IO_TAR_H

#include "base/file.h"

typedef struct fd_tar_member {
    char name[101];               /* as the header has it, without ustar's prefix and GNU's long names */
    fd_bytes data;                /* in place */
} fd_tar_member;

bool fd_is_tar(fd_bytes file);
/* The next plain file from *at on (0 at first); *at moves behind it. *end: there is none. FORMAT for a damaged archive.
 * `path` begins messages. */
fd_status fd_tar_next(fd_ctx *ctx, const char *path, fd_bytes tar, size_t *at, fd_tar_member *out, bool *end);

bool fd_is_gzip(fd_bytes file);
/* The contents, in the arena. FORMAT if damaged, or if more than `limit` bytes come out. */
fd_status fd_gunzip(fd_ctx *ctx, const char *path, fd_bytes file, size_t limit, fd_arena *arena, fd_bytes *out);

#endif
