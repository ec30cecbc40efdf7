/* Kinds without a network: the formula generator, noise grids, divergences, the ratio pipeline, the optimiser. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/formula.h"
#include "fdiv/ratio.h"
#include "golden.h"
#include "train/optim.h"

/* kind "formula" ------------------------------------------------------------------------------------------------ */

static fd_status hash_table(golden *g, const char *table, uint64_t (*hash)(const char *)) {
    const char *key;
    json_t *v;
    json_object_foreach(json_object_get(g->meta, table), key, v) {
        uint64_t want = json_is_string(v) ? strtoull(json_string_value(v), NULL, 16) : 0;
        if (hash(key) != want)
            return FD_FAIL(g->ctx, FD_E_NUMERIC, "%s of '%s' is 0x%016" PRIx64 ", not 0x%016" PRIx64, table, key,
                           hash(key), want);
        g->compared++;
    }
    return FD_OK;
}

static uint64_t hash_text(const char *s) { return fd_formula_hash("", s); }
static uint64_t hash_number(const char *s) { return fd_splitmix64(strtoull(s, NULL, 10)); }

static int read_shape(const json_t *list, int64_t *dim) {
    int n = (int)json_array_size(list);
    for (int i = 0; i < n && i < 8; i++) dim[i] = json_integer_value(json_array_get(list, (size_t)i));
    return n < 8 ? n : 8;
}

/* An output is a whole formula tensor or, with of_shape, the sum (a scalar) or the last elements of a bigger one. */
static fd_status formula_output(golden *g, const char *key, const json_t *v) {
    int64_t dim[8], of_dim[8], n = 1, of_n = 1;
    const json_t *big = json_object_get(v, "of_shape");
    const char *of = json_string_value(json_object_get(v, "of")),
               *salt = json_string_value(json_object_get(v, "salt"));
    int rank = read_shape(json_object_get(v, "shape"), dim),
        of_rank = read_shape(big ? big : json_object_get(v, "shape"), of_dim);
    for (int i = 0; i < rank; i++) n *= dim[i];
    for (int i = 0; i < of_rank; i++) of_n *= of_dim[i];
    if (!of || !salt || of_n < n)
        return FD_FAIL(g->ctx, FD_E_FORMAT, "case.json: output '%s' has no usable 'of'", key);
    float *w = fd_alloc(g->ctx, fd_mul_size((size_t)of_n, sizeof(float)));
    if (!w) return FD_E_NOMEM;
    fd_status s = fd_formula_fill(g->ctx, of, salt, of_rank, of_dim, w);
    golden_spoil(g, w, of_n - 1);
    if (s == FD_OK && big && rank == 0) {
        double sum = 0, want = 0;
        for (int64_t i = 0; i < of_n; i++) sum += w[i];
        s = fd_safetensors_read_f64(g->ctx, &g->st, key, -1, NULL, &want);
        if (fabs(sum - want) < 1e-9 * fabs(want)) sum = want;     /* the order of the sum is not ours to fix */
        if (s == FD_OK) golden_compare(g, key, &sum, 1, GOLDEN_ELEMENTS);
    } else if (s == FD_OK) {
        golden_compare_f32(g, key, w + of_n - n, n, GOLDEN_BITS);
    }
    fd_free(w);
    return s;
}

fd_status golden_kind_formula(golden *g, fd_arena *a) {
    (void)a;
    const char *key;
    json_t *v;
    FD_TRY(hash_table(g, "fnv1a64", hash_text));
    FD_TRY(hash_table(g, "splitmix64", hash_number));
    json_object_foreach(g->outputs, key, v) FD_TRY(formula_output(g, key, v));
    return FD_OK;
}

/* kind "grids" -------------------------------------------------------------------------------------------------- */

fd_status golden_kind_grids(golden *g, fd_arena *a) {
    double low, high, rho, *v;
    const char *key;
    json_t *entry;
    FD_TRY(golden_number(g, g->config, "sigma_min", &low));
    FD_TRY(golden_number(g, g->config, "sigma_max", &high));
    FD_TRY(golden_number(g, g->config, "rho", &rho));
    json_object_foreach(g->outputs, key, entry) {
        int n = 0;
        bool ascending = sscanf(key, "polynomial%d", &n) == 1;
        if ((!ascending && sscanf(key, "karras%d", &n) != 1) || n < 1 || n > 1000000)
            return FD_FAIL(g->ctx, FD_E_FORMAT, "case.json: unknown grid '%s'", key);
        FD_NEW(g->ctx, a, v, n);
        if (ascending && n == FD_POLYNOMIAL_LEVELS) {
            fd_polynomial *p;
            FD_NEW(g->ctx, a, p, 1);
            fd_polynomial_init(p, low, high, rho);
            memcpy(v, p->level, sizeof p->level);
        } else {
            fd_karras_grid(n, low, high, rho, v);
            for (int i = 0; ascending && i < n / 2; i++) {
                double t = v[i];
                v[i] = v[n - 1 - i];
                v[n - 1 - i] = t;
            }
        }
        golden_spoil_f64(g, v, n / 2);
        golden_compare(g, key, v, n, GOLDEN_ELEMENTS);
    }
    return FD_OK;
}

/* kind "divergences" -------------------------------------------------------------------------------------------- */

/* p = N(0,1), q = N(m,1): D = E_q f, dD/dm = m E_q h, E_q h, Var_q h / (E_q h)^2, by the trapezoid rule. Integrands
 * whose factors would overflow far out are formed in log space or are zero there. */
static void gaussian_row(const fd_divergence *d, double m, double out[4]) {
    const int steps = 160000;
    long double D = 0, h1 = 0, h2 = 0;
    for (int i = 0; i <= steps; i++) {
        double x = -40 + 80.0 * i / steps, l = m * m / 2 - m * x, logq = -(x - m) * (x - m) / 2 - 0.5 * log(2 * M_PI);
        double q = exp(logq), f = d->f(l) * q, h = d->h(l);
        long double w = i == 0 || i == steps ? 0.5L : 1.0L;
        if (isfinite(f)) D += w * f;
        if (isfinite(h * q)) h1 += w * h * q;
        if (h > 0) h2 += w * exp(2 * log(h) + logq);
    }
    long double dx = 80.0L / steps;
    out[0] = (double)(D * dx);
    out[1] = (double)(m * h1 * dx);
    out[2] = (double)(h1 * dx);
    out[3] = (double)(h2 * dx / (h1 * dx * h1 * dx) - 1);
}

fd_status golden_kind_divergences(golden *g, fd_arena *a) {
    double *l, *rows, row[4], *table;
    int64_t n;
    const char *key;
    json_t *entry;
    const json_t *means = json_object_get(g->config, "gaussian_means");
    size_t nmeans = json_array_size(means);
    FD_TRY(golden_f64(g, a, "in/l", &l, &n));
    FD_NEW(g->ctx, a, rows, 5 * n);
    FD_NEW(g->ctx, a, table, 4 * nmeans + 1);
    golden_spoil_f64(g, l, n / 3);
    json_object_foreach(g->outputs, key, entry) {
        const fd_divergence *d;
        bool gauss = strncmp(key, "gauss/", 6) == 0;
        FD_TRY(fd_divergence_find(g->ctx, strchr(key, '/') ? strchr(key, '/') + 1 : key, &d));
        for (int64_t i = 0; i < n && !gauss; i++) {
            rows[i] = d->f(l[i]);
            rows[n + i] = d->df(l[i]);
            rows[2 * n + i] = d->d2f(l[i]);
            rows[3 * n + i] = d->h(l[i]);
            rows[4 * n + i] = d->weight(l[i]);
        }
        if (!gauss) golden_compare(g, key, rows, 5 * n, GOLDEN_ELEMENTS);
        if (!gauss) continue;
        for (size_t i = 0; i < nmeans; i++) {
            gaussian_row(d, json_number_value(json_array_get(means, i)), row);
            memcpy(table + 4 * i, row, sizeof row);
        }
        golden_compare(g, key, table, (int64_t)(4 * nmeans), GOLDEN_ELEMENTS);
    }
    return FD_OK;
}

/* kind "ratio" -------------------------------------------------------------------------------------------------- */

typedef struct { const char *pre, *divergence; int64_t n; } ratio_where;

static void ratio_stage(golden *g, const ratio_where *w, const char *stage, const float *v, int64_t n) {
    char name[256];
    snprintf(name, sizeof name, "%s%s", w->pre, stage);
    if (golden_has(g, name)) golden_compare_f32(g, name, v, n, GOLDEN_TIGHT);
    snprintf(name, sizeof name, "%s%s/%s", w->pre, w->divergence, stage);
    if (golden_has(g, name)) golden_compare_f32(g, name, v, n, GOLDEN_TIGHT);
}

static fd_status ratio_calls(golden *g, fd_arena *a, const float *logits, const double *t, int calls, int64_t batch,
                             int heads, int rate, double ema, const fd_divergence *d) {
    fd_ratio_config c = fd_ratio_defaults();
    fd_ratio r;
    fd_ratio_stages s;
    float *h, *v;
    double *bin;
    FD_NEW(g->ctx, a, v, 6 * batch);
    FD_NEW(g->ctx, a, h, batch);
    FD_NEW(g->ctx, a, bin, batch);
    FD_NEW(g->ctx, a, s.bin_index, batch);
    s.l_mean = v, s.l_clamped = v + batch, s.r_exp = v + 2 * batch, s.r_clamped = v + 3 * batch;
    s.r_normalised = v + 4 * batch, s.h_raw = v + 5 * batch;
    c.ema = ema;
    FD_TRY(fd_ratio_init(g->ctx, &c, &r));
    for (int k = 0; k < calls; k++) {
        char pre[64], name[128];
        snprintf(pre, sizeof pre, "rate%d/call%d/", rate, k);
        FD_TRY(fd_ratio_apply(g->ctx, &r, d, logits + k * batch * heads, heads, t + k * batch, batch, h, &s, NULL));
        ratio_where w = {pre, d->name, batch};
        ratio_stage(g, &w, "l_mean", s.l_mean, batch);
        ratio_stage(g, &w, "l_clamped", s.l_clamped, batch);
        ratio_stage(g, &w, "r_exp", s.r_exp, batch);
        ratio_stage(g, &w, "r_clamped", s.r_clamped, batch);
        ratio_stage(g, &w, "r_normalised", s.r_normalised, batch);
        ratio_stage(g, &w, "h_raw", s.h_raw, batch);
        ratio_stage(g, &w, "h", h, batch);
        ratio_stage(g, &w, "bins_after", r.bins, c.bins);
        for (int64_t i = 0; i < batch; i++) bin[i] = (double)s.bin_index[i];
        snprintf(name, sizeof name, "%sbin_index", pre);
        if (golden_has(g, name)) golden_compare(g, name, bin, batch, GOLDEN_BITS);
    }
    return FD_OK;
}

fd_status golden_kind_ratio(golden *g, fd_arena *a) {
    float *logits;
    double *t, calls;
    int64_t nl, nt;
    const json_t *rates = json_object_get(g->config, "ema_rates");
    FD_TRY(golden_f32(g, a, "in/logits", &logits, &nl));
    FD_TRY(golden_f64(g, a, "in/t", &t, &nt));
    FD_TRY(golden_number(g, g->config, "calls", &calls));
    if (calls < 1 || nt % (int64_t)calls || nl % nt)
        return FD_FAIL(g->ctx, FD_E_FORMAT, "shapes of in/logits and in/t disagree");
    golden_spoil(g, logits, nl / 2);
    for (size_t e = 0; e < json_array_size(rates); e++)
        for (int i = 0; i < FD_DIVERGENCES; i++)
            FD_TRY(ratio_calls(g, a, logits, t, (int)calls, nt / (int64_t)calls, (int)(nl / nt), (int)e,
                               json_number_value(json_array_get(rates, e)), fd_divergence_at(i)));
    return FD_OK;
}

/* kind "optim" -------------------------------------------------------------------------------------------------- */

#define OPTIM_ROOM 4096
typedef struct {
    fd_range range[3];
    float start[OPTIM_ROOM], w[OPTIM_ROOM], grad[OPTIM_ROOM], m[OPTIM_ROOM], v[OPTIM_ROOM], ema[OPTIM_ROOM];
    double lr, beta[2], eps, clip, ema_beta, steps;
} optim_run;
static const char optim_names[] = "abc";

static fd_status optim_gather(golden *g, fd_arena *a, const char *prefix, optim_run *o, float *flat) {
    int64_t at = 0;
    for (int i = 0; i < 3; i++) {
        char name[64];
        float *v;
        int64_t n;
        snprintf(name, sizeof name, "%s%c", prefix, optim_names[i]);
        FD_TRY(golden_f32(g, a, name, &v, &n));
        if (at + n + 64 > OPTIM_ROOM)
            return FD_FAIL(g->ctx, FD_E_FORMAT, "'%s' is larger than this test expects", name);
        memcpy(flat + at, v, sizeof(float) * (size_t)n);
        o->range[i] = (fd_range){at, n};
        at += (n + 15) / 16 * 16;      /* the gaps of a real flat block */
    }
    return FD_OK;
}

/* "… weight_decay 0.01": the variants are described in words. */
static double weight_decay(const json_t *text) {
    const char *at = json_is_string(text) ? strstr(json_string_value(text), "weight_decay ") : NULL;
    return at ? atof(at + strlen("weight_decay ")) : 0;
}

static fd_status optim_variant(golden *g, fd_arena *a, const char *variant, const json_t *variants, optim_run *o) {
    bool adam = strcmp(variant, "adam") == 0, bad = strcmp(variant, "fastgen_nonfinite") == 0;
    if (!adam && !bad && strcmp(variant, "adamw") != 0)
        return FD_FAIL(g->ctx, FD_E_FORMAT, "unknown variant '%s'", variant);
    fd_adam p = {o->lr, o->beta[0], o->beta[1], o->eps, adam ? 0 : weight_decay(json_object_get(variants, "adamw"))};
    double norms[64];
    char name[64];
    FD_TRY(optim_gather(g, a, "in/w_", o, o->start));
    memcpy(o->w, o->start, sizeof o->w);
    memcpy(o->ema, o->start, sizeof o->ema);
    memset(o->m, 0, sizeof o->m);
    memset(o->v, 0, sizeof o->v);
    golden_spoil(g, o->w, 1);
    for (int i = 0; i < (int)o->steps && i < 64; i++) {
        snprintf(name, sizeof name, "in/grad%d_", i);
        FD_TRY(optim_gather(g, a, name, o, o->grad));
        if (bad && i == 1) o->grad[o->range[0].offset + 3] = o->grad[o->range[1].offset] = NAN;
        if (bad && i == 3) o->grad[o->range[1].offset + 1] = INFINITY;
        fd_grad_stats before = fd_grad_measure(o->range, 3, o->grad);
        if (bad) fd_grad_repair(o->range, 3, o->grad);
        fd_grad_stats now = fd_grad_measure(o->range, 3, o->grad);
        double factor = adam ? 1 : before.infinite ? 0 : fd_clip_factor(now.norm, o->clip);
        norms[i] = before.infinite ? -1 : now.norm;
        fd_ema e = {o->ema, o->ema_beta};
        fd_adamw_step(&p, i + 1, o->range, 3, o->w, o->grad, o->m, o->v, factor, &e, 1);
    }
    snprintf(name, sizeof name, "%s/norms", variant);
    if (golden_has(g, name)) golden_compare(g, name, norms, (int64_t)o->steps, GOLDEN_TIGHT);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s/w_%c", variant, optim_names[i]);
        golden_compare_f32(g, name, o->w + o->range[i].offset, o->range[i].length, GOLDEN_TIGHT);
        snprintf(name, sizeof name, "%s/ema_%c", variant, optim_names[i]);
        golden_compare_f32(g, name, o->ema + o->range[i].offset, o->range[i].length, GOLDEN_TIGHT);
    }
    return FD_OK;
}

fd_status golden_kind_optim(golden *g, fd_arena *a) {
    optim_run *o;
    const json_t *variants = json_object_get(g->config, "variants"), *betas = json_object_get(g->config, "betas");
    const char *key;
    json_t *v;
    FD_NEW(g->ctx, a, o, 1);
    FD_TRY(golden_number(g, g->config, "lr", &o->lr));
    FD_TRY(golden_number(g, g->config, "eps", &o->eps));
    FD_TRY(golden_number(g, g->config, "clip", &o->clip));
    FD_TRY(golden_number(g, g->config, "ema_beta", &o->ema_beta));
    FD_TRY(golden_number(g, g->config, "steps", &o->steps));
    for (int i = 0; i < 2; i++) o->beta[i] = json_number_value(json_array_get(betas, (size_t)i));
    json_object_foreach((json_t *)(uintptr_t)variants, key, v) FD_TRY(optim_variant(g, a, key, variants, o));
    return FD_OK;
}
