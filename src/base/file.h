/* file.h — files that are either whole or absent.
 *
 * Output goes to "<name>.tmp-<pid>" in the same folder, is synced and then renamed; a program that dies, a full disk
 * or a signal leaves no partial file under the final name.
 */
#ifndef FD_BASE_FILE_H
#define FD_BASE_FILE_H

#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"

typedef struct { const uint8_t *data; size_t size; } fd_bytes;

/* Maps a whole regular file read-only. Owner: the caller, until fd_file_unmap. Empty files map to {"",0}. */
fd_status fd_file_map(fd_ctx *ctx, const char *path, fd_bytes *out);
void fd_file_unmap(fd_bytes *b);

typedef struct fd_outfile {
    FILE *f;
    char path[4096], tmp[4096 + 32];
} fd_outfile;

/* Opens the temporary. Every write must go through fd_outfile_write or be checked by commit (ferror). */
fd_status fd_outfile_open(fd_ctx *ctx, const char *path, fd_outfile *out);
fd_status fd_outfile_write(fd_ctx *ctx, fd_outfile *o, const void *data, size_t bytes);
/* Flush, fsync, close, rename, fsync of the folder. On failure the temporary is removed. */
fd_status fd_outfile_commit(fd_ctx *ctx, fd_outfile *o);
void fd_outfile_abandon(fd_outfile *o);      /* removes the temporary; safe after commit and on {0} */
/* open + write + commit */
fd_status fd_file_write(fd_ctx *ctx, const char *path, const void *data, size_t bytes);
/* The same without waiting for the disk: whole or absent for every failing program, but not for a power cut. For
 * pictures and other things that are made by the thousand and cheap to make again. */
fd_status fd_file_put(fd_ctx *ctx, const char *path, const void *data, size_t bytes);

/* mkdir -p. */
fd_status fd_make_folder(fd_ctx *ctx, const char *path);
bool fd_is_folder(const char *path);
bool fd_file_exists(const char *path);

#endif
