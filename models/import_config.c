/* The configuration of a U-Net from the names and shapes of its tensors (algorithms.md 3.2, 3.3, 3.5). What is read
 * off here is not trusted: fd_net_check_view compares every tensor with the network that comes out. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/import.h"

/* ---- looking tensors up ---------------------------------------------------------------------------------------- */

typedef struct {
    fd_ctx *ctx;
    const char *where;
    const fd_ck_tree *t;
} lookup;

static const fd_ck_tensor *find(const lookup *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static const fd_ck_tensor *find(const lookup *l, const char *fmt, ...) {
    char name[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    int i = fd_ck_find(l->t, name);
    return i < 0 ? NULL : &l->t->tensor[i];
}

static fd_status need(const lookup *l, const fd_ck_tensor *t, int rank, const char *name) {
    if (!t) return FD_FAIL(l->ctx, FD_E_FORMAT, "%s: looks like a U-Net of EDM's family, but tensor '%s' is missing",
                           l->where, name);
    bool good = t->rank == rank;
    for (int i = 0; good && i < rank; i++) good = t->dim[i] >= 1 && t->dim[i] <= 1 << 20;
    if (good) return FD_OK;
    return FD_FAIL(l->ctx, FD_E_SHAPE, "%s: tensor '%s' has an impossible shape", l->where, t->name);
}

static fd_status quotient(const lookup *l, int64_t whole, int64_t part, const char *what, int *out) {
    if (part < 1 || whole % part || whole / part > 1 << 20)
        return FD_FAIL(l->ctx, FD_E_FORMAT, "%s: %s cannot be told: %lld is not a multiple of %lld", l->where, what,
                       (long long)whole, (long long)part);
    *out = (int)(whole / part);
    return FD_OK;
}

/* ---- parts of the configuration -------------------------------------------------------------------------------- */

static fd_status infer_size(const lookup *l, fd_net_config *c, int64_t *first) {
    const fd_ck_tensor *conv = NULL;
    for (int i = 0; i < l->t->n && !conv; i++) {
        const char *name = l->t->tensor[i].name;
        int a, b, end = 0;
        if (sscanf(name, "enc.%5dx%5d_conv.weight%n", &a, &b, &end) == 2 && end && !name[end] && a == b && a > 0) {
            conv = &l->t->tensor[i];
            c->resolution = a;
        }
    }
    FD_TRY(need(l, conv, 4, "enc.…_conv.weight"));
    c->image_channels = (int)conv->dim[1];
    *first = conv->dim[0];
    return FD_OK;
}

static fd_status infer_widths(const lookup *l, fd_net_config *c) {
    c->levels = c->nattn = 0;
    for (int r = c->resolution; c->levels < FD_MAX_LEVELS; r /= 2) {
        const fd_ck_tensor *conv = find(l, "enc.%dx%d_block0.conv1.weight", r, r);
        if (!conv) break;
        FD_TRY(need(l, conv, 4, conv->name));
        bool attends = false;
        for (int i = 0; i < FD_MAX_BLOCKS; i++) attends |= find(l, "enc.%dx%d_block%d.qkv.weight", r, r, i) != NULL;
        if (attends) c->attn_resolutions[c->nattn++] = r;
        FD_TRY(quotient(l, conv->dim[0], c->model_channels, "a level's width", &c->channel_mult[c->levels++]));
        if (r % 2) break;
    }
    for (c->num_blocks = 0; c->num_blocks < FD_MAX_BLOCKS; c->num_blocks++)
        if (!find(l, "enc.%dx%d_block%d.conv1.weight", c->resolution, c->resolution, c->num_blocks)) break;
    if (c->levels && c->num_blocks) return FD_OK;
    return need(l, NULL, 4, "enc.…_block0.conv1.weight");
}

/* Row sums of outer(v, v)/sum(v)^2 are v/sum(v); the smallest tap becomes 1. */
static fd_status infer_filter(const lookup *l, fd_net_config *c) {
    const fd_ck_tensor *f = NULL;
    for (int i = 0; i < l->t->n && !f; i++)
        if (strstr(l->t->tensor[i].name, "resample_filter")) f = &l->t->tensor[i];
    if (!f || c->family == FD_FAMILY_ADM) return FD_OK;
    fd_arena a = {0};
    fd_st_tensor st = {0};
    float w[16];
    if (f->rank != 4 || f->dim[2] != f->dim[3] || f->count != f->dim[2] * f->dim[2] || f->count > 16 || f->count < 1)
        return FD_FAIL(l->ctx, FD_E_SHAPE, "%s: tensor '%s' has an impossible shape", l->where, f->name);
    const fd_checkpoint c0 = {.path = l->where};
    fd_status s = fd_checkpoint_tensor(l->ctx, &c0, f, &a, &st);
    if (s == FD_OK) fd_st_to_f32(st.dtype, st.data, st.count, w);
    fd_arena_free(&a);
    FD_TRY(s);
    int n = c->ntaps = (int)f->dim[2];
    float v[4], least = INFINITY;
    for (int i = 0; i < n; i++) {
        v[i] = 0;
        for (int k = 0; k < n; k++) v[i] += w[i * n + k];
        if (v[i] > 0 && v[i] < least) least = v[i];
    }
    for (int i = 0; i < n; i++) c->resample_filter[i] = isfinite(least) ? roundf(v[i] / least * 1024) / 1024 : v[i];
    return FD_OK;
}

static fd_status infer_song(const lookup *l, fd_net_config *c) {
    int r = c->resolution, low = r >> (c->levels - 1);
    bool residual = find(l, "enc.%dx%d_aux_residual.weight", r / 2, r / 2) != NULL;
    c->embedding_type = find(l, "map_noise.freqs") ? FD_EMBEDDING_FOURIER : FD_EMBEDDING_POSITIONAL;
    c->encoder_type = residual                                           ? FD_CODER_RESIDUAL
                      : find(l, "enc.%dx%d_aux_skip.weight", r / 2, r / 2) ? FD_CODER_SKIP
                                                                           : FD_CODER_STANDARD;
    c->decoder_type = low != r && find(l, "dec.%dx%d_aux_conv.weight", low, low) ? FD_CODER_SKIP : FD_CODER_STANDARD;
    return infer_filter(l, c);
}

fd_status fd_import_infer(fd_ctx *ctx, const char *where, const fd_ck_tree *t, fd_net_config *out) {
    lookup look = {ctx, where, t}, *l = &look;
    fd_net_config *c = out;
    bool adm = find(l, "out_conv.weight") != NULL, ncsn = find(l, "map_noise.freqs") != NULL;
    int64_t first = 0;
    fd_net_config_preset(c, adm ? FD_FAMILY_ADM : ncsn ? FD_FAMILY_NCSNPP : FD_FAMILY_DDPMPP);
    FD_TRY(infer_size(l, c, &first));
    const fd_ck_tensor *map = find(l, "map_layer0.weight"), *label = find(l, "map_label.weight");
    const fd_ck_tensor *augment = find(l, "map_augment.weight");
    FD_TRY(need(l, map, 2, "map_layer0.weight"));
    /* SongUNet's first convolution is model_channels wide, ADM's model_channels * channel_mult[0]. */
    c->model_channels = (int)(adm ? map->dim[1] : first);
    FD_TRY(quotient(l, map->dim[0], c->model_channels, "channel_mult_emb", &c->channel_mult_emb));
    FD_TRY(quotient(l, map->dim[1], c->model_channels, "channel_mult_noise", &c->channel_mult_noise));
    if (label) FD_TRY(need(l, label, 2, label->name));
    if (augment) FD_TRY(need(l, augment, 2, augment->name));
    c->label_dim = label ? (int)label->dim[1] : 0;
    c->augment_dim = augment ? (int)augment->dim[1] : 0;
    FD_TRY(infer_widths(l, c));
    if (!adm) FD_TRY(infer_song(l, c));
    if (fd_net_config_check(ctx, c) != FD_OK) return fd_while(ctx, "%s", where);
    return FD_OK;
}

/* ---- preconditioning --------------------------------------------------------------------------------------------- */

bool fd_import_precond(const char *class_name, fd_precond_type *out) {
    static const char *const names[] = {"EDMPrecond", "VPPrecond", "VEPrecond", "iDDPMPrecond"};
    for (size_t i = 0; i < FD_COUNT(names); i++)
        if (!strcmp(class_name, names[i])) return *out = (fd_precond_type)i, true;
    return false;
}

/* ---- constructor arguments ------------------------------------------------------------------------------------- */

static fd_status contradiction(fd_ctx *ctx, const char *where, const char *key, int64_t said, int64_t is) {
    return FD_FAIL(ctx, FD_E_FORMAT, "%s: the file says %s = %lld, but its tensors have %lld: it is damaged or was "
                   "changed", where, key, (long long)said, (long long)is);
}

static fd_status same_int(fd_ctx *ctx, const char *where, const fd_pk *arguments, const char *key, int is) {
    const fd_pk *v = fd_pk_get(arguments, key);
    int64_t said;
    if (!v || v->kind == FD_PK_NONE || !fd_pk_int(v, &said) || said == is) return FD_OK;
    return contradiction(ctx, where, key, said, is);
}

static fd_status same_list(fd_ctx *ctx, const char *where, const fd_pk *arguments, const char *key, const int *is,
                           int n) {
    const fd_pk *v = fd_pk_get(arguments, key);
    if (!fd_pk_is(v, FD_PK_LIST) && !fd_pk_is(v, FD_PK_TUPLE)) return FD_OK;
    if ((int)v->n != n)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: the file says that %s has %u entries, but its tensors have %d levels: it "
                       "is damaged, or not the network that it seems to be", where, key, v->n, n);
    for (int i = 0; i < n; i++) {
        int64_t said = 0;
        if (!fd_pk_int(v->item[i], &said) || said != is[i]) return contradiction(ctx, where, key, said, is[i]);
    }
    return FD_OK;
}

static fd_status take_real(fd_ctx *ctx, const char *where, const fd_pk *from, const char *key, double *out) {
    double v;
    if (!fd_pk_real(fd_pk_get(from, key), &v)) return FD_OK;
    if (!isfinite(v)) return FD_FAIL(ctx, FD_E_FORMAT, "%s: %s is not a finite number", where, key);
    *out = v;
    return FD_OK;
}

fd_status fd_import_arguments(fd_ctx *ctx, const char *where, const fd_pk *attributes, fd_net_config *c) {
    const fd_pk *a = fd_pk_get(attributes, "_init_kwargs");
    static const struct { const char *key; fd_precond_type of; double usual; } constants[] = {
        {"beta_d", FD_PRECOND_VP, 19.9}, {"beta_min", FD_PRECOND_VP, 0.1}, {"M", FD_PRECOND_VP, 1000},
        {"M", FD_PRECOND_IDDPM, 1000}, {"C_1", FD_PRECOND_IDDPM, 0.001}, {"C_2", FD_PRECOND_IDDPM, 0.008}};
    for (size_t i = 0; i < FD_COUNT(constants); i++) {
        double v = constants[i].usual;
        if (constants[i].of == c->precond) FD_TRY(take_real(ctx, where, attributes, constants[i].key, &v));
        if (fabs(v - constants[i].usual) > 1e-9)
            return FD_FAIL(ctx, FD_E_UNSUPPORTED, "%s: preconditioning %s with %s = %g; only %g is known here", where,
                           fd_precond_name(c->precond), constants[i].key, v, constants[i].usual);
    }
    if (c->precond == FD_PRECOND_EDM) FD_TRY(take_real(ctx, where, attributes, "sigma_data", &c->sigma_data));
    if (!a) return FD_OK;
    FD_TRY(same_int(ctx, where, a, "img_resolution", c->resolution));
    FD_TRY(same_int(ctx, where, a, "img_channels", c->image_channels));
    FD_TRY(same_int(ctx, where, a, "label_dim", c->label_dim));
    FD_TRY(same_int(ctx, where, a, "augment_dim", c->augment_dim));
    FD_TRY(same_int(ctx, where, a, "model_channels", c->model_channels));
    FD_TRY(same_int(ctx, where, a, "num_blocks", c->num_blocks));
    FD_TRY(same_int(ctx, where, a, "channel_mult_emb", c->channel_mult_emb));
    FD_TRY(same_int(ctx, where, a, "channel_mult_noise", c->channel_mult_noise));
    FD_TRY(same_list(ctx, where, a, "channel_mult", c->channel_mult, c->levels));
    FD_TRY(take_real(ctx, where, a, "dropout", &c->dropout));
    FD_TRY(take_real(ctx, where, a, "label_dropout", &c->label_dropout));
    if (fd_net_config_check(ctx, c) != FD_OK) return fd_while(ctx, "%s", where);
    return FD_OK;
}
