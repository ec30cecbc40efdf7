/* FID's Inception among foreign files: the names of pytorch-fid's and torch-fidelity's ports, and those of NVIDIA's
 * detector, whose tree of modules is layers = conv, conv_1 … conv_4, mixed, mixed_1 … mixed_10 and output, and whose
 * batch norms have no factor. */
#include <stdio.h>
#include <string.h>

#include "base/sha256.h"
#include "models/import.h"

/* SHA-256 of pt_inception-2015-12-05-6726825d.pth, which pytorch-fid and torch-fidelity share. */
static const char known_file[] = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2";

static const char port_mark[] = "Mixed_7c.branch_pool.conv.weight";
static const char detector_mark[] = "layers.mixed_10.tower_2_conv.weight";

/* ---- names of the detector ------------------------------------------------------------------------------------- */

static void number(char out[16], const char *word, int k) {
    if (k) snprintf(out, 16, "%s_%d", word, k);
    else snprintf(out, 16, "%s", word);
}

/* "3x3dbl_2" of block k to "tower_1.conv_1". */
static bool branch_name(int block, const char *branch, char out[64]) {
    static const char *const last[][2] = {     /* of the two last blocks */
        {"1x1", "conv"}, {"3x3_1", "tower_conv"}, {"3x3_2a", "tower_mixed_conv"}, {"3x3_2b", "tower_mixed_conv_1"},
        {"3x3dbl_1", "tower_1_conv"}, {"3x3dbl_2", "tower_1_conv_1"}, {"3x3dbl_3a", "tower_1_mixed_conv"},
        {"3x3dbl_3b", "tower_1_mixed_conv_1"}, {"_pool", "tower_2_conv"}};
    static const char *const tower[][2] = {{"5x5", "0"}, {"3x3dbl", "1"}, {"7x7", "0"}, {"7x7dbl", "1"}, {"3x3", "0"},
                                           {"7x7x3", "1"}};
    for (size_t i = 0; block >= 9 && i < FD_COUNT(last); i++)
        if (!strcmp(last[i][0], branch)) return snprintf(out, 64, "%s", last[i][1]) > 0;
    if (block >= 9) return false;
    if (!strcmp(branch, "1x1") || !strcmp(branch, "3x3")) return snprintf(out, 64, "conv") > 0;
    if (!strcmp(branch, "_pool")) return snprintf(out, 64, "tower_2.conv") > 0;
    const char *step = strrchr(branch, '_');
    for (size_t i = 0; step && i < FD_COUNT(tower); i++) {
        if (strlen(tower[i][0]) != (size_t)(step - branch) || strncmp(tower[i][0], branch, (size_t)(step - branch)))
            continue;
        char a[16], b[16];
        number(a, "tower", block == 3 ? 0 : tower[i][1][0] - '0');
        number(b, "conv", step[1] - '1');
        return snprintf(out, 64, "%s.%s", a, b) > 0;
    }
    return false;
}

/* The detector's name of one of our tensors; false: it has none. */
static bool detector_name(const char *name, char out[160]) {
    static const char *const field[][2] = {{".conv.weight", "weight"}, {".bn.bias", "beta"},
                                           {".bn.running_mean", "mean"}, {".bn.running_var", "var"}};
    static const char stems[] = "1a2a2b3b4a", blocks[] = "5b5c5d6a6b6c6d6e7a7b7c";
    if (!strncmp(name, "fc.", 3)) return snprintf(out, 160, "output.%s", name + 3) > 0;
    for (size_t i = 0; i < FD_COUNT(field); i++) {
        const size_t n = strlen(name), tail = strlen(field[i][0]);
        char module[64], branch[64], layer[16];
        if (n < tail || strcmp(name + n - tail, field[i][0]) || n - tail >= sizeof module) continue;
        snprintf(module, sizeof module, "%.*s", (int)(n - tail), name);
        for (int k = 0; k < 5 && !strncmp(module, "Conv2d_", 7); k++) {
            if (strncmp(module + 7, stems + 2 * k, 2)) continue;
            number(layer, "conv", k);
            return snprintf(out, 160, "layers.%s.%s", layer, field[i][1]) > 0;
        }
        for (int k = 0; k < 11; k++) {
            if (strncmp(module, "Mixed_", 6) || strncmp(module + 6, blocks + 2 * k, 2)) continue;
            number(layer, "mixed", k);
            if (strncmp(module + 8, ".branch", 7) || !branch_name(k, module + 15, branch)) return false;
            return snprintf(out, 160, "layers.%s.%s.%s", layer, branch, field[i][1]) > 0;
        }
    }
    return false;
}

/* ---- the tree -------------------------------------------------------------------------------------------------- */

/* What stands before the names: "", "inception." …; -1: not this network. */
static int prefix_of(const fd_ck_tree *t, const char *mark) {
    for (int i = 0; i < t->n; i++) {
        size_t n = strlen(t->tensor[i].name), tail = strlen(mark);
        if (n >= tail && !strcmp(t->tensor[i].name + n - tail, mark)) return (int)(n - tail);
    }
    return -1;
}

bool fd_import_is_inception(const fd_ck_tree *t) {
    return prefix_of(t, port_mark) >= 0 || prefix_of(t, detector_mark) >= 0;
}

static bool ends_in(const char *s, const char *tail) {
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && !strcmp(s + n - m, tail);
}

/* Our tensor q under the name it has in the file; *out stays untouched where the file has none. */
static fd_status find_one(fd_ctx *ctx, fd_import *i, const fd_param *q, bool detector, int prefix, bool *used,
                          fd_ck_tree *out) {
    const fd_ck_tree *from = i->tree;
    char name[160];
    const char *want = q->name;
    if (detector && detector_name(q->name, name)) want = name;
    fd_ck_tensor t = {.dtype = "float32", .st_dtype = FD_ST_F32, .rank = q->rank, .count = q->count};
    int k = 0;
    while (k < from->n && strcmp(from->tensor[k].name + (strlen(from->tensor[k].name) >= (size_t)prefix ? prefix : 0), want)) k++;
    if (k < from->n) {
        t = from->tensor[k];
        used[k] = true;
    } else if (detector && ends_in(q->name, ".bn.weight")) {
        float *one;
        FD_NEW(ctx, &i->arena, one, q->count);
        for (int64_t j = 0; j < q->count; j++) one[j] = 1;
        memcpy(t.dim, q->dim, sizeof *q->dim * (size_t)q->rank);
        t.data = one;
    } else return FD_OK;             /* the strict comparison that follows names what is missing */
    if (!(t.name = fd_arena_strdup(ctx, &i->arena, q->name))) return FD_E_NOMEM;
    out->tensor[out->n++] = t;
    return FD_OK;
}

static fd_status rename_all(fd_ctx *ctx, fd_import *i, const fd_params *p, fd_ck_tree *out) {
    const fd_ck_tree *from = i->tree;
    const bool detector = prefix_of(from, port_mark) < 0;
    const int prefix = prefix_of(from, detector ? detector_mark : port_mark);
    bool *used;
    FD_NEW(ctx, &i->arena, used, from->n);
    FD_NEW(ctx, &i->arena, out->tensor, p->n);
    for (int k = 0; k < p->n; k++) FD_TRY(find_one(ctx, i, &p->list[k], detector, prefix, used, out));
    for (int k = 0; k < from->n; k++) {
        const char *name = from->tensor[k].name;
        if (strstr(name, "AuxLogits."))
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: this is torchvision's Inception, not the one that FID is defined on "
                           "(2015-12-05; pytorch-fid's pt_inception-2015-12-05-6726825d.pth)", i->file->path);
        /* Batch norms of torch count the batches they have seen; nothing depends on it. */
        if (!used[k] && !ends_in(name, ".num_batches_tracked"))
            return FD_FAIL(ctx, FD_E_FORMAT, "%s: tensor '%.200s' does not belong to FID's Inception", i->file->path, name);
    }
    return FD_OK;
}

/* Which file it is, by its bytes. */
static fd_status identify(fd_ctx *ctx, fd_import *i) {
    fd_bytes b;
    fd_sha256 h;
    FD_TRY(fd_file_map(ctx, i->file->path, &b));
    fd_sha256_init(&h);
    fd_sha256_add(&h, b.data, b.size);
    fd_sha256_hex(&h, i->meta.parent);
    fd_file_unmap(&b);
    const bool known = !strcmp(i->meta.parent, known_file);
    snprintf(i->meta.kind, sizeof i->meta.kind, "features");
    snprintf(i->meta.title, sizeof i->meta.title, "%s", known ? FD_IMPORT_INCEPTION : "Inception of unknown origin");
    i->note[0] = known ? "the file of pytorch-fid and torch-fidelity (SHA-256 6726825d…): distances are FID"
                       : "not the known file of pytorch-fid and torch-fidelity (SHA-256 6726825d…): whether distances "
                         "are FID depends on where it comes from";
    i->notes = 1;
    return FD_OK;
}

fd_status fd_import_inception(fd_ctx *ctx, fd_import *i, fd_ck_tree *out) {
    fd_params declared;
    *out = *i->tree;
    out->n = 0;
    fd_net_config_preset(&i->config, FD_FAMILY_INCEPTION);
    fd_params_init(&declared);
    fd_status s = fd_net_declare(ctx, &i->config, &declared);
    if (s == FD_OK) s = rename_all(ctx, i, &declared, out);
    fd_params_free(&declared);
    FD_TRY(s);
    return identify(ctx, i);
}
