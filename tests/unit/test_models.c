/* Networks: parameter counts of the published sizes, configuration as JSON, strict loading. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/safetensors.h"
#include "models/net.h"

typedef struct { int tensors, filters, attention; int64_t parameters; } counts;

static counts count(const fd_net_config *c) {
    fd_ctx ctx = {0};
    fd_params p;
    counts n = {0};
    fd_params_init(&p);
    if (fd_net_declare(&ctx, c, &p) != FD_OK) fail_msg("%s", ctx.message);
    for (int i = 0; i < p.n; i++) {
        const fd_param *t = &p.list[i];
        n.tensors += !t->buffer;
        n.parameters += t->buffer ? 0 : t->count;
        n.filters += strstr(t->name, "resample_filter") != NULL;
        n.attention += strstr(t->name, "qkv.weight") != NULL;
    }
    assert_null(p.w);      /* counting takes no memory for weights */
    fd_params_free(&p);
    return n;
}

static fd_net_config cifar(fd_family f, int labels, int augment) {
    fd_net_config c;
    fd_net_config_preset(&c, f);
    c.label_dim = labels;
    c.augment_dim = augment;
    return c;
}

/* FFHQ and AFHQv2 at 64x64. */
static fd_net_config at64(fd_family f) {
    fd_net_config c = cifar(f, 0, 9);
    static const int mult[] = {1, 2, 2, 2};
    c.resolution = 64;
    c.levels = 4;
    memcpy(c.channel_mult, mult, sizeof mult);
    return c;
}

static void published_sizes(void **state) {
    (void)state;
    fd_net_config adm = cifar(FD_FAMILY_ADM, 1000, 0);
    const struct { fd_net_config c; int64_t parameters; int tensors, filters, attention; } row[] = {
        {cifar(FD_FAMILY_DDPMPP, 10, 9), 55735299, 419, 8, 6}, {cifar(FD_FAMILY_DDPMPP, 10, 0), 55734147, 418, 8, 6},
        {cifar(FD_FAMILY_DDPMPP, 0, 9), 55733891, 417, 8, 6},  {cifar(FD_FAMILY_NCSNPP, 10, 9), 56400643, 423, 10, 6},
        {cifar(FD_FAMILY_NCSNPP, 0, 9), 56397827, 421, 10, 6}, {at64(FD_FAMILY_DDPMPP), 61805571, 541, 12, 6},
        {at64(FD_FAMILY_NCSNPP), 62761091, 547, 15, 6},        {adm, 295899267, 541, 12, 22},
    };
    for (size_t i = 0; i < FD_COUNT(row); i++) {
        counts n = count(&row[i].c);
        assert_int_equal(n.parameters, row[i].parameters);
        assert_int_equal(n.tensors, row[i].tensors);
        assert_int_equal(n.filters, row[i].filters);
        assert_int_equal(n.attention, row[i].attention);
    }
}

static void head_sizes(void **state) {
    (void)state;
    fd_ctx ctx = {0};
    fd_net_config c = cifar(FD_FAMILY_DDPMPP, 10, 9), adm = cifar(FD_FAMILY_ADM, 1000, 0), heads;
    static const int all[] = {0, 1, 2}, bottleneck[] = {3};
    assert_int_equal(fd_heads_config(&ctx, &c, all, 3, 0, &heads), FD_OK);
    assert_int_equal(count(&heads).parameters, 9444867);
    assert_int_equal(fd_heads_config(&ctx, &adm, bottleneck, 1, 0, &heads), FD_OK);
    assert_int_equal(count(&heads).parameters, 18879745);
    /* Narrow heads on a map of 4 pixels: a single 4x4 convolution from 64 to 16, a norm, the logit. */
    c.resolution = 4;
    c.levels = 1;
    c.channel_mult[0] = 1;
    c.model_channels = 64;
    assert_int_equal(fd_heads_config(&ctx, &c, all, 1, 16, &heads), FD_OK);
    assert_int_equal(count(&heads).parameters, 64 * 16 * 16 + 16 + 32 + 16 + 1);
    heads.head_norm = FD_HEAD_NORM_NONE;
    assert_int_equal(count(&heads).parameters, 64 * 16 * 16 + 16 + 16 + 1);
    heads.label_dim = 10;
    assert_int_equal(count(&heads).parameters, 64 * 16 * 16 + 16 + 16 + 1 + 10 * 16);
}

static void parse_fails(const char *json, const char *part) {
    fd_ctx ctx = {0};
    fd_net_config c;
    assert_int_not_equal(fd_net_config_parse(&ctx, "net.json", json, strlen(json), &c), FD_OK);
    if (!strstr(ctx.message, part) || strncmp(ctx.message, "net.json: ", 10) != 0)
        fail_msg("'%s' should speak of '%s'", ctx.message, part);
}

static void json_errors(void **state) {
    (void)state;
#define REST                                                                                                         \
    "\"image_channels\":3,\"model_channels\":16,\"channel_mult\":[1,2],\"num_blocks\":1,\"attn_resolutions\":[8]"
    parse_fails("{", "no valid JSON");
    parse_fails("[]", "no JSON object");
    parse_fails("{\"family\":\"unet\"}", "needs one of ddpmpp");
    parse_fails("{\"family\":\"ddpmpp\"," REST "}", "resolution is missing");
    parse_fails("{\"family\":\"ddpmpp\",\"resolution\":15," REST "}", "not divisible by 2");
    parse_fails("{\"family\":\"ddpmpp\",\"resolution\":\"16\"," REST "}", "needs an integer");
    parse_fails("{\"family\":\"ddpmpp\",\"resolution\":99999999999," REST "}", "needs an integer");
    parse_fails("{\"family\":\"ddpmpp\",\"resolution\":16,\"img_resolution\":16," REST "}", "are the same");
    parse_fails("{\"family\":\"ddpmpp\",\"resolution\":16,\"widht\":3," REST "}", "'widht' is unknown");
    parse_fails("{\"family\":\"ddpmpp\",\"resolution\":16,\"taps\":[1]," REST "}",
                "'taps' is unknown for family ddpmpp");
    parse_fails("{\"family\":\"ddpmpp\",\"resolution\":16,\"dropout\":1.5," REST "}", "dropout: 1.5");
    parse_fails("{\"family\":\"ddpmpp\",\"resolution\":16,\"resample_filter\":[1,2]," REST "}", "symmetric");
    parse_fails("{\"family\":\"ddpmpp\",\"resolution\":16,\"encoder_type\":\"deep\"," REST "}", "standard");
    parse_fails("{\"family\":\"ddpmpp\",\"resolution\":16,\"decoder_type\":\"residual\"," REST "}", "does not exist");
    parse_fails("{\"family\":\"adm\",\"resolution\":16,\"embedding_type\":\"fourier\"," REST "}", "adm has no");
    parse_fails(
        "{\"family\":\"ddpmpp\",\"resolution\":16,\"model_channels\":18,\"channel_mult\":[1],\"num_blocks\":1,"
        "\"attn_resolutions\":[]}",
        "multiple of 4");
    parse_fails(
        "{\"family\":\"ddpmpp\",\"resolution\":16,\"model_channels\":24,\"channel_mult\":[1,2,4],\"num_blocks\":1,"
        "\"attn_resolutions\":[8]}",
        "at 8x8 (level 1, 24 * 2 channels) the decoder joins 96 and 48 channels, and group norm cannot split 144");
    parse_fails("{\"family\":\"ddpmpp\",\"resolution\":16,\"model_channels\":16,\"channel_mult\":[1,1,1,1,1,1,1,1,1],"
                "\"num_blocks\":1,\"attn_resolutions\":[]}", "at most 8");
    parse_fails(
        "{\"family\":\"heads\",\"resolution\":16,\"taps\":[0,1],\"tap_channels\":[8],\"tap_resolutions\":[16,8]}",
        "tap_channels: 1 entries, but taps has 2");
    parse_fails("{\"family\":\"heads\",\"resolution\":16,\"taps\":[0],\"tap_channels\":[8],\"tap_resolutions\":[4],\"head_norm\":\"batch\"}",
                "head_norm: needs \"group\" or \"none\"");
    parse_fails("{\"family\":\"heads\",\"resolution\":16,\"taps\":[0],\"tap_channels\":[8],\"tap_resolutions\":[2]}",
                "4x4");
    parse_fails("{\"family\":\"classifier\",\"resolution\":16,\"num_blocks\":0,\"channels\":[16],\"classes\":[1]}",
                "classes: 1");
}

/* The rule about widths is the builders': what the check lets pass can be built, whatever the widths. */
static void widths_that_pass_can_be_built(void **state) {
    (void)state;
    int passed = 0, refused = 0;
    for (int channels = 4; channels <= 256; channels += 4)
        for (int mult = 0; mult < 64; mult++)
            for (int adm = 0; adm < 2; adm++) {
                fd_ctx ctx = {0};
                fd_net_config c = cifar(adm ? FD_FAMILY_ADM : FD_FAMILY_DDPMPP, 0, 0);
                c.resolution = 8;
                c.model_channels = channels;
                c.levels = 3;
                for (int i = 0; i < 3; i++) c.channel_mult[i] = (mult >> 2 * i & 3) + 1;
                c.num_blocks = 1 + mult % 2;
                c.nattn = 0;
                if (fd_net_config_check(&ctx, &c) != FD_OK) {
                    refused++;
                    continue;
                }
                fd_params set = {0};
                if (fd_net_declare(&ctx, &c, &set) != FD_OK) fail_msg("passed the check, but: %s", ctx.message);
                fd_params_free(&set);
                passed++;
            }
    assert_true(passed > 1000 && refused > 100);
}

static void round_trip(const fd_net_config *c) {
    fd_ctx ctx = {0};
    fd_arena a = {0};
    const char *one, *two;
    fd_net_config back;
    assert_int_equal(fd_net_config_format(&ctx, &a, c, &one), FD_OK);
    if (fd_net_config_parse(&ctx, "it", one, strlen(one), &back) != FD_OK) fail_msg("%s: %s", ctx.message, one);
    assert_int_equal(fd_net_config_format(&ctx, &a, &back, &two), FD_OK);
    assert_string_equal(one, two);
    fd_arena_free(&a);
}

static fd_net_config tiny(void) {
    fd_net_config c = cifar(FD_FAMILY_NCSNPP, 3, 2);
    c.resolution = 8;
    c.model_channels = 8;
    c.levels = 2;
    c.num_blocks = 1;
    c.attn_resolutions[0] = 4;
    return c;
}

static void json_round_trips(void **state) {
    (void)state;
    fd_ctx ctx = {0};
    fd_net_config c = tiny(), heads;
    c.dropout = 0.1;
    c.label_dropout = 0.2;
    c.encoder_type = c.decoder_type = FD_CODER_SKIP;
    round_trip(&c);
    assert_int_equal(fd_heads_config(&ctx, &c, (int[]){0, 1}, 2, 4, &heads), FD_OK);
    round_trip(&heads);
    heads.head_norm = FD_HEAD_NORM_NONE;
    heads.label_dim = 10;
    round_trip(&heads);
    for (int f = FD_FAMILY_DDPMPP; f <= FD_FAMILY_CLASSIFIER; f++) {
        if (f == FD_FAMILY_HEADS) continue;
        fd_net_config_preset(&c, (fd_family)f);
        round_trip(&c);
    }
    /* EDM's own spelling of two options, and the presets behind what is left out. */
    const char *edm = "{\"family\":\"ncsnpp\",\"img_resolution\":64,\"img_channels\":1,\"model_channels\":32,"
                      "\"channel_mult\":[1,2],"
                      "\"num_blocks\":2,\"attn_resolutions\":[]}";
    if (fd_net_config_parse(&ctx, "it", edm, strlen(edm), &c) != FD_OK) fail_msg("%s", ctx.message);
    assert_int_equal(c.resolution, 64);
    assert_int_equal(c.image_channels, 1);
    assert_int_equal(c.ntaps, 4);
    assert_int_equal(c.encoder_type, FD_CODER_RESIDUAL);
    assert_int_equal(c.channel_mult_noise, 2);
    assert_int_equal(c.nattn, 0);
}

/* Every combination of the options builds and every output is named as EDM names it. */
static void every_option_builds(void **state) {
    (void)state;
    for (int e = 0; e < 3; e++)
        for (int d = 0; d < 2; d++)
            for (int f = 0; f < 2; f++)
                for (int t = 2; t <= 4; t += 2) {
                    fd_net_config c = tiny();
                    c.encoder_type = (fd_coder_type)e;
                    c.decoder_type = (fd_coder_type)d;
                    c.embedding_type = (fd_embedding_type)f;
                    c.ntaps = t;
                    for (int i = 0; i < t; i++) c.resample_filter[i] = i == 0 || i == t - 1 ? 1 : 3;
                    assert_true(count(&c).parameters > 1000);
                }
    fd_net_config c;
    fd_net_config_preset(&c, FD_FAMILY_CLASSIFIER);
    c.resolution = 16;
    int64_t plain = 3 * 16 * 9 + 16 + 16 * 32 * 9 + 32 + 32 * 64 * 9 + 64 + 64 * 64 * 9 + 64 + 64 * 10 + 10;
    assert_int_equal(count(&c).parameters, plain);
    c.num_blocks = 2;
    c.classes[1] = 8;
    c.nclasses = 2;
    assert_true(count(&c).parameters > plain);
}

/* Files --------------------------------------------------------------------------------------------------------- */

static char path[64];

static fd_net *saved(fd_ctx *ctx) {
    fd_net_config c = tiny();
    fd_net *net;
    if (fd_net_new(ctx, &c, &net) != FD_OK) fail_msg("%s", ctx->message);
    fd_net_init_random(net, 7);
    strcpy(net->meta.kind, "student");
    strcpy(net->meta.title, "a \"title\", with ö");
    net->meta.sigma_init = 79.9;
    net->meta.sigma_min = 0.002;
    net->meta.images = 1234567890123;
    if (fd_net_save(ctx, net, NULL, path) != FD_OK) fail_msg("%s", ctx->message);
    return net;
}

static void files_round_trip(void **state) {
    (void)state;
    fd_ctx ctx = {0};
    fd_net *net = saved(&ctx), *back, *copy;
    char a[65], b[65];
    if (fd_net_load(&ctx, path, &back) != FD_OK) fail_msg("%s", ctx.message);
    assert_int_equal(back->params.total, net->params.total);
    assert_memory_equal(back->params.w, net->params.w, sizeof(float) * (size_t)net->params.total);
    assert_memory_equal(&back->meta, &net->meta, sizeof net->meta);
    assert_int_equal(fd_net_digest(&ctx, net, a), FD_OK);
    assert_int_equal(fd_net_digest(&ctx, back, b), FD_OK);
    assert_string_equal(a, b);
    assert_int_equal(fd_net_clone(&ctx, net, &copy), FD_OK);
    copy->params.w[5] += 1;
    assert_int_equal(fd_net_digest(&ctx, copy, b), FD_OK);
    assert_string_not_equal(a, b);
    /* Saving an average instead of the weights. */
    assert_int_equal(fd_net_save(&ctx, net, copy->params.w, path), FD_OK);
    fd_net_free(back);
    if (fd_net_load(&ctx, path, &back) != FD_OK) fail_msg("%s", ctx.message);
    assert_memory_equal(back->params.w, copy->params.w, sizeof(float) * (size_t)net->params.total);
    fd_net_free(net);
    fd_net_free(back);
    fd_net_free(copy);
    unlink(path);
}

typedef enum { DROP, ADD, RESHAPE, RENAME, FILTER, NAN_WEIGHT, NO_CONFIG, DROP_FILTER } fault;

/* Writes the file again with one fault. */
static void spoil(fd_ctx *ctx, fault what) {
    fd_safetensors f = {0};
    static float other[4096];
    if (fd_safetensors_open(ctx, path, &f) != FD_OK) fail_msg("%s", ctx->message);
    static fd_st_tensor t[512];
    int n = 0;
    for (int i = 0; i < f.n; i++) {
        bool victim = strcmp(f.tensor[i].name, "model.enc.8x8_block0.conv0.bias") == 0;
        bool filter = strcmp(f.tensor[i].name, "model.enc.4x4_down.conv0.resample_filter") == 0;
        if ((victim && what == DROP) || (filter && what == DROP_FILTER)) continue;
        t[n] = f.tensor[i];
        if (victim && what == RENAME) t[n].name = "model.enc.8x8_block0.conv0.biass";
        if (victim && what == RESHAPE) {
            t[n].rank = 2;
            t[n].dim[1] = 1;
        }
        if ((victim && what == NAN_WEIGHT) || (filter && what == FILTER)) {
            memcpy(other, t[n].data, t[n].bytes);
            other[2] = what == FILTER ? 1 : __builtin_nanf("");
            t[n].data = other;
        }
        n++;
    }
    static const int64_t one = 1;
    if (what == ADD) {
        t[n] = (fd_st_tensor){
            .name = "model.extra", .dtype = FD_ST_F32, .rank = 1, .data = other, .count = 1, .bytes = 4};
        t[n++].dim[0] = one;
    }
    char out[80];
    snprintf(out, sizeof out, "%s.bad", path);
    if (fd_safetensors_write(ctx, out, t, n, f.meta, what == NO_CONFIG ? 0 : f.nmeta) != FD_OK)
        fail_msg("%s", ctx->message);
    fd_safetensors_close(&f);
    rename(out, path);
}

static void strict_loading(void **state) {
    (void)state;
    const struct { fault what; fd_status code; const char *part; } row[] = {
        {DROP, FD_E_FORMAT, "tensor 'model.enc.8x8_block0.conv0.bias' is missing"},
        {RENAME, FD_E_FORMAT, "tensor 'model.enc.8x8_block0.conv0.bias' is missing"},
        {ADD, FD_E_FORMAT, "tensor 'model.extra' does not belong"},
        {RESHAPE, FD_E_SHAPE, "tensor 'model.enc.8x8_block0.conv0.bias' has shape [16,1], the network wants [16]"},
        {FILTER, FD_E_FORMAT, "conv0.resample_filter' is not the filter"},
        {NAN_WEIGHT, FD_E_NUMERIC, "conv0.bias' holds a NaN or infinity at element 2"},
        {NO_CONFIG, FD_OK, ""},       /* read off the tensors */
        {DROP_FILTER, FD_OK, ""},
    };
    for (size_t i = 0; i < FD_COUNT(row); i++) {
        fd_ctx ctx = {0};
        fd_net *net = saved(&ctx), *back;
        spoil(&ctx, row[i].what);
        fd_status s = fd_net_load(&ctx, path, &back);
        if (s != row[i].code) fail_msg("case %zu: status %s: %s", i, fd_status_name(s), ctx.message);
        if (s == FD_OK) assert_memory_equal(back->params.w, net->params.w, sizeof(float) * (size_t)net->params.total);
        if (s != FD_OK && (!strstr(ctx.message, row[i].part) || !strstr(ctx.message, path)))
            fail_msg("'%s' should name the file and say '%s'", ctx.message, row[i].part);
        fd_net_free(net);
        fd_net_free(s == FD_OK ? back : NULL);
        unlink(path);
    }
}

int main(void) {
    snprintf(path, sizeof path, "/tmp/fd-test-models-%d.safetensors", (int)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_sizes),     cmocka_unit_test(head_sizes),       cmocka_unit_test(json_errors),
        cmocka_unit_test(widths_that_pass_can_be_built),
        cmocka_unit_test(json_round_trips),    cmocka_unit_test(every_option_builds),
        cmocka_unit_test(files_round_trip),    cmocka_unit_test(strict_loading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
