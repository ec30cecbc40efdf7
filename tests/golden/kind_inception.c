/* FID's Inception with formula weights: every tensor, both resize rules, inner activations, features and logits.
 *
 * Limit for a value: 1e-4 of the largest of its tensor, for direct and for fast convolutions (PyTorch in float32 reaches
 * 5e-7). The input is compared to 1e-6: the rules differ by far more. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "eval/inception_input.h"
#include "golden.h"
#include "models/inception.h"
#include "run/exec.h"

enum { BATCH = 2 };

typedef struct {
    fd_net *net;
    fd_feature_net *run;
    float *x, *features, *logits, *tap;
} machine;

static const char *const tap_names[FD_INCEPTION_TAPS] = {
    "pool1", "pool2", "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e",
    "Mixed_7a", "Mixed_7b", "Mixed_7c"};
static const struct { fd_inception_tap tap; int64_t channels; } pooled[] = {
    {FD_INCEPTION_POOL1, 64}, {FD_INCEPTION_POOL2, 192}, {FD_INCEPTION_6E, 768}};

static void check_weights(golden_files *f, const fd_params *p) {
    const json_t *weights = json_object_get(f->expected, "weights");
    if ((int)json_object_size(weights) != p->n)
        golden_wrong(f, "%d tensors, not %zu", p->n, json_object_size(weights));
    for (int i = 0; i < p->n; i++) {
        const fd_param *q = &p->list[i];
        const json_t *want = json_object_get(weights, q->name);
        f->compared++;
        if (!want || crc32_z(crc32(0, NULL, 0), (const Bytef *)(p->w + q->offset), (size_t)q->count * sizeof(float)) !=
                         (uLong)json_integer_value(json_object_get(want, "crc32_f32le")))
            golden_wrong(f, "tensor '%s' has other values, or should not be there", q->name);
    }
}

static fd_status open_machine(fd_ctx *ctx, golden_files *f, fd_arena *a, machine *m) {
    fd_net_config c;
    fd_run_options o = {.backend = f->o->backend, .keep_taps = true};
    const char *salt = json_string_value(json_object_get(f->expected, "prefix"));
    fd_net_config_preset(&c, FD_FAMILY_INCEPTION);
    FD_TRY(fd_net_new(ctx, &c, &m->net));
    FD_TRY(fd_net_fill_formula(ctx, m->net, salt ? salt : "", 1));
    check_weights(f, &m->net->params);
    FD_NEW(ctx, a, m->x, BATCH * (size_t)3 * FD_INCEPTION_SIDE * FD_INCEPTION_SIDE);
    FD_NEW(ctx, a, m->features, BATCH * FD_INCEPTION_FEATURES);
    FD_NEW(ctx, a, m->logits, BATCH * FD_INCEPTION_CLASSES);
    FD_NEW(ctx, a, m->tap, BATCH * (size_t)64 * 147 * 147);        /* larger than any */
    return fd_feature_net_new(ctx, m->net, BATCH, &o, &m->run);
}

/* ours against folder/<name>.<mode>.<part>.npy; limit absolute, or relative to the largest where 0. */
static fd_status compare(fd_ctx *ctx, golden_files *f, const char *mode, const char *part, const float *ours, int64_t n,
                         double limit) {
    char name[200];
    fd_npy want;
    double most = 0, worst = 0;
    snprintf(name, sizeof name, "%s.%s.%s.npy", f->item, mode, part);
    FD_TRY(golden_npy(ctx, f, name, &want));
    if (want.dtype != FD_NPY_F4 || want.count != n) return FD_FAIL(ctx, FD_E_SHAPE, "%s: another shape", name);
    const float *v = want.data;
    for (int64_t i = 0; i < n; i++) {
        double e = fabs((double)ours[i] - v[i]);
        most = fmax(most, fabs((double)v[i]));
        worst = e <= worst ? worst : e;                            /* a NaN stays */
    }
    f->compared++;
    if (!(worst <= (limit > 0 ? limit : 1e-4 * most))) golden_wrong(f, "%s.%s is off by %.3g of %.3g", mode, part, worst, most);
    return FD_OK;
}

static fd_status check_taps(fd_ctx *ctx, golden_files *f, machine *m, const char *mode, const json_t *want) {
    float means[64 + 192 + 768];
    int64_t at = 0;
    for (int t = 0; t < FD_INCEPTION_TAPS; t++) {
        const json_t *w = json_object_get(json_object_get(want, "taps"), tap_names[t]);
        const json_t *shape = json_object_get(w, "shape");
        int64_t n = 1, area;
        for (size_t i = 0; i < json_array_size(shape); i++) n *= json_integer_value(json_array_get(shape, i));
        FD_TRY(fd_exec_read(ctx, fd_feature_net_exec(m->run), fd_feature_net_tap(m->run, t), m->tap));
        double total = 0, square = 0, most = -INFINITY;
        for (int64_t i = 0; i < n; i++) {
            total += m->tap[i];
            square += (double)m->tap[i] * m->tap[i];
            most = fmax(most, m->tap[i]);
        }
        golden_near(f, w, "mean", total / (double)n, 1e-4, 0);
        golden_near(f, w, "rms", sqrt(square / (double)n), 1e-4, 0);
        golden_near(f, w, "max", most, 1e-4, 0);
        for (size_t k = 0; k < FD_COUNT(pooled); k++) {
            if ((int)pooled[k].tap != t) continue;
            area = n / pooled[k].channels;
            for (int64_t c = 0; c < pooled[k].channels; c++) {
                double s = 0;
                for (int64_t i = 0; i < area; i++) s += m->tap[c * area + i];
                means[at++] = (float)(s / (double)area);
            }
        }
    }
    return compare(ctx, f, mode, "pooled_64_192_768", means, at, 0);
}

static fd_status one_mode(fd_ctx *ctx, golden_files *f, machine *m, const uint8_t *chw, const int64_t dim[3],
                          const char *mode, const json_t *want) {
    const size_t area = (size_t)FD_INCEPTION_SIDE * FD_INCEPTION_SIDE;
    float sub[3 * 23 * 23], *bias;
    fd_resizer *r;
    FD_TRY(fd_resizer_new(ctx, strcmp(mode, "tf") ? FD_RESIZE_TORCH : FD_RESIZE_TF1, (int)dim[2], (int)dim[0], (int)dim[1],
                          &r));
    fd_resizer_run(r, chw, 1, m->x);
    fd_resizer_free(r);
    for (int c = 0, k = 0; c < 3; c++)
        for (int i = 0; i < FD_INCEPTION_SIDE; i += 13)
            for (int j = 0; j < FD_INCEPTION_SIDE; j += 13) sub[k++] = m->x[(size_t)c * area + (size_t)(i * FD_INCEPTION_SIDE + j)];
    FD_TRY(compare(ctx, f, mode, "input_sub13", sub, (int64_t)FD_COUNT(sub), 1e-6));
    memset(m->x + 3 * area, 0, 3 * area * sizeof *m->x);           /* a second picture that must not matter */
    FD_TRY(fd_feature_net_run(ctx, m->run, m->x, m->features, (float *[]){m->logits}));
    bias = m->net->params.w + m->net->params.list[fd_params_find(&m->net->params, "fc.bias")].offset;
    for (int i = 0; i < FD_INCEPTION_CLASSES; i++) m->logits[i] += bias[i];      /* stored with it */
    int largest = 0;
    for (int i = 0; i < FD_INCEPTION_FEATURES; i++)
        if (m->features[i] > m->features[largest]) largest = i;
    golden_spoil_item(f, m->features, largest);
    FD_TRY(compare(ctx, f, mode, "features", m->features, FD_INCEPTION_FEATURES, 0));
    FD_TRY(compare(ctx, f, mode, "logits", m->logits, FD_INCEPTION_CLASSES, 0));
    return check_taps(ctx, f, m, mode, want);
}

static fd_status one_image(fd_ctx *ctx, golden_files *f, machine *m, const json_t *image) {
    fd_npy a;
    uint8_t *chw;
    const char *mode;
    json_t *want;
    FD_TRY(golden_npy(ctx, f, json_string_value(json_object_get(image, "file")), &a));
    if (a.dtype != FD_NPY_U1 || a.rank != 3) return FD_FAIL(ctx, FD_E_SHAPE, "no uint8 picture");
    FD_NEW(ctx, &f->arena, chw, a.count);
    const uint8_t *hwc = a.data;
    const int64_t plane = a.dim[0] * a.dim[1], c = a.dim[2];
    for (int64_t i = 0; i < a.count; i++) chw[i % c * plane + i / c] = hwc[i];
    json_object_foreach(json_object_get(image, "modes"), mode, want) FD_TRY(one_mode(ctx, f, m, chw, a.dim, mode, want));
    return FD_OK;
}

void golden_files_inception(golden_files *f) {
    fd_ctx ctx = {.quiet = true};
    fd_arena a = {0};
    machine m = {.net = NULL};
    size_t i;
    json_t *image;
    golden_item(f, "weights");
    if (open_machine(&ctx, f, &a, &m) != FD_OK) golden_wrong(f, "%s", ctx.message);
    else
        json_array_foreach(json_object_get(f->expected, "images"), i, image) {
            golden_item(f, json_string_value(json_object_get(image, "name")));
            fd_clear(&ctx);
            if (one_image(&ctx, f, &m, image) != FD_OK) golden_wrong(f, "%s", ctx.message);
        }
    fd_feature_net_free(m.run);
    fd_net_free(m.net);
    fd_arena_free(&a);
}
