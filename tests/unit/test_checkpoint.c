#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/checkpoint.h"
#include "models/import.h"

#define FILES "tests/golden/cases/import/"

static char path[80];

static fd_checkpoint *opened(fd_ctx *ctx, const char *file) {
    fd_checkpoint *c;
    if (fd_checkpoint_open(ctx, file, &c) != FD_OK) fail_msg("%s", ctx->message);
    return c;
}

/* ---- what a file is -------------------------------------------------------------------------------------------- */

static void common_mistakes(void **state) {
    (void)state;
    static const struct { const char *head; size_t n; const char *message; } row[] = {
        {"", 0, "is empty"},
        {"<!DOCTYPE html>", 15, "a web page"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, "git lfs pull"},
        {"GGUF\3\0\0\0", 8, "a GGUF file"},
        {"\x89HDF\r\n\x1a\n", 8, "an HDF5 file"},
        {"\x1f\x8b\x08\0\0\0\0\0\0\0\0\0", 12, "gzip"},
        {"\x89PNG\r\n\x1a\n", 8, "a picture"},
        {"\x93NUMPY\1\0", 8, "a NumPy array"},
        {"PK\3\4aaaa", 8, "no zip archive"},
        {"\1\2\3\4", 4, "0x01 is no opcode"},
    };
    for (size_t i = 0; i < FD_COUNT(row); i++) {
        fd_ctx ctx = {0};
        fd_checkpoint *c;
        fd_bytes b = {(const uint8_t *)row[i].head, row[i].n};
        assert_int_not_equal(fd_checkpoint_parse(&ctx, b, "x.pt", &c), FD_OK);
        assert_null(c);
        if (!strstr(ctx.message, row[i].message) || strncmp(ctx.message, "x.pt: ", 6))
            fail_msg("'%s' should name the file and say '%s'", ctx.message, row[i].message);
    }
    fd_ctx ctx = {0};
    fd_checkpoint *c;
    assert_int_equal(fd_checkpoint_open(&ctx, "nowhere.pt", &c), FD_E_IO);
}

/* Whatever is cut off or changed in a container, nothing worse than a message comes of it. */
static void every_truncation(void **state) {
    (void)state;
    static const char *const files[] = {"attacks/tensor_good_control.pt", "attacks/legacy_good_control.pth",
                                        "attacks/edm_good_control.pkl"};
    for (size_t k = 0; k < FD_COUNT(files); k++) {
        char name[200];
        fd_ctx ctx = {0};
        fd_bytes map;
        snprintf(name, sizeof name, FILES "%s", files[k]);
        assert_int_equal(fd_file_map(&ctx, name, &map), FD_OK);
        for (size_t n = 0; n < map.size; n++) {
            fd_checkpoint *c;
            uint8_t *copy = malloc(n ? n : 1);
            memcpy(copy, map.data, n);
            fd_clear(&ctx);
            fd_status s = fd_checkpoint_parse(&ctx, (fd_bytes){copy, n}, "cut", &c);
            if (s == FD_OK || !ctx.message[0]) fail_msg("%s cut to %zu bytes: %s", files[k], n, fd_status_name(s));
            free(copy);
        }
        uint8_t *copy = malloc(map.size);
        for (size_t i = 0; i < map.size; i++)
            for (int bit = 0; bit < 8; bit += 7) {
                fd_checkpoint *c;
                memcpy(copy, map.data, map.size);
                copy[i] ^= (uint8_t)(1u << bit);
                fd_clear(&ctx);
                fd_status s = fd_checkpoint_parse(&ctx, (fd_bytes){copy, map.size}, "bent", &c);
                assert_true((s == FD_OK) == (ctx.message[0] == 0));
                if (s == FD_OK) fd_checkpoint_close(c);
            }
        free(copy);
        fd_file_unmap(&map);
    }
}

/* ---- networks -------------------------------------------------------------------------------------------------- */

static void import_fails(const char *file, const char *key, fd_status code, const char *message) {
    fd_ctx ctx = {0};
    fd_import in;
    fd_status s = fd_import_open(&ctx, file, &(fd_import_options){.key = key}, &in);
    if (s != code || !strstr(ctx.message, message))
        fail_msg("%s: status %s, '%s' should say '%s'", file, fd_status_name(s), ctx.message, message);
    fd_import_close(&in);
}

static void choosing(void **state) {
    (void)state;
    fd_ctx ctx = {0};
    fd_import in;
    assert_int_equal(fd_import_open(&ctx, FILES "nested.pt", NULL, &in), FD_OK);
    assert_string_equal(in.tree->path, "ema");      /* the average, unless told otherwise */
    assert_false(in.network);
    fd_import_close(&in);
    assert_int_equal(fd_import_open(&ctx, FILES "nested.pt", &(fd_import_options){.key = "model"}, &in), FD_OK);
    assert_string_equal(in.tree->path, "model");
    fd_import_close(&in);
    import_fails(FILES "nested.pt", "mod", FD_E_ARG, "no group of tensors called mod; it has 2: 'model', 'ema'");
    import_fails(FILES "ref_edm2_proto4.pkl", NULL, FD_E_FORMAT, "it holds no network");
    import_fails(FILES "edm_new.pkl", NULL, FD_E_FORMAT, "channel_mult has 2 entries");
}

/* The state of a network under other names, written as a torch file; `extra` is one tensor more. */
typedef enum { NOTHING, SHAPE } change;

static fd_status reimported(fd_ctx *ctx, const char *prefix, const char *extra, change what, fd_import *out) {
    fd_checkpoint *c = opened(ctx, FILES "net_ddpmpp.pkl");
    const fd_ck_tree *t = fd_checkpoint_tree(c, "ema");
    fd_st_tensor *list = calloc((size_t)t->n + 1, sizeof *list);
    fd_arena a = {0};
    static const float zero[4];
    for (int i = 0; i < t->n; i++) {
        assert_int_equal(fd_checkpoint_tensor(ctx, c, &t->tensor[i], &a, &list[i]), FD_OK);
        list[i].name = fd_arena_printf(ctx, &a, "%s%s", prefix, t->tensor[i].name + strlen("model."));
        if (what == SHAPE && strstr(list[i].name, "8x8_block0.norm0.weight")) list[i].dim[0] /= 2;
    }
    list[t->n] = (fd_st_tensor){.name = extra, .dtype = FD_ST_F32, .rank = 1, .dim = {4}, .data = zero};
    assert_int_equal(fd_torch_save(ctx, path, list, t->n + (extra != NULL)), FD_OK);
    free(list);
    fd_arena_free(&a);
    fd_checkpoint_close(c);
    return fd_import_open(ctx, path, NULL, out);
}

static void names(void **state) {
    (void)state;
    static const char *const prefixes[] = {"", "model.", "module.model.", "_orig_mod.model."};
    static const char *const extras[] = {NULL, "logvar_linear.weight", "bins", "model.logvar_linear.bias"};
    fd_ctx ctx = {0};
    fd_net *right, *net;
    assert_int_equal(fd_net_load(&ctx, FILES "net_ddpmpp.pkl", &right), FD_OK);
    for (size_t i = 0; i < FD_COUNT(prefixes); i++) {
        fd_import in;
        if (reimported(&ctx, prefixes[i], extras[i], NOTHING, &in) != FD_OK) fail_msg("%s", ctx.message);
        assert_true(in.network);
        assert_int_equal(in.config.levels, 2);
        assert_int_equal(in.config.label_dim, 3);
        assert_int_equal(in.config.augment_dim, 9);
        assert_int_equal(in.notes, extras[i] ? 3 : 2);      /* no licence, no preconditioning; a tensor left out */
        fd_import_close(&in);
        assert_int_equal(fd_net_load(&ctx, path, &net), FD_OK);
        assert_memory_equal(net->params.w, right->params.w, (size_t)right->params.total * sizeof(float));
        fd_net_free(net);
    }
    fd_net_free(right);
    unlink(path);
}

static void wrong_networks(void **state) {
    (void)state;
    fd_ctx ctx = {0};
    fd_import in;
    fd_st_tensor *t;
    int n;
    int64_t parameters;
    /* outside the prefix that all others have */
    assert_int_equal(reimported(&ctx, "a.", "b.weight", NOTHING, &in), FD_E_FORMAT);
    assert_non_null(strstr(ctx.message, "'b.weight' does not belong to the network, whose names begin with 'a.'"));
    fd_clear(&ctx);
    /* inside it, and a shape that is not the network's: found when the tensors are checked */
    assert_int_equal(reimported(&ctx, "model.", "model.extra", NOTHING, &in), FD_OK);
    assert_int_equal(fd_import_tensors(&ctx, &in, &t, &n, &parameters), FD_E_FORMAT);
    assert_non_null(strstr(ctx.message, "tensor 'model.extra' does not belong"));
    fd_import_close(&in);
    fd_clear(&ctx);
    assert_int_equal(reimported(&ctx, "model.", NULL, SHAPE, &in), FD_OK);
    assert_int_equal(fd_import_tensors(&ctx, &in, &t, &n, &parameters), FD_E_SHAPE);
    assert_non_null(strstr(ctx.message, "8x8_block0.norm0.weight' has shape ["));
    fd_import_close(&in);
    unlink(path);
}

/* ---- writing for torch ----------------------------------------------------------------------------------------- */

static void round_trip(void **state) {
    (void)state;
    fd_ctx ctx = {0};
    static const int64_t big[2] = {INT64_MIN, 1LL << 40};
    static const uint16_t half[3] = {0x3c00, 0x7bff, 0x8001};
    static const float one = 1.5f;
    const fd_st_tensor out[] = {
        {.name = "scalar", .dtype = FD_ST_F32, .rank = 0, .data = &one},
        {.name = "ganz.é", .dtype = FD_ST_I64, .rank = 2, .dim = {2, 1}, .data = big},
        {.name = "half", .dtype = FD_ST_F16, .rank = 1, .dim = {3}, .data = half},
        {.name = "none", .dtype = FD_ST_F64, .rank = 2, .dim = {0, 5}, .data = big},
    };
    if (fd_torch_save(&ctx, path, out, FD_COUNT(out)) != FD_OK) fail_msg("%s", ctx.message);
    fd_checkpoint *c = opened(&ctx, path);
    const fd_ck_tree *t = fd_checkpoint_tree(c, "");
    assert_int_equal(t->n, 4);
    for (int i = 0; i < t->n; i++) {
        fd_arena a = {0};
        fd_st_tensor back;
        assert_string_equal(t->tensor[i].name, out[i].name);
        assert_int_equal(fd_checkpoint_tensor(&ctx, c, &t->tensor[i], &a, &back), FD_OK);
        assert_int_equal(back.dtype, out[i].dtype);
        assert_int_equal(back.rank, out[i].rank);
        assert_memory_equal(back.dim, out[i].dim, sizeof(int64_t) * (size_t)back.rank);
        if (back.bytes) assert_memory_equal(back.data, out[i].data, back.bytes);
        fd_arena_free(&a);
    }
    fd_checkpoint_close(c);
    const fd_st_tensor odd = {.name = "u", .dtype = FD_ST_U64, .rank = 0, .data = big};
    assert_int_equal(fd_torch_save(&ctx, path, &odd, 1), FD_E_UNSUPPORTED);
    assert_non_null(strstr(ctx.message, "torch's old storages have no type U64"));
    unlink(path);
}

int main(void) {
    snprintf(path, sizeof path, "/tmp/fd-test-checkpoint-%d.pt", (int)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(common_mistakes), cmocka_unit_test(every_truncation), cmocka_unit_test(choosing),
        cmocka_unit_test(names), cmocka_unit_test(wrong_networks), cmocka_unit_test(round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
