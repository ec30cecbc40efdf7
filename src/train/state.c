#include "train/state.h"

#include <inttypes.h>
#include <string.h>

#define KIND "fdistill.kind"
#define KIND_STATE "training-state"
#define OPTIONS "fdistill.options"

fd_status fd_state_add(fd_ctx *ctx, fd_state *s, const char *name, fd_st_dtype dtype, void *data, int64_t count) {
    if (s->n == FD_STATE_ITEMS) return FD_FAIL(ctx, FD_E_ARG, "training state: more than %d arrays", FD_STATE_ITEMS);
    fd_state_item *it = &s->list[s->n++];
    *it = (fd_state_item){.dtype = dtype, .data = data, .count = count};
    snprintf(it->name, sizeof it->name, "%s", name);
    return FD_OK;
}

fd_status fd_state_save(fd_ctx *ctx, const fd_state *s, const char *path, const char *options) {
    fd_st_tensor t[FD_STATE_ITEMS] = {0};
    for (int i = 0; i < s->n; i++)
        t[i] = (fd_st_tensor){.name = s->list[i].name, .dtype = s->list[i].dtype, .rank = 1, .dim = {s->list[i].count},
                              .data = s->list[i].data};
    fd_st_meta meta[] = {{KIND, KIND_STATE}, {OPTIONS, options}};
    return fd_safetensors_write(ctx, path, t, s->n, meta, (int)FD_COUNT(meta));
}

static fd_status check(fd_ctx *ctx, const fd_state *s, const fd_safetensors *f, const char *options) {
    const char *kind = fd_safetensors_meta(f, KIND), *theirs = fd_safetensors_meta(f, OPTIONS);
    if (!kind || strcmp(kind, KIND_STATE) != 0 || !theirs)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: is no training state", f->path);
    if (strcmp(theirs, options) != 0)
        return FD_FAIL(ctx, FD_E_ARG, "%s: was written by a run with other options; give the same ones, or start a new run",
                       f->path);
    if (f->n != s->n)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: holds %d arrays, this run has %d", f->path, f->n, s->n);
    for (int i = 0; i < s->n; i++) {
        const fd_st_tensor *t = fd_safetensors_find(f, s->list[i].name);
        if (!t) return FD_FAIL(ctx, FD_E_FORMAT, "%s: array '%s' is missing", f->path, s->list[i].name);
        if (t->dtype != s->list[i].dtype || t->count != s->list[i].count)
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: array '%s' has %" PRId64 " %s elements, this run has %" PRId64 " %s",
                           f->path, t->name, t->count, fd_st_dtype_name(t->dtype), s->list[i].count,
                           fd_st_dtype_name(s->list[i].dtype));
    }
    return FD_OK;
}

fd_status fd_state_load(fd_ctx *ctx, const fd_state *s, const char *path, const char *options) {
    fd_safetensors f;
    FD_TRY(fd_safetensors_open(ctx, path, &f));
    fd_status status = check(ctx, s, &f, options);
    for (int i = 0; status == FD_OK && i < s->n; i++) {
        const fd_st_tensor *t = fd_safetensors_find(&f, s->list[i].name);
        memcpy(s->list[i].data, t->data, t->bytes);
    }
    fd_safetensors_close(&f);
    return status;
}
