/* zipfile.h — zip archives. Reading goes through libzip with its consistency checks on; names that could leave the
 * archive's root, duplicates, symbolic links and lying sizes are refused. Writing makes stored entries with fixed
 * time stamps, so equal input gives equal bytes, and streams them: nothing is held in memory.
 */
#ifndef FD_IO_ZIPFILE_H
#define FD_IO_ZIPFILE_H

#include "base/file.h"

typedef struct fd_zip fd_zip;

/* Owner: the caller, until fd_zip_close. FORMAT names the archive and the member. */
fd_status fd_zip_open(fd_ctx *ctx, const char *path, fd_zip **out);
/* From memory that the caller keeps; `name` is for messages. */
fd_status fd_zip_open_memory(fd_ctx *ctx, fd_bytes file, const char *name, fd_zip **out);
void fd_zip_close(fd_zip *z);                         /* NULL is allowed */

const char *fd_zip_path(const fd_zip *z);             /* as it was opened, for messages */
int64_t fd_zip_count(const fd_zip *z);
const char *fd_zip_name(const fd_zip *z, int64_t i);  /* '/'-separated; a folder's ends in '/' */
uint64_t fd_zip_size(const fd_zip *z, int64_t i);     /* inflated bytes, as the archive claims */
size_t fd_zip_bytes(const fd_zip *z);                 /* of the whole archive */
int64_t fd_zip_find(const fd_zip *z, const char *name);      /* -1: not there */

/* Reads entry i into the arena and checks size and CRC. An entry larger than `limit` bytes, or claiming more than
 * deflate can expand to, is refused before anything is allocated; so is one that inflates to more than 48 MiB and twice
 * the archive. May be called from several threads (one at a time
 * enters libzip) with different contexts and arenas. */
fd_status fd_zip_read(fd_ctx *ctx, fd_zip *z, int64_t i, fd_arena *arena, size_t limit, fd_bytes *out);

/* A stored entry where it lies, without a copy; valid until fd_zip_close. UNSUPPORTED if it is compressed or
 * encrypted. check: its CRC is computed and compared. */
fd_status fd_zip_view(fd_ctx *ctx, const fd_zip *z, int64_t i, bool check, fd_bytes *out);
uint32_t fd_zip_crc(const fd_zip *z, int64_t i);      /* as the archive claims */

typedef struct fd_zip_writer fd_zip_writer;

fd_status fd_zip_create(fd_ctx *ctx, const char *path, fd_zip_writer **out);
/* Adds an entry whose content is the pieces one after another. Names: relative, '/'-separated, UTF-8; a repeated name
 * is the caller's error and is not looked for. Zip64 records are written when sizes or counts need them. */
fd_status fd_zip_add(fd_ctx *ctx, fd_zip_writer *w, const char *name, const fd_bytes *pieces, int n);
/* Directory, sync, rename. Frees w, also on failure. */
fd_status fd_zip_commit(fd_ctx *ctx, fd_zip_writer *w);
void fd_zip_abandon(fd_zip_writer *w);                /* removes the temporary and frees w; NULL is allowed */

#endif
