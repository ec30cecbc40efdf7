#include "graph/params.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"

void fd_params_init(fd_params *p) { memset(p, 0, sizeof *p); }

void fd_params_free(fd_params *p) {
    fd_free(p->own);
    if (!p->g_lent) fd_free(p->g);
    fd_arena_free(&p->arena);
    memset(p, 0, sizeof *p);
}

int fd_params_find(const fd_params *p, const char *name) {
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->list[i].name, name) == 0) return i;
    return -1;
}

static void print_dims(char *out, size_t size, int rank, const int64_t *dim) {
    size_t at = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < rank && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%lld", i ? "," : "", (long long)dim[i]);
    if (at < size) snprintf(out + at, size - at, "]");
}

static fd_status check_same(fd_ctx *ctx, const fd_param *have, const char *name, int rank, const int64_t *dim) {
    bool same = have->rank == rank;
    for (int i = 0; same && i < rank; i++) same = have->dim[i] == dim[i];
    if (same) return FD_OK;
    char a[96], b[96];
    print_dims(a, sizeof a, have->rank, have->dim);
    print_dims(b, sizeof b, rank, dim);
    return FD_FAIL(ctx, FD_E_SHAPE, "tensor '%s' has shape %s, the network wants %s", name, a, b);
}

fd_status fd_params_declare(fd_ctx *ctx, fd_params *p, const char *name, int rank, const int64_t *dim, bool buffer,
                            const fd_init *init, int *index) {
    int found = fd_params_find(p, name);
    if (found >= 0) {
        *index = found;
        return check_same(ctx, &p->list[found], name, rank, dim);
    }
    if (p->frozen) return FD_FAIL(ctx, FD_E_SHAPE, "the network has no tensor '%s'", name);
    if (p->n == p->capacity) {
        int capacity = p->capacity ? 2 * p->capacity : 64;
        fd_param *list;
        FD_NEW(ctx, &p->arena, list, capacity);   /* the old list stays in the arena until the set is freed */
        if (p->n) memcpy(list, p->list, (size_t)p->n * sizeof *list);
        p->list = list;
        p->capacity = capacity;
    }
    fd_param *t = &p->list[p->n];
    *t = (fd_param){.rank = rank, .buffer = buffer, .init = *init, .count = 1};
    t->name = fd_arena_strdup(ctx, &p->arena, name);
    if (!t->name) return FD_E_NOMEM;
    for (int i = 0; i < rank; i++) {
        t->dim[i] = dim[i];
        t->count *= dim[i];
    }
    *index = p->n++;
    return FD_OK;
}

fd_status fd_params_freeze(fd_ctx *ctx, fd_params *p) {
    const int64_t line = FD_ALIGN / sizeof(float);
    int64_t at = 0;
    for (int buffers = 0; buffers < 2; buffers++) {
        for (int i = 0; i < p->n; i++) {
            if (p->list[i].buffer != (buffers == 1)) continue;
            p->list[i].offset = at;
            at += (p->list[i].count + line - 1) / line * line;
            if (!buffers) p->count_trained += p->list[i].count;
        }
        if (!buffers) p->trained = at;
    }
    p->total = at;
    p->own = p->w = fd_alloc(ctx, fd_mul_size((size_t)at, sizeof(float)));
    if (!p->w) return FD_E_NOMEM;
    p->frozen = true;
    p->version = 1;
    return FD_OK;
}

fd_status fd_params_need_grads(fd_ctx *ctx, fd_params *p) {
    if (p->g) return FD_OK;
    p->g = fd_alloc(ctx, fd_mul_size((size_t)p->trained, sizeof(float)));
    return p->g ? FD_OK : FD_E_NOMEM;
}

fd_status fd_params_borrow_grads(fd_ctx *ctx, fd_params *p, fd_params *lender) {
    FD_TRY(fd_params_need_grads(ctx, lender));
    if (p->g == lender->g) return FD_OK;
    if (p->g || p->trained != lender->trained)
        return FD_FAIL(ctx, FD_E_SHAPE, "gradients of %lld numbers cannot lie in the memory of %lld", (long long)p->trained,
                       (long long)lender->trained);
    p->g = lender->g;
    p->g_lent = true;
    return FD_OK;
}

static void fill_filter(float *w, const fd_init *in) {
    float sum = 0;
    for (int i = 0; i < in->ntaps; i++) sum += in->taps[i];
    for (int i = 0; i < in->ntaps; i++)
        for (int j = 0; j < in->ntaps; j++) w[i * in->ntaps + j] = in->taps[i] * in->taps[j] / (sum * sum);
}

/* The range (uniform) or deviation (normal) of a drawn initialiser; *normal tells which. */
static double spread(const fd_init *in, bool *normal) {
    double fi = (double)in->fan_in, fo = (double)in->fan_out;
    *normal = in->kind == FD_INIT_XAVIER_NORMAL || in->kind == FD_INIT_KAIMING_NORMAL || in->kind == FD_INIT_NORMAL;
    switch (in->kind) {
    case FD_INIT_XAVIER_UNIFORM: return in->scale * sqrt(6.0 / (fi + fo));
    case FD_INIT_XAVIER_NORMAL: return in->scale * sqrt(2.0 / (fi + fo));
    case FD_INIT_KAIMING_UNIFORM: return in->scale * sqrt(3.0 / fi);
    case FD_INIT_KAIMING_NORMAL: return in->scale * sqrt(1.0 / fi);
    default: return in->scale;
    }
}

void fd_params_initialise(fd_params *p, uint64_t seed) {
    for (int i = 0; i < p->n; i++) {
        const fd_param *t = &p->list[i];
        float *w = p->w + t->offset;
        if (t->init.kind == FD_INIT_FILTER) { fill_filter(w, &t->init); continue; }
        if (t->init.kind == FD_INIT_ZERO || t->init.kind == FD_INIT_ONE) {
            for (int64_t k = 0; k < t->count; k++) w[k] = t->init.kind == FD_INIT_ONE;
            continue;
        }
        bool normal;
        double s = spread(&t->init, &normal);
        fd_rng r = {seed, FD_RNG_INIT, fd_hash_text(t->name)};
        for (int64_t k = 0; k < t->count; k++) {
            double u = normal ? fd_rng_normal(&r, (uint64_t)k) : 2 * fd_rng_uniform(&r, (uint64_t)k) - 1;
            w[k] = (float)(s * u);
        }
    }
    fd_params_touch(p);
}

void fd_params_touch(fd_params *p) { p->version++; }

float *fd_params_use(fd_params *p, float *w) {
    float *before = p->w;
    p->w = w;
    fd_params_touch(p);
    return before;
}
