#include "models/net_config.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "models/inception.h"

static const char *const family_names[] = {"ddpmpp", "ncsnpp", "adm", "heads", "classifier", "inception", NULL};
/* Words of a description, in the order of their enumerations. */
static const char *const embedding_names[] = {"positional", "fourier", NULL};
static const char *const precond_names[] = {"edm", "vp", "ve", "iddpm", NULL};
static const char *const coder_names[] = {"standard", "skip", "residual", NULL};
const char *const fd_head_norm_names[] = {"group", "none", NULL};

const char *fd_family_name(fd_family f) { return family_names[f]; }
const char *fd_precond_name(fd_precond_type p) { return precond_names[p]; }

void fd_net_config_preset(fd_net_config *c, fd_family family) {
    *c = (fd_net_config){.family = family, .resolution = 32, .image_channels = 3};
    if (family == FD_FAMILY_HEADS) return;
    if (family == FD_FAMILY_INCEPTION) {
        c->resolution = FD_INCEPTION_SIDE;
        return;
    }
    if (family == FD_FAMILY_CLASSIFIER) {
        static const int small[] = {16, 32, 64, 64};
        c->nchannels = 4;
        memcpy(c->channels, small, sizeof small);
        c->classes[0] = 10;
        c->nclasses = 1;
        return;
    }
    bool ncsn = family == FD_FAMILY_NCSNPP;
    c->model_channels = 128;
    c->levels = 3;
    for (int i = 0; i < 3; i++) c->channel_mult[i] = 2;
    c->num_blocks = 4;
    c->attn_resolutions[0] = 16;
    c->nattn = 1;
    c->channel_mult_emb = 4;
    c->channel_mult_noise = ncsn ? 2 : 1;
    c->embedding_type = ncsn ? FD_EMBEDDING_FOURIER : FD_EMBEDDING_POSITIONAL;
    c->encoder_type = ncsn ? FD_CODER_RESIDUAL : FD_CODER_STANDARD;
    static const float wide[] = {1, 3, 3, 1}, box[] = {1, 1};
    c->ntaps = ncsn ? 4 : 2;
    memcpy(c->resample_filter, ncsn ? wide : box, sizeof(float) * (size_t)c->ntaps);
    c->sigma_data = 0.5;
    if (family == FD_FAMILY_ADM) {
        c->resolution = 64;
        c->model_channels = 192;
        c->levels = 4;
        for (int i = 0; i < 4; i++) c->channel_mult[i] = i + 1;
        c->num_blocks = 3;
        c->nattn = 3;
        for (int i = 0; i < 3; i++) c->attn_resolutions[i] = 32 >> i;
    }
}

fd_status fd_heads_config(fd_ctx *ctx, const fd_net_config *u, const int *levels, int n, int width,
                          fd_net_config *out) {
    fd_net_config_preset(out, FD_FAMILY_HEADS);
    if (n < 1 || n > FD_MAX_HEADS)
        return FD_FAIL(ctx, FD_E_ARG, "discriminator heads: %d taps, need 1 to %d", n, FD_MAX_HEADS);
    out->resolution = u->resolution;
    out->image_channels = u->image_channels;
    out->ntap = n;
    out->head_width = width;
    for (int i = 0; i < n; i++) {
        if (levels[i] < 0 || levels[i] >= u->levels)
            return FD_FAIL(ctx, FD_E_ARG,
                           "discriminator tap %d: level %d does not exist; the teacher has levels 0 to %d", i,
                           levels[i], u->levels - 1);
        if (i && levels[i] <= levels[i - 1])
            return FD_FAIL(ctx, FD_E_ARG,
                           "discriminator taps: level %d after level %d; list them in ascending order, once each",
                           levels[i], levels[i - 1]);
        out->taps[i] = levels[i];
        out->tap_channels[i] = fd_tap_channels(u, levels[i]);
        out->tap_resolutions[i] = fd_tap_resolution(u, levels[i]);
    }
    return fd_net_config_check(ctx, out);
}

/* Validation ---------------------------------------------------------------------------------------------------- */

static fd_status range(fd_ctx *ctx, const char *key, int v, int low, int high) {
    if (v < low || v > high)
        return FD_FAIL(ctx, FD_E_ARG, "network option %s: %d is not in %d … %d", key, v, low, high);
    return FD_OK;
}

static fd_status probability(fd_ctx *ctx, const char *key, double p) {
    if (!(p >= 0 && p < 1)) return FD_FAIL(ctx, FD_E_ARG, "network option %s: %g is not in [0, 1)", key, p);
    return FD_OK;
}

/* GroupNorm takes min(32, C/4) groups of equal size. */
static bool has_groups(int64_t c) { return c % 4 == 0 && (c <= 128 || c % 32 == 0); }

static fd_status width(fd_ctx *ctx, const char *key, int64_t c) {
    if (c > 65536)
        return FD_FAIL(ctx, FD_E_ARG, "network option %s: %lld channels, at most 65536", key, (long long)c);
    if (!has_groups(c))
        return FD_FAIL(ctx, FD_E_ARG,
                       "network option %s: %lld channels; group norm needs a multiple of 4, and of 32 above 128", key,
                       (long long)c);
    return FD_OK;
}

/* What the decoder joins, the way up and an encoder output of that level, goes through a group norm too. */
static fd_status check_joins(fd_ctx *ctx, const fd_net_config *c) {
    for (int i = 0; i < c->levels; i++) {
        int own = c->channel_mult[i], above = c->channel_mult[i ? i - 1 : 0];
        int64_t below = (int64_t)c->model_channels * c->channel_mult[i + 1 < c->levels ? i + 1 : i];
        int64_t stem = i || c->family == FD_FAMILY_ADM ? (int64_t)c->model_channels * above : c->model_channels;
        int64_t here = (int64_t)c->model_channels * own, pair[][2] = {{below, here}, {here, here}, {here, stem}};
        for (size_t k = 0; k < FD_COUNT(pair); k++) {
            int64_t sum = pair[k][0] + pair[k][1];
            if (has_groups(sum)) continue;
            return FD_FAIL(ctx, FD_E_ARG,
                           "network options model_channels, channel_mult: at %dx%d (level %d, %d * %d channels) the decoder "
                           "joins %lld and %lld channels, and group norm cannot split %lld into 32 groups; make "
                           "model_channels a multiple of 32",
                           c->resolution >> i, c->resolution >> i, i, c->model_channels, own, (long long)pair[k][0],
                           (long long)pair[k][1], (long long)sum);
        }
    }
    return FD_OK;
}

/* ADM's attention has one head per 64 channels; the deepest level always attends. */
static fd_status check_attention(fd_ctx *ctx, const fd_net_config *c) {
    for (int i = 0; i < c->levels; i++) {
        int64_t here = (int64_t)c->model_channels * c->channel_mult[i], heads = here / 64;
        bool attends = i == c->levels - 1;
        for (int k = 0; k < c->nattn; k++) attends = attends || c->attn_resolutions[k] == c->resolution >> i;
        if (attends && heads && here % heads)
            return FD_FAIL(ctx, FD_E_ARG,
                           "network options model_channels, channel_mult: at %dx%d %lld channels do not divide among %lld "
                           "attention heads of 64; make model_channels a multiple of 64",
                           c->resolution >> i, c->resolution >> i, (long long)here, (long long)heads);
    }
    return FD_OK;
}

static fd_status check_unet(fd_ctx *ctx, const fd_net_config *c) {
    bool adm = c->family == FD_FAMILY_ADM;
    FD_TRY(range(ctx, "levels of channel_mult", c->levels, 1, FD_MAX_LEVELS));
    FD_TRY(range(ctx, "model_channels", c->model_channels, 4, 8192));
    FD_TRY(range(ctx, "num_blocks", c->num_blocks, 1, FD_MAX_BLOCKS));
    FD_TRY(range(ctx, "label_dim", c->label_dim, 0, 1 << 20));
    FD_TRY(range(ctx, "augment_dim", c->augment_dim, 0, 4096));
    FD_TRY(range(ctx, "channel_mult_emb", c->channel_mult_emb, 1, 64));
    FD_TRY(range(ctx, "channel_mult_noise", c->channel_mult_noise, 1, 64));
    FD_TRY(range(ctx, "resample_filter taps", c->ntaps, 2, 4));
    FD_TRY(probability(ctx, "dropout", c->dropout));
    FD_TRY(probability(ctx, "label_dropout", c->label_dropout));
    FD_TRY(width(ctx, "model_channels", c->model_channels));
    for (int i = 0; i < c->levels; i++) {
        FD_TRY(range(ctx, "channel_mult", c->channel_mult[i], 1, 1024));
        FD_TRY(width(ctx, "model_channels * channel_mult", (int64_t)c->model_channels * c->channel_mult[i]));
    }
    FD_TRY(check_joins(ctx, c));
    if (adm) FD_TRY(check_attention(ctx, c));
    int unit = 1 << (c->levels - 1);
    if (c->resolution % unit)
        return FD_FAIL(ctx, FD_E_ARG, "network option resolution: %d is not divisible by %d, which %d levels need",
                       c->resolution, unit, c->levels);
    if (c->ntaps == 3 || c->resample_filter[0] != c->resample_filter[c->ntaps - 1] ||
        c->resample_filter[1] != c->resample_filter[c->ntaps - 2])
        return FD_FAIL(ctx, FD_E_ARG,
                       "network option resample_filter: needs 2 or 4 symmetric taps such as [1,1] or [1,3,3,1]");
    float sum = 0;
    for (int i = 0; i < c->ntaps; i++) sum += c->resample_filter[i];
    if (!(sum > 1e-6f && sum < 1e6f))
        return FD_FAIL(ctx, FD_E_ARG, "network option resample_filter: taps sum to %g", sum);
    for (int i = 0; i < c->nattn; i++) FD_TRY(range(ctx, "attn_resolutions", c->attn_resolutions[i], 1, 1 << 14));
    if (!(c->sigma_data > 0 && c->sigma_data < 1e6))
        return FD_FAIL(ctx, FD_E_ARG, "network option sigma_data: %g is not positive", c->sigma_data);
    if (adm && (c->embedding_type != FD_EMBEDDING_POSITIONAL || c->encoder_type != FD_CODER_STANDARD ||
                c->decoder_type != FD_CODER_STANDARD || c->ntaps != 2 || c->channel_mult_noise != 1))
        return FD_FAIL(ctx, FD_E_ARG, "network option family: adm has no embedding_type, encoder_type, decoder_type, "
                       "resample_filter or channel_mult_noise to choose; leave them out");
    if (c->decoder_type == FD_CODER_RESIDUAL)
        return FD_FAIL(ctx, FD_E_ARG, "network option decoder_type: 'residual' does not exist; use standard or skip");
    return FD_OK;
}

static fd_status check_heads(fd_ctx *ctx, const fd_net_config *c) {
    FD_TRY(range(ctx, "taps of the heads", c->ntap, 1, FD_MAX_HEADS));
    FD_TRY(range(ctx, "width of the heads", c->head_width, 0, 65536));
    FD_TRY(range(ctx, "label_dim of the heads", c->label_dim, 0, 1 << 20));
    for (int i = 0; i < c->ntap; i++) {
        FD_TRY(range(ctx, "taps of the heads", c->taps[i], 0, FD_MAX_LEVELS - 1));
        FD_TRY(range(ctx, "channels of the heads", c->tap_channels[i], 1, 65536));
        FD_TRY(range(ctx, "resolutions of the heads (a 4x4 convolution ends each head)", c->tap_resolutions[i], 4,
                     1 << 14));
    }
    return FD_OK;
}

static fd_status check_classifier(fd_ctx *ctx, const fd_net_config *c) {
    FD_TRY(range(ctx, "stages of channels", c->nchannels, 1, FD_MAX_LEVELS));
    FD_TRY(range(ctx, "num_blocks", c->num_blocks, 0, FD_MAX_BLOCKS));
    FD_TRY(range(ctx, "attributes of classes", c->nclasses, 1, FD_MAX_HEADS));
    for (int i = 0; i < c->nchannels; i++) {
        FD_TRY(range(ctx, "channels", c->channels[i], 1, 65536));
        if (c->num_blocks) FD_TRY(width(ctx, "channels", c->channels[i]));
    }
    for (int i = 0; i < c->nclasses; i++) FD_TRY(range(ctx, "classes", c->classes[i], 2, 1 << 20));
    return FD_OK;
}

fd_status fd_net_config_check(fd_ctx *ctx, const fd_net_config *c) {
    FD_TRY(range(ctx, "resolution", c->resolution, 1, 1 << 14));
    FD_TRY(range(ctx, "image_channels", c->image_channels, 1, 1024));
    if (fd_is_unet(c->family)) return check_unet(ctx, c);
    if (c->family == FD_FAMILY_INCEPTION) {
        FD_TRY(range(ctx, "resolution of inception", c->resolution, FD_INCEPTION_SIDE, FD_INCEPTION_SIDE));
        return range(ctx, "image_channels of inception", c->image_channels, 3, 3);
    }
    return c->family == FD_FAMILY_HEADS ? check_heads(ctx, c) : check_classifier(ctx, c);
}

/* JSON ---------------------------------------------------------------------------------------------------------- */

/* One row per key: where it goes and for which families. Reading and writing walk the same table. */
enum { IN_UNET = 1, IN_HEADS = 2, IN_CLASSIFIER = 4, IN_INCEPTION = 8, IN_ALL = 15 };
typedef enum { INT, REAL, INTS, FLOATS, EMBEDDING, CODER, PRECOND, HEAD_NORM } field_kind;
/* The kinds that are enumerations; all are as large as an int. */
static const char *const *const words_of[] = {
    [EMBEDDING] = embedding_names, [CODER] = coder_names, [PRECOND] = precond_names, [HEAD_NORM] = fd_head_norm_names,
};
typedef struct {
    const char *key, *alias;     /* alias: EDM's constructor argument where its name differs */
    field_kind kind;
    int families, capacity;      /* capacity: longest list */
    size_t offset, length;       /* of the list's count in the struct */
    bool required;
} field;
#define AT(member) offsetof(fd_net_config, member)
#define LIST(member, count) FD_COUNT(((fd_net_config *)0)->member), AT(member), AT(count)
static const field fields[] = {
    {"resolution", "img_resolution", INT, IN_ALL, 0, AT(resolution), 0, true},
    {"image_channels", "img_channels", INT, IN_ALL, 0, AT(image_channels), 0, false},
    {"model_channels", NULL, INT, IN_UNET, 0, AT(model_channels), 0, true},
    {"channel_mult", NULL, INTS, IN_UNET, LIST(channel_mult, levels), true},
    {"num_blocks", NULL, INT, IN_UNET | IN_CLASSIFIER, 0, AT(num_blocks), 0, true},
    {"attn_resolutions", NULL, INTS, IN_UNET, LIST(attn_resolutions, nattn), true},
    {"label_dim", NULL, INT, IN_UNET | IN_HEADS, 0, AT(label_dim), 0, false},
    {"augment_dim", NULL, INT, IN_UNET, 0, AT(augment_dim), 0, false},
    {"channel_mult_emb", NULL, INT, IN_UNET, 0, AT(channel_mult_emb), 0, false},
    {"channel_mult_noise", NULL, INT, IN_UNET, 0, AT(channel_mult_noise), 0, false},
    {"dropout", NULL, REAL, IN_UNET, 0, AT(dropout), 0, false},
    {"label_dropout", NULL, REAL, IN_UNET, 0, AT(label_dropout), 0, false},
    {"embedding_type", NULL, EMBEDDING, IN_UNET, 0, AT(embedding_type), 0, false},
    {"encoder_type", NULL, CODER, IN_UNET, 0, AT(encoder_type), 0, false},
    {"decoder_type", NULL, CODER, IN_UNET, 0, AT(decoder_type), 0, false},
    {"resample_filter", NULL, FLOATS, IN_UNET, LIST(resample_filter, ntaps), false},
    {"precond", NULL, PRECOND, IN_UNET, 0, AT(precond), 0, false},
    {"sigma_data", NULL, REAL, IN_UNET, 0, AT(sigma_data), 0, false},
    {"taps", NULL, INTS, IN_HEADS, LIST(taps, ntap), true},
    {"tap_channels", NULL, INTS, IN_HEADS, LIST(tap_channels, ntap), true},
    {"tap_resolutions", NULL, INTS, IN_HEADS, LIST(tap_resolutions, ntap), true},
    {"head_width", NULL, INT, IN_HEADS, 0, AT(head_width), 0, false},
    {"head_norm", NULL, HEAD_NORM, IN_HEADS, 0, AT(head_norm), 0, false},
    {"channels", NULL, INTS, IN_CLASSIFIER, LIST(channels, nchannels), true},
    {"classes", NULL, INTS, IN_CLASSIFIER, LIST(classes, nclasses), true},
};

static int families_of(fd_family f) {
    if (f == FD_FAMILY_INCEPTION) return IN_INCEPTION;
    return fd_is_unet(f) ? IN_UNET : f == FD_FAMILY_HEADS ? IN_HEADS : IN_CLASSIFIER;
}

static int name_index(const char *const *names, const json_t *v) {
    for (int i = 0; json_is_string(v) && names[i]; i++)
        if (strcmp(names[i], json_string_value(v)) == 0) return i;
    return -1;
}

static fd_status unknown_word(fd_ctx *ctx, const char *where, const field *f) {
    const char *const *words = words_of[f->kind];
    char list[64] = "";
    for (int i = 0; words[i]; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s\"%s\"", !i ? "" : words[i + 1] ? ", " : " or ", words[i]);
    return FD_FAIL(ctx, FD_E_FORMAT, "%s: network option %s: needs %s", where, f->key, list);
}

static bool read_int(const json_t *v, int *out) {
    if (!json_is_integer(v)) return false;
    json_int_t i = json_integer_value(v);
    if (i < -(1 << 30) || i > (1 << 30)) return false;
    *out = (int)i;
    return true;
}

static fd_status read_list(fd_ctx *ctx, const char *where, const field *f, const json_t *v, fd_net_config *c) {
    size_t n = json_array_size(v);
    if (!json_is_array(v) || n > (size_t)f->capacity)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: network option %s: needs a list of at most %d numbers", where, f->key,
                       f->capacity);
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_array_get(v, i);
        bool ok = f->kind == INTS ? read_int(e, (int *)((char *)c + f->offset) + i) : json_is_number(e);
        if (!ok) return FD_FAIL(ctx, FD_E_FORMAT, "%s: network option %s: entry %zu is no %s", where, f->key, i,
                                f->kind == INTS ? "integer" : "number");
        if (f->kind == FLOATS) ((float *)((char *)c + f->offset))[i] = (float)json_number_value(e);
    }
    int *count = (int *)((char *)c + f->length);
    /* The lists of the heads run in parallel and share their count. */
    if (f->families == IN_HEADS && strcmp(f->key, "taps") != 0 && *count != (int)n)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: network option %s: %zu entries, but taps has %d", where, f->key, n,
                       *count);
    *count = (int)n;
    return FD_OK;
}

static fd_status read_field(fd_ctx *ctx, const char *where, const field *f, const json_t *v, fd_net_config *c) {
    void *at = (char *)c + f->offset;
    int i;
    switch (f->kind) {
    case INT:
        if (read_int(v, at)) return FD_OK;
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: network option %s: needs an integer", where, f->key);
    case REAL:
        if (!json_is_number(v))
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: network option %s: needs a number", where, f->key);
        *(double *)at = json_number_value(v);
        return FD_OK;
    case INTS:
    case FLOATS:
        return read_list(ctx, where, f, v, c);
    default:
        if ((i = name_index(words_of[f->kind], v)) < 0) return unknown_word(ctx, where, f);
        *(int *)at = i;
        return FD_OK;
    }
}

static const field *field_named(const char *key, int families) {
    for (size_t i = 0; i < FD_COUNT(fields); i++)
        if (fields[i].families & families &&
            (strcmp(fields[i].key, key) == 0 || (fields[i].alias && strcmp(fields[i].alias, key) == 0)))
            return &fields[i];
    return NULL;
}

static fd_status read_object(fd_ctx *ctx, const char *where, json_t *o, fd_net_config *c) {
    if (!json_is_object(o)) return FD_FAIL(ctx, FD_E_FORMAT, "%s: the network description is no JSON object", where);
    int family = name_index(family_names, json_object_get(o, "family"));
    if (family < 0)
        return FD_FAIL(ctx, FD_E_FORMAT,
                       "%s: network option family: needs one of ddpmpp, ncsnpp, adm, heads, classifier, inception", where);
    fd_net_config_preset(c, (fd_family)family);
    int families = families_of(c->family);
    const char *key;
    json_t *v;
    json_object_foreach(o, key, v) {
        if (strcmp(key, "family") != 0 && !field_named(key, families))
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: network option '%.60s' is unknown for family %s", where, key,
                           family_names[family]);
    }
    /* In the table's order, not the file's: parallel lists need their count first. */
    for (size_t i = 0; i < FD_COUNT(fields); i++) {
        const field *f = &fields[i];
        if (!(f->families & families)) continue;
        json_t *plain = json_object_get(o, f->key), *alias = f->alias ? json_object_get(o, f->alias) : NULL;
        if (plain && alias)
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: network options %s and %s are the same", where, f->key, f->alias);
        v = plain ? plain : alias;
        if (v) FD_TRY(read_field(ctx, where, f, v, c));
        else if (f->required) return FD_FAIL(ctx, FD_E_FORMAT, "%s: network option %s is missing", where, f->key);
    }
    if (fd_net_config_check(ctx, c) != FD_OK) return fd_while(ctx, "%s", where);
    return FD_OK;
}

fd_status fd_net_config_parse(fd_ctx *ctx, const char *where, const char *json, size_t bytes, fd_net_config *out) {
    json_error_t e;
    json_t *o = json_loadb(json, bytes, JSON_REJECT_DUPLICATES, &e);
    if (!o)
        return FD_FAIL(ctx, FD_E_FORMAT, "%s: the network description is no valid JSON: %s (byte %d)", where, e.text,
                       e.position);
    fd_status s = read_object(ctx, where, o, out);
    json_decref(o);
    return s;
}

static json_t *write_field(const field *f, const fd_net_config *c) {
    const void *at = (const char *)c + f->offset;
    switch (f->kind) {
    case INT: return json_integer(*(const int *)at);
    case REAL: return json_real(*(const double *)at);
    case INTS:
    case FLOATS: break;
    default: return json_string(words_of[f->kind][*(const int *)at]);
    }
    json_t *a = json_array();
    int n = *(const int *)((const char *)c + f->length);
    for (int i = 0; i < n; i++)
        json_array_append_new(a, f->kind == INTS ? json_integer(((const int *)at)[i])
                                                 : json_real(((const float *)at)[i]));
    return a;
}

fd_status fd_net_config_format(fd_ctx *ctx, fd_arena *arena, const fd_net_config *c, const char **json) {
    json_t *o = json_object();
    int families = families_of(c->family);
    bool adm = c->family == FD_FAMILY_ADM;
    json_object_set_new(o, "family", json_string(family_names[c->family]));
    for (size_t i = 0; i < FD_COUNT(fields); i++) {
        const field *f = &fields[i];
        bool song_only =
            f->kind == EMBEDDING || f->kind == CODER || f->kind == FLOATS || f->offset == AT(channel_mult_noise);
        if (f->families & families && !(adm && song_only)) json_object_set_new(o, f->key, write_field(f, c));
    }
    size_t n = json_dumpb(o, NULL, 0, JSON_COMPACT | JSON_REAL_PRECISION(17));
    char *text = n ? fd_arena_alloc(ctx, arena, n + 1) : NULL;
    if (text) {
        json_dumpb(o, text, n, JSON_COMPACT | JSON_REAL_PRECISION(17));
        text[n] = 0;
    }
    json_decref(o);
    *json = text;
    if (!text && ctx->code == FD_OK) return FD_FAIL(ctx, FD_E_NOMEM, "network description: out of memory");
    return text ? FD_OK : FD_E_NOMEM;
}
