/* divergence.c — the table of divergences. One row per divergence; nothing elsewhere depends on which there are. */
#include "fdiv/divergence.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static double one(double l) { return 1.0; }
static float one_r(float r) { return 1.0f; }
static double ratio(double l) { return exp(l); }
static double sigmoid(double l) { return 1.0 / (1.0 + exp(-l)); }
/* log((1 + e^-l) / 2), which is ~ -l/2 around 0: written so that it keeps its relative accuracy there */
static double half_softplus_neg(double l) { return log1p(0.5 * expm1(-l)); }

/* reverse KL: f = -log r */
static double rkl_f(double l) { return -l; }
static double rkl_df(double l) { return -exp(-l); }
static double rkl_d2f(double l) { return exp(-2.0 * l); }

/* softened reverse KL: f = (r+1) log(1/2 + 1/(2r)) */
static double sf_f(double l) { return (exp(l) + 1.0) * half_softplus_neg(l); }
static double sf_df(double l) { return half_softplus_neg(l) - exp(-l); }
static double sf_d2f(double l) { return exp(-2.0 * l) / (exp(l) + 1.0); }
static double sf_h(double l) { return sigmoid(-l); }
static float sf_w(float r) { return 1.0f / (1.0f + r); }

/* Jensen-Shannon: f = r log r - (r+1) log((r+1)/2). Around l = 0 both terms are ~l while f is l^2/4, so there we use
 * f = e^(l/2) (l sinh(l/2) - 2 cosh(l/2) log cosh(l/2)), whose terms differ by a factor of two only. */
static double js_f(double l) {
    if (fabs(l) < 1.0) {
        double s = sinh(0.25 * l), c2 = 2.0 * s * s;      /* cosh(l/2) - 1 */
        return exp(0.5 * l) * (l * sinh(0.5 * l) - 2.0 * (1.0 + c2) * log1p(c2));
    }
    double r = exp(l);
    if (l > 0) return -(r + 1.0) * half_softplus_neg(l) - l;
    return r * l - (r + 1.0) * log1p(0.5 * expm1(l));
}
static double js_df(double l) { return -half_softplus_neg(l); }
static double js_d2f(double l) { double r = exp(l); return 1.0 / (r * (r + 1.0)); }
static float js_w(float r) { return 1.0f - 1.0f / (1.0f + r); }

/* squared Hellinger: f = 1 - sqrt r */
static double sh_f(double l) { return -expm1(0.5 * l); }
static double sh_df(double l) { return -0.5 * exp(-0.5 * l); }
static double sh_d2f(double l) { return 0.25 * exp(-1.5 * l); }
static double sh_h(double l) { return 0.25 * exp(0.5 * l); }
static double sh_w(double l) { return exp(0.5 * l); }
static float sh_w_r(float r) { return sqrtf(r); }

/* forward KL: f = r log r */
static double kl_f(double l) { return exp(l) * l; }
static double kl_df(double l) { return l + 1.0; }
static double kl_d2f(double l) { return exp(-l); }
static float kl_w(float r) { return r; }

/* Jeffreys: f = (r-1) log r */
static double jf_f(double l) { return expm1(l) * l; }
static double jf_df(double l) { return l - expm1(-l); }
static double jf_d2f(double l) { return exp(-l) + exp(-2.0 * l); }
static double jf_h(double l) { return exp(l) + 1.0; }
static float jf_w(float r) { return 1.0f + r; }

/* Neyman chi^2: f = (1-r)^2 / r */
static double neyman_f(double l) { return -expm1(l) * expm1(-l); }
static double neyman_df(double l) { return -expm1(-2.0 * l); }
static double neyman_d2f(double l) { return 2.0 * exp(-3.0 * l); }
static double neyman_h(double l) { return 2.0 * exp(-l); }
static double neyman_w(double l) { return 1.0 / fmax(exp(l), 1e-8); }
static float neyman_w_r(float r) { return 1.0f / fmaxf(r, 1e-8f); }

/* Pearson chi^2: f = (r-1)^2 */
static double pearson_f(double l) { double e = expm1(l); return e * e; }
static double pearson_df(double l) { return 2.0 * expm1(l); }
static double pearson_d2f(double l) { return 2.0; }
static double pearson_h(double l) { return 2.0 * exp(2.0 * l); }
static double pearson_w(double l) { return exp(2.0 * l); }
static float pearson_w_r(float r) { return r * r; }

static const fd_divergence table[FD_DIVERGENCES] = {
    {"rkl", "reverse KL", "dmd2 dmd", "seeks modes; h = 1, no variance: DMD2", true,
     rkl_f, rkl_df, rkl_d2f, one, one, one_r},
    {"sf", "softened reverse KL", "srkl softrkl", "seeks modes; h in (0, 1), low variance", false,
     sf_f, sf_df, sf_d2f, sf_h, sf_h, sf_w},
    {"js", "Jensen-Shannon", "jsd", "between seeking and covering; h in (0, 1), low variance", false,
     js_f, js_df, js_d2f, sigmoid, sigmoid, js_w},
    {"sh", "squared Hellinger", "hellinger", "between seeking and covering; h ~ sqrt r, low variance", false,
     sh_f, sh_df, sh_d2f, sh_h, sh_w, sh_w_r},
    {"kl", "forward KL", "fkl", "covers modes; h = r, high variance", false,
     kl_f, kl_df, kl_d2f, ratio, ratio, kl_w},
    {"jf", "Jeffreys", "jeffrey", "covers modes; h = 1 + r, high variance", false,
     jf_f, jf_df, jf_d2f, jf_h, jf_h, jf_w},
    {"neyman", "Neyman chi-squared", "neymanchi2", "strongly mode-seeking; h = 2/r, high variance", false,
     neyman_f, neyman_df, neyman_d2f, neyman_h, neyman_w, neyman_w_r},
    {"pearson", "Pearson chi-squared", "pearsonchi2", "strongly covering; h = 2 r^2, very high variance", false,
     pearson_f, pearson_df, pearson_d2f, pearson_h, pearson_w, pearson_w_r},
};

const fd_divergence *fd_divergence_at(int i) {
    return i >= 0 && i < FD_DIVERGENCES ? &table[i] : NULL;
}

/* Lower case without '-', '_' and ' '; what does not fit is no name of ours anyway. */
static void plain(const char *s, char out[32]) {
    size_t n = 0;
    for (; *s && n < 31; s++)
        if (*s != '-' && *s != '_' && *s != ' ') out[n++] = (char)tolower((unsigned char)*s);
    out[*s ? 0 : n] = 0;
}

static bool in_list(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *p = list; n && (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ' ') && (p[n] == ' ' || p[n] == 0)) return true;
    return false;
}

fd_status fd_divergence_find(fd_ctx *ctx, const char *name, const fd_divergence **out) {
    char word[32], title[32];
    plain(name ? name : "", word);
    for (int i = 0; i < FD_DIVERGENCES; i++) {
        plain(table[i].title, title);
        if (!strcmp(table[i].name, word) || !strcmp(title, word) || in_list(table[i].aliases, word)) {
            *out = &table[i];
            return FD_OK;
        }
    }
    char list[512];
    size_t n = 0;
    for (int i = 0; i < FD_DIVERGENCES && n < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s (%s)", i ? ", " : "", table[i].name, table[i].title);
    return FD_FAIL(ctx, FD_E_ARG, "divergence '%s' is unknown: choose one of %s", name ? name : "", list);
}
