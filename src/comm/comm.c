#include "comm/comm.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sha256.h"
#include "comm/transport.h"

#define PIECE (1 << 24)       /* elements or bytes per call of the transport */

/* ---- meeting ------------------------------------------------------------------------------------------------------ */

#ifdef FD_HAVE_MPI
static const fd_transport *const built_in = &fd_transport_mpi;
#else
static const fd_transport *const built_in = NULL;
#endif

const char *fd_comm_transport(void) { return built_in ? built_in->name : NULL; }

/* The first of the variables that is there as a number of at least `least`. */
static int number_from(const char *const *names, int n, int least, int otherwise) {
    for (int i = 0; i < n; i++) {
        const char *text = getenv(names[i]);
        if (text && *text >= '0' && *text <= '9' && atoi(text) >= least) return atoi(text);
    }
    return otherwise;
}

int fd_comm_launched(void) {
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
    int n = number_from(names, (int)FD_COUNT(names), 1, 1);
    /* srun tells its size to everybody, but only those it starts for MPI have a rank among PMIx's. */
    static const char *const slurm[] = {"SLURM_STEP_NUM_TASKS"};
    return n == 1 && getenv("PMIX_RANK") ? number_from(slurm, 1, 1, 1) : n;
}

fd_status fd_comm_open(fd_ctx *ctx, fd_comm **out) {
    static fd_comm one;
    static const char *const local[] = {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"};
    static const char *const place[] = {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"};
    int launched = fd_comm_launched();
    *out = NULL;
    if (launched == 1) return FD_OK;
    if (!built_in)
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "started as one of %d ranks, but this fdistill was built without MPI: install Open "
                       "MPI (Debian: libopenmpi-dev) and build it again, or start it without mpirun", launched);
    one = (fd_comm){.way = built_in};
    FD_TRY(built_in->open(ctx, &one));
    if (one.size != launched)
        return FD_FAIL(ctx, FD_E_UNSUPPORTED, "the launcher started %d ranks, but Open MPI knows of %d: start fdistill with the "
                       "mpirun of the Open MPI it was built with", launched, one.size);
    one.local = number_from(local, (int)FD_COUNT(local), 1, one.size);
    one.place = number_from(place, (int)FD_COUNT(place), 0, one.rank % one.local);
    *out = &one;
    return FD_OK;
}

void fd_comm_close(fd_comm *c) {
    if (c) c->way->close();
}

void fd_comm_abort(fd_comm *c, int code) {
    if (c) c->way->abort_all(code);
}

/* ---- whole arrays ------------------------------------------------------------------------------------------------- */

static int piece(int64_t left) { return left < PIECE ? (int)left : PIECE; }

fd_status fd_comm_sum_f32(fd_ctx *ctx, float *x, int64_t n) {
    if (!ctx->comm) return FD_OK;
    for (int64_t at = 0; at < n; at += PIECE) FD_TRY(ctx->comm->way->sum_f32(ctx, x + at, piece(n - at)));
    return FD_OK;
}

fd_status fd_comm_sum_f64(fd_ctx *ctx, double *x, int64_t n) {
    if (!ctx->comm) return FD_OK;
    for (int64_t at = 0; at < n; at += PIECE) FD_TRY(ctx->comm->way->sum_f64(ctx, x + at, piece(n - at)));
    return FD_OK;
}

fd_status fd_comm_broadcast(fd_ctx *ctx, void *data, size_t bytes, int from) {
    if (!ctx->comm) return FD_OK;
    for (size_t at = 0; at < bytes; at += PIECE)
        FD_TRY(ctx->comm->way->broadcast(ctx, (char *)data + at, piece((int64_t)(bytes - at)), from));
    return FD_OK;
}

fd_status fd_comm_bring(fd_ctx *ctx, void *data, size_t bytes, int from) {
    if (!ctx->comm || from == 0) return FD_OK;
    for (size_t at = 0; at < bytes; at += PIECE)
        FD_TRY(ctx->comm->way->bring(ctx, ctx->comm, (char *)data + at, piece((int64_t)(bytes - at)), from));
    return FD_OK;
}

fd_status fd_comm_barrier(fd_ctx *ctx) { return ctx->comm ? ctx->comm->way->barrier(ctx) : FD_OK; }

fd_status fd_comm_gather(fd_ctx *ctx, const void *mine, size_t bytes, void *all) {
    if (!ctx->comm) {
        if (bytes) memcpy(all, mine, bytes);
        return FD_OK;
    }
    if (bytes > INT_MAX) return FD_FAIL(ctx, FD_E_ARG, "ranks: %zu bytes are too many for one gather", bytes);
    return ctx->comm->way->gather(ctx, mine, (int)bytes, all);
}

/* ---- agreements --------------------------------------------------------------------------------------------------- */

fd_status fd_comm_any(fd_ctx *ctx, bool mine, bool *any) {
    double count = mine;
    FD_TRY(fd_comm_sum_f64(ctx, &count, 1));
    *any = count > 0;
    return FD_OK;
}

fd_status fd_comm_first_word(fd_ctx *ctx, bool found, char *text, size_t size) {
    if (!ctx->comm) return FD_OK;
    fd_arena a = {0};
    bool *all = fd_arena_alloc(ctx, &a, (size_t)ctx->comm->size * sizeof *all);
    fd_status s = all ? fd_comm_gather(ctx, &found, sizeof found, all) : FD_E_NOMEM;
    int who = 0;
    while (s == FD_OK && who < ctx->comm->size && !all[who]) who++;
    if (s == FD_OK && who < ctx->comm->size) s = fd_comm_broadcast(ctx, text, size, who);
    fd_arena_free(&a);
    return s;
}

fd_status fd_comm_same(fd_ctx *ctx, const void *data, size_t bytes, const char *what) {
    if (!ctx->comm) return FD_OK;
    char mine[65], first[65];
    fd_sha256 hash;
    fd_sha256_init(&hash);
    fd_sha256_add(&hash, data, bytes);
    fd_sha256_hex(&hash, mine);
    memcpy(first, mine, sizeof first);
    FD_TRY(fd_comm_broadcast(ctx, first, sizeof first, 0));
    if (!strcmp(mine, first)) return FD_OK;
    return FD_FAIL(ctx, FD_E_NUMERIC, "%s differ from those of rank 0 (%.12s, not %.12s)", what, mine, first);
}
