#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

fd_status fd_file_map(fd_ctx *ctx, const char *path, fd_bytes *out) {
    *out = (fd_bytes){(const uint8_t *)"", 0};
    int f = open(path, O_RDONLY | O_CLOEXEC);
    if (f < 0) return FD_FAIL(ctx, FD_E_IO, "%s: cannot open: %s", path, strerror(errno));
    struct stat st;
    fd_status status = FD_OK;
    if (fstat(f, &st)) {
        status = FD_FAIL(ctx, FD_E_IO, "%s: cannot read: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        status = FD_FAIL(ctx, FD_E_IO, "%s: %s: a regular file is needed", path,
                         S_ISDIR(st.st_mode) ? "is a folder" : "is not a regular file");
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, f, 0);
        if (p == MAP_FAILED) status = FD_FAIL(ctx, FD_E_IO, "%s: cannot map: %s", path, strerror(errno));
        else *out = (fd_bytes){p, (size_t)st.st_size};
    }
    close(f);
    return status;
}

void fd_file_unmap(fd_bytes *b) {
    if (b->size) munmap((void *)b->data, b->size);
    *b = (fd_bytes){0};
}

static fd_status write_failed(fd_ctx *ctx, const char *path, int error) {
    return FD_FAIL(ctx, FD_E_IO, "%s: cannot write: %s%s", path, strerror(error),
                   error == ENOSPC || error == EDQUOT ? ": free some space or choose another folder" : "");
}

fd_status fd_outfile_open(fd_ctx *ctx, const char *path, fd_outfile *out) {
    *out = (fd_outfile){0};
    if (strlen(path) >= sizeof out->path)
        return FD_FAIL(ctx, FD_E_ARG, "%.60s…: file name longer than %zu bytes", path, sizeof out->path - 1);
    if (fd_is_folder(path)) return FD_FAIL(ctx, FD_E_IO, "%s: is a folder: give a file name", path);
    strcpy(out->path, path);
    snprintf(out->tmp, sizeof out->tmp, "%s.tmp-%ld", path, (long)getpid());
    int f = open(out->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (f >= 0) out->f = fdopen(f, "wb");
    if (out->f) return FD_OK;
    int error = errno;
    if (f >= 0) {
        close(f);
        unlink(out->tmp);
    }
    out->tmp[0] = 0;
    return FD_FAIL(ctx, FD_E_IO, "%s: cannot create: %s", path, strerror(error));
}

fd_status fd_outfile_write(fd_ctx *ctx, fd_outfile *o, const void *data, size_t bytes) {
    if (bytes && fwrite(data, 1, bytes, o->f) != bytes) return write_failed(ctx, o->path, errno);
    return FD_OK;
}

/* A rename survives a power cut only when the folder itself has reached the disk. */
static void sync_folder_of(const char *path) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (slash && n == 0) strcpy(folder, "/");
    else if (!slash) strcpy(folder, ".");
    else {
        memcpy(folder, path, n);
        folder[n] = 0;
    }
    int f = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f < 0) return;
    fsync(f);           /* some network file systems cannot; the file itself is synced already */
    close(f);
}

static fd_status commit(fd_ctx *ctx, fd_outfile *o, bool sync) {
    errno = 0;
    int error = 0;
    if (fflush(o->f) || ferror(o->f)) error = errno ? errno : EIO;
    if (sync && !error && fsync(fileno(o->f)) && errno != EINVAL) error = errno;
    if (fclose(o->f) && !error) error = errno;
    o->f = NULL;
    if (!error && rename(o->tmp, o->path)) error = errno;
    if (error) {
        fd_outfile_abandon(o);
        return write_failed(ctx, o->path, error);
    }
    if (sync) sync_folder_of(o->path);
    o->tmp[0] = 0;
    return FD_OK;
}

fd_status fd_outfile_commit(fd_ctx *ctx, fd_outfile *o) { return commit(ctx, o, true); }

void fd_outfile_abandon(fd_outfile *o) {
    if (o->f) fclose(o->f);
    o->f = NULL;
    if (o->tmp[0]) unlink(o->tmp);
    o->tmp[0] = 0;
}

static fd_status write_whole(fd_ctx *ctx, const char *path, const void *data, size_t bytes, bool sync) {
    fd_outfile o;
    FD_TRY(fd_outfile_open(ctx, path, &o));
    fd_status s = fd_outfile_write(ctx, &o, data, bytes);
    if (s == FD_OK) return commit(ctx, &o, sync);
    fd_outfile_abandon(&o);
    return s;
}

fd_status fd_file_write(fd_ctx *ctx, const char *path, const void *data, size_t bytes) {
    return write_whole(ctx, path, data, bytes, true);
}

fd_status fd_file_put(fd_ctx *ctx, const char *path, const void *data, size_t bytes) {
    return write_whole(ctx, path, data, bytes, false);
}

fd_status fd_make_folder(fd_ctx *ctx, const char *path) {
    char part[4096];
    size_t n = strlen(path);
    if (!n || n >= sizeof part)
        return FD_FAIL(ctx, FD_E_ARG, "%.60s: folder name is empty or longer than %zu bytes", path, sizeof part - 1);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != 0) continue;
        char keep = part[i];
        part[i] = 0;
        if (mkdir(part, 0777)) {
            int error = errno;
            if (!fd_is_folder(part))
                return FD_FAIL(ctx, FD_E_IO, "%s: cannot make folder: %s", part,
                               error == EEXIST ? "a file of this name is in the way" : strerror(error));
        }
        part[i] = keep;
    }
    return FD_OK;
}

bool fd_is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool fd_file_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}
