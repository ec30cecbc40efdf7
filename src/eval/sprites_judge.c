#include "eval/sprites_judge.h"

#include <cblas.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OFFSETS 5
#define TURNS 5
#define BATCH 256           /* pictures per matrix product */
#define RES_MAX 64
#define PAIRS (2 * FD_SPRITE_HUES)

struct fd_sprites_judge {
    fd_arena arena;
    int res, pixels, count;
    fd_sprite *pose;        /* [count] what each template shows */
    float *coverage;        /* [count][pixels] */
    float *half_square;     /* [count] half the squared norm of each */
};

static bool turns_matter(int cls) { return cls > 1; }    /* disc and ring look alike at any turn */

static double grid(int k, int steps, double reach) { return ((2 * k + 1) / (double)steps - 1) * reach; }
/* Mean square of those, all being as likely. */
static double grid_square(int steps, double reach) { return reach * reach * (1 - 1 / ((double)steps * steps)) / 3; }

static fd_status build(fd_ctx *ctx, fd_sprites_judge *j) {
    int most = FD_SPRITE_CLASSES * 2 * OFFSETS * OFFSETS * TURNS;
    double *row;
    FD_NEW(ctx, &j->arena, j->pose, most);
    FD_NEW(ctx, &j->arena, j->coverage, (size_t)most * (size_t)j->pixels);
    FD_NEW(ctx, &j->arena, j->half_square, most);
    FD_NEW(ctx, &j->arena, row, j->pixels);
    for (int i = 0; i < most; i++) {
        int turn = i % TURNS, x = i / TURNS % OFFSETS, y = i / (TURNS * OFFSETS) % OFFSETS;
        int small = i / (TURNS * OFFSETS * OFFSETS) % 2, cls = i / (2 * TURNS * OFFSETS * OFFSETS);
        if (!turns_matter(cls) && turn != TURNS / 2) continue;
        fd_sprite s = {.cls = cls, .small = small, .x = grid(x, OFFSETS, FD_SPRITE_JITTER),
                       .y = grid(y, OFFSETS, FD_SPRITE_JITTER), .degrees = grid(turn, TURNS, FD_SPRITE_TURN)};
        fd_sprite_coverage(&s, j->res, row);
        float *c = j->coverage + (size_t)j->count * (size_t)j->pixels;
        double sum = 0;
        for (int p = 0; p < j->pixels; p++) {
            c[p] = (float)row[p];
            sum += row[p] * row[p];
        }
        j->half_square[j->count] = (float)(0.5 * sum);
        j->pose[j->count++] = s;
    }
    return FD_OK;
}

fd_status fd_sprites_judge_open(fd_ctx *ctx, int res, fd_sprites_judge **out) {
    *out = NULL;
    if (res < 4 || res > RES_MAX)
        return FD_FAIL(ctx, FD_E_ARG, "sprites judge: resolution %d is not in 4 … %d", res, RES_MAX);
    fd_sprites_judge *j = fd_alloc(ctx, sizeof *j);
    if (!j) return FD_E_NOMEM;
    j->res = res;
    j->pixels = res * res;
    fd_status s = build(ctx, j);
    if (s != FD_OK) {
        fd_sprites_judge_close(j);
        return s;
    }
    *out = j;
    return FD_OK;
}

void fd_sprites_judge_close(fd_sprites_judge *j) {
    if (!j) return;
    fd_arena_free(&j->arena);
    fd_free(j);
}

/* Coverage of one pixel on the line from back to fore, and what the line leaves unexplained (squared). */
static inline float project(const float x[3], const float back[3], const float line[3], float inv, float *left) {
    float d[3] = {x[0] - back[0], x[1] - back[1], x[2] - back[2]};
    float a = (d[0] * line[0] + d[1] * line[1] + d[2] * line[2]) * inv;
    a = a < 0 ? 0 : a > 1 ? 1 : a;
    float e0 = d[0] - a * line[0], e1 = d[1] - a * line[1], e2 = d[2] - a * line[2];
    *left = e0 * e0 + e1 * e1 + e2 * e2;
    return a;
}

static void colour_line(int pair, float back[3], float line[3], float *inv) {
    float sum = 0;
    for (int c = 0; c < 3; c++) {
        back[c] = (float)fd_sprite_backgrounds[pair % 2][c];
        line[c] = (float)(fd_sprite_colours[pair / 2][c] - fd_sprite_backgrounds[pair % 2][c]);
        sum += line[c] * line[c];
    }
    *inv = 1 / sum;
}

/* Chooses the colour pair of a picture [3][pixels] in [0, 1] and solves the coverage [pixels]. */
static int solve_colours(const float *x, int pixels, float *coverage) {
    float back[3], line[3], inv, left, best = FLT_MAX;
    int pair = 0;
    for (int k = 0; k < PAIRS; k++) {
        colour_line(k, back, line, &inv);
        float sum = 0;
        for (int p = 0; p < pixels; p++) {
            project((float[3]){x[p], x[p + pixels], x[p + 2 * pixels]}, back, line, inv, &left);
            sum += left;
        }
        if (sum < best) best = sum, pair = k;
    }
    colour_line(pair, back, line, &inv);
    for (int p = 0; p < pixels; p++)
        coverage[p] = project((float[3]){x[p], x[p + pixels], x[p + 2 * pixels]}, back, line, inv, &left);
    return pair;
}

static void to_unit(const uint8_t *image, int n, float *x) {
    for (int i = 0; i < n; i++) x[i] = (float)image[i] / 255.0f;
}

/* Nearest template by the scores a·T (maximise a·T - |T|^2/2), then the residual in colour. */
static void conclude(const fd_sprites_judge *j, const uint8_t *image, const float *scores, int pair,
                     fd_sprite_verdict *v) {
    int best = 0;
    for (int t = 1; t < j->count; t++)
        if (scores[t] - j->half_square[t] > scores[best] - j->half_square[best]) best = t;
    const fd_sprite *s = &j->pose[best];
    const float *cover = j->coverage + (size_t)best * (size_t)j->pixels;
    float x[3 * RES_MAX * RES_MAX], back[3], line[3], inv;
    to_unit(image, 3 * j->pixels, x);
    colour_line(pair, back, line, &inv);
    double sum = 0;
    for (int c = 0; c < 3; c++)
        for (int p = 0; p < j->pixels; p++) {
            float e = x[c * j->pixels + p] - back[c] - cover[p] * line[c];
            sum += e * e;
        }
    *v = (fd_sprite_verdict){.cls = s->cls, .hue = pair / 2, .light = pair % 2, .small = s->small,
                             .residual = (float)sqrt(sum / (3 * j->pixels)),
                             .x = (float)s->x, .y = (float)s->y, .degrees = (float)s->degrees};
}

fd_status fd_sprites_judge_run(fd_ctx *ctx, const fd_sprites_judge *j, const uint8_t *images, int64_t n,
                               fd_sprite_verdict *verdicts) {
    fd_arena a = {0};
    float *cover = fd_arena_alloc(ctx, &a, sizeof(float) * BATCH * (size_t)j->pixels);
    float *scores = fd_arena_alloc(ctx, &a, sizeof(float) * BATCH * (size_t)j->count);
    int *pairs = fd_arena_alloc(ctx, &a, sizeof(int) * BATCH);
    if (!cover || !scores || !pairs) {
        fd_arena_free(&a);
        return FD_E_NOMEM;
    }
    for (int64_t from = 0; from < n; from += BATCH) {
        int m = n - from < BATCH ? (int)(n - from) : BATCH;
        const uint8_t *batch = images + from * 3 * j->pixels;
#pragma omp parallel for schedule(static)
        for (int i = 0; i < m; i++) {
            float x[3 * RES_MAX * RES_MAX];
            to_unit(batch + (int64_t)i * 3 * j->pixels, 3 * j->pixels, x);
            pairs[i] = solve_colours(x, j->pixels, cover + (int64_t)i * j->pixels);
        }
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, j->count, j->pixels, 1, cover, j->pixels, j->coverage,
                    j->pixels, 0, scores, j->count);
#pragma omp parallel for schedule(static)
        for (int i = 0; i < m; i++)
            conclude(j, batch + (int64_t)i * 3 * j->pixels, scores + (int64_t)i * j->count, pairs[i],
                     verdicts + from + i);
    }
    fd_arena_free(&a);
    return FD_OK;
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Scores the pictures whose label is cls, or all for cls < 0; counts [class][mode] and hits as filled by the caller.
 */
static void score(const fd_sprite_verdict *v, const int32_t *labels, int64_t n, int cls, float *scratch,
                  int64_t count[][FD_SPRITE_MODES], bool hit[][FD_SPRITE_MODES], fd_sprite_score *s) {
    *s = (fd_sprite_score){0};
    int64_t right = 0, strict = 0, loose = 0, turned = 0;
    double shift = 0, turn = 0;                       /* sums of squares */
    for (int64_t i = 0; i < n; i++) {
        int want = labels ? labels[i] : v[i].cls;
        if (cls >= 0 && want != cls) continue;
        bool ok = v[i].cls == want;
        scratch[s->n++] = v[i].residual;
        right += ok;
        strict += ok && v[i].residual < FD_SPRITE_STRICT;
        loose += ok && v[i].residual < FD_SPRITE_LOOSE;
        shift += ((double)v[i].x * (double)v[i].x + (double)v[i].y * (double)v[i].y) / 2;
        if (!turns_matter(v[i].cls)) continue;
        turn += (double)v[i].degrees * (double)v[i].degrees;
        turned++;
    }
    if (s->n == 0) return;
    double total = (double)s->n, cells = 0, reached = 0, expected = 0;
    qsort(scratch, (size_t)s->n, sizeof *scratch, by_size);
    s->residual_median = 0.5 * ((double)scratch[(s->n - 1) / 2] + (double)scratch[s->n / 2]);
    s->shape_right = (double)right / total;
    s->valid_strict = (double)strict / total;
    s->valid_loose = (double)loose / total;
    s->shift_spread = sqrt(shift / total / grid_square(OFFSETS, FD_SPRITE_JITTER));
    s->turn_spread = turned ? sqrt(turn / (double)turned / grid_square(TURNS, FD_SPRITE_TURN)) : 0;
    int first = cls < 0 ? 0 : cls, last = cls < 0 ? FD_SPRITE_CLASSES - 1 : cls;
    int64_t asked[FD_SPRITE_CLASSES] = {0};
    for (int c = first; c <= last; c++)
        for (int m = 0; m < FD_SPRITE_MODES; m++) asked[c] += count[c][m];
    for (int m = 0; m < FD_SPRITE_MODES; m++) {
        double p = fd_sprite_mode_mass(m), q = 0;
        for (int c = first; c <= last; c++) {
            q += (double)count[c][m] / total;
            if (p >= FD_SPRITE_RARE) continue;
            cells++;
            reached += hit[c][m];
            expected += 1 - pow(1 - p, (double)asked[c]);
        }
        s->hue_rank[m / 4] += q;
        s->light += m / 2 % 2 ? q : 0;
        s->small += m % 2 ? q : 0;
        if (q > 0) s->mode_kl += q * log(q / p);
        s->mode_tv += 0.5 * fabs(q - p);
    }
    for (int c = first; c <= last; c++)
        for (int m = 0; m < FD_SPRITE_MODES; m++) {
            double q = (double)count[c][m];
            if (q > 0) s->class_mode_kl += q / total * log(q / (double)asked[c] / fd_sprite_mode_mass(m));
        }
    s->rare_recall = reached / cells;
    s->rare_coverage = reached / expected;
}

fd_status fd_sprites_report(fd_ctx *ctx, const fd_sprite_verdict *verdicts, const int32_t *labels, int64_t n,
                            fd_sprite_report *out) {
    int64_t count[FD_SPRITE_CLASSES][FD_SPRITE_MODES] = {{0}};
    bool hit[FD_SPRITE_CLASSES][FD_SPRITE_MODES] = {{0}};
    if (n < 1) return FD_FAIL(ctx, FD_E_ARG, "sprites report: no pictures");
    for (int64_t i = 0; i < n; i++) {
        const fd_sprite_verdict *v = &verdicts[i];
        int want = labels ? labels[i] : v->cls;
        if (want < 0 || want >= FD_SPRITE_CLASSES)
            return FD_FAIL(ctx, FD_E_ARG, "sprites report: label %d of picture %lld is not in 0 … 9", want,
                           (long long)i);
        int rank = (v->hue + 8 * 3 - 3 * want % 8) % 8;     /* hue = (rank + 3 class) mod 8, solved for the rank */
        int mode = fd_sprite_mode(rank, v->light, v->small);
        count[want][mode]++;
        if (v->cls == want && v->residual < FD_SPRITE_LOOSE) hit[want][mode] = true;
    }
    float *scratch = fd_alloc(ctx, fd_mul_size((size_t)n, sizeof *scratch));
    if (!scratch) return FD_E_NOMEM;
    score(verdicts, labels, n, -1, scratch, count, hit, &out->all);
    for (int c = 0; c < FD_SPRITE_CLASSES; c++) score(verdicts, labels, n, c, scratch, count, hit, &out->of_class[c]);
    fd_free(scratch);
    return FD_OK;
}
