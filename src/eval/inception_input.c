/* Compiled without fused multiply-add: a picture has the same input bits on every machine. */
#include "eval/inception_input.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "io/window.h"
#include "models/inception.h"

enum { SIDE = FD_INCEPTION_SIDE };

const char *const fd_resize_rule_names[FD_RESIZE_RULES + 1] = {"tf", "torch", "clean", NULL};

const char *fd_resize_rule_words(fd_resize_rule r) {
    static const char *const words[FD_RESIZE_RULES] = {
        [FD_RESIZE_TF1] = "TensorFlow 1 bilinear to 299 without half pixels, (v - 128) / 128",
        [FD_RESIZE_TORCH] = "PyTorch bilinear to 299 with half pixels, v / 127.5 - 1",
        [FD_RESIZE_CLEAN] = "Pillow bicubic to 299 in float, clamped, (v - 128) / 128",
    };
    return words[r];
}

/* Where output i of one axis comes from: between pixels lo and hi, d of the way. */
typedef struct { int lo[SIDE], hi[SIDE]; float d[SIDE]; } axis;

struct fd_resizer {
    fd_resize_rule rule;
    int c, h, w;
    axis x, y;                    /* of the bilinear rules */
    fd_window across, down;       /* of the clean rule     */
    float *rows;                  /* [threads][down.reach][SIDE] rows stretched along x, row k in place k % reach */
    int threads;
    fd_arena arena;
};

static void place(axis *a, fd_resize_rule rule, int size) {
    const float step = (float)size / (float)SIDE;
    for (int i = 0; i < SIDE; i++) {
        double at = fmax((i + 0.5) * ((double)size / SIDE) - 0.5, 0);
        float coordinate = (float)i * step;
        a->lo[i] = rule == FD_RESIZE_TF1 ? (int)floorf(coordinate) : (int)floor(at);
        a->d[i] = rule == FD_RESIZE_TF1 ? coordinate - (float)a->lo[i] : (float)(at - a->lo[i]);
        if (a->lo[i] > size - 1) a->lo[i] = size - 1;      /* rounding could reach the end for huge pictures */
        a->hi[i] = a->lo[i] + 1 < size ? a->lo[i] + 1 : size - 1;
    }
}

static fd_status prepare_clean(fd_ctx *ctx, fd_resizer *r) {
    FD_TRY(fd_window_make(ctx, &r->arena, FD_FILTER_BICUBIC, r->w, SIDE, &r->across));
    FD_TRY(fd_window_make(ctx, &r->arena, FD_FILTER_BICUBIC, r->h, SIDE, &r->down));
    FD_NEW(ctx, &r->arena, r->rows, fd_mul_size((size_t)r->threads * SIDE, (size_t)r->down.reach));
    return FD_OK;
}

fd_status fd_resizer_new(fd_ctx *ctx, fd_resize_rule rule, int c, int h, int w, fd_resizer **out) {
    *out = NULL;
    if ((c != 1 && c != 3) || h < 1 || w < 1)
        return FD_FAIL(ctx, FD_E_ARG, "pictures of %d channels, %d x %d, cannot be measured by Inception: 1 or 3 "
                       "channels are needed", c, w, h);
    fd_resizer *r = fd_alloc(ctx, sizeof *r);
    if (!r) return FD_E_NOMEM;
    *r = (fd_resizer){.rule = rule, .c = c, .h = h, .w = w};
    r->threads = omp_get_max_threads();
    fd_status s = FD_OK;
    if (rule != FD_RESIZE_CLEAN) {
        place(&r->x, rule, w);
        place(&r->y, rule, h);
    } else s = prepare_clean(ctx, r);
    if (s == FD_OK) *out = r;
    else fd_resizer_free(r);
    return s;
}

void fd_resizer_free(fd_resizer *r) {
    if (r) fd_arena_free(&r->arena);
    fd_free(r);
}

/* One row of pixels, stretched along x. */
static void stretch(const fd_resizer *r, const uint8_t *row, float *out) {
    const axis *x = &r->x;
    const bool tf = r->rule == FD_RESIZE_TF1;
    for (int i = 0; i < SIDE; i++) {
        float a = row[x->lo[i]], b = row[x->hi[i]];
        out[i] = tf ? a + (b - a) * x->d[i] : a / 255 * (1 - x->d[i]) + b / 255 * x->d[i];
    }
}

static void plane(const fd_resizer *r, const uint8_t *pixels, float *out) {
    float row[2][SIDE];
    int holds[2] = {-1, -1};
    for (int i = 0; i < SIDE; i++, out += SIDE) {
        const int lo = r->y.lo[i], hi = r->y.hi[i];
        /* Rows lie in the place of their parity: lo and hi are neighbours or the same. */
        if (holds[lo % 2] != lo) stretch(r, pixels + (size_t)lo * (size_t)r->w, row[lo % 2]), holds[lo % 2] = lo;
        if (holds[hi % 2] != hi) stretch(r, pixels + (size_t)hi * (size_t)r->w, row[hi % 2]), holds[hi % 2] = hi;
        const float *t = row[lo % 2], *b = row[hi % 2], d = r->y.d[i], e = 1 - d;
        if (r->rule == FD_RESIZE_TF1)
            for (int j = 0; j < SIDE; j++) out[j] = (t[j] + (b[j] - t[j]) * d - 128) / 128;
        else
            for (int j = 0; j < SIDE; j++) out[j] = 2 * (t[j] * e + b[j] * d) - 1;
    }
}

/* One row of pixels, stretched along x; Pillow leaves an axis alone that has its size already. */
static void stretch_clean(const fd_resizer *r, const uint8_t *row, float *out) {
    const fd_window *x = &r->across;
    for (int i = 0; i < SIDE; i++) {
        const double *k = x->weight + (size_t)i * (size_t)x->reach;
        double sum = 0;
        for (int j = 0; j < x->count[i]; j++) sum += row[x->first[i] + j] * k[j];
        out[i] = r->w == SIDE ? row[i] : (float)sum;
    }
}

static void plane_clean(const fd_resizer *r, const uint8_t *pixels, float *rows, float *out) {
    const fd_window *y = &r->down;
    for (int i = 0, next = 0; i < SIDE; i++, out += SIDE) {
        const double *k = y->weight + (size_t)i * (size_t)y->reach;
        double sum[SIDE] = {0};
        for (; next < y->first[i] + y->count[i]; next++)
            stretch_clean(r, pixels + (size_t)next * (size_t)r->w, rows + (size_t)(next % y->reach) * SIDE);
        for (int t = 0; t < y->count[i]; t++) {
            const float *from = rows + (size_t)((y->first[i] + t) % y->reach) * SIDE;
            for (int j = 0; j < SIDE; j++) sum[j] += from[j] * k[t];
        }
        const float *same = rows + (size_t)(i % y->reach) * SIDE;
        for (int j = 0; j < SIDE; j++) {
            float v = r->h == SIDE ? same[j] : (float)sum[j];
            out[j] = ((v < 0 ? 0 : v > 255 ? 255 : v) - 128) / 128;
        }
    }
}

void fd_resizer_run(const fd_resizer *r, const uint8_t *images, int n, float *out) {
    const size_t pixels = (size_t)r->h * (size_t)r->w, area = (size_t)SIDE * SIDE;
#pragma omp parallel for collapse(2) schedule(static) num_threads(r->threads)
    for (int i = 0; i < n; i++)
        for (int k = 0; k < r->c; k++) {
            float *to = out + ((size_t)i * 3 + (size_t)k) * area;
            const uint8_t *from = images + ((size_t)i * (size_t)r->c + (size_t)k) * pixels;
            if (r->rule != FD_RESIZE_CLEAN) plane(r, from, to);
            else plane_clean(r, from, r->rows + (size_t)omp_get_thread_num() * (size_t)r->down.reach * SIDE, to);
            for (int copy = 1; r->c == 1 && copy < 3; copy++) memcpy(to + (size_t)copy * area, to, area * sizeof *to);
        }
}
