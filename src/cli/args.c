#include "cli/args.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/help.h"

#define THREADS_MAX 1024
#define OPTIONS_MAX 128

static char folded(char c) { return c == '_' ? '-' : (char)tolower((unsigned char)c); }

/* Equal as option names over n characters, and b ends there. */
static bool same_name(const char *a, size_t n, const char *b) {
    for (size_t i = 0; i < n; i++)
        if (!b[i] || folded(a[i]) != folded(b[i])) return false;
    return b[n] == 0;
}

/* Edits (insert, delete, replace, exchange neighbours) that turn a into b; words longer than the table are far. */
static int distance(const char *a, const char *b) {
    enum { MOST = 40 };
    int d[MOST + 1][MOST + 1];
    size_t la = strlen(a), lb = strlen(b);
    if (la > MOST || lb > MOST) return MOST;
    for (size_t i = 0; i <= la; i++) d[i][0] = (int)i;
    for (size_t j = 0; j <= lb; j++) d[0][j] = (int)j;
    for (size_t i = 1; i <= la; i++)
        for (size_t j = 1; j <= lb; j++) {
            char x = folded(a[i - 1]), y = folded(b[j - 1]);
            int best = d[i - 1][j - 1] + (x != y);
            if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && x == folded(b[j - 2]) && folded(a[i - 2]) == y && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[la][lb];
}

const char *fd_nearest(const char *word, const char *const *list, int n) {
    const char *best = NULL;
    size_t length = strlen(word);
    int least = (int)(length / 3) + 2;      /* as many edits, or more, is another word */
    for (int i = 0; i < n; i++) {
        int edits = distance(word, list[i]);
        if (length >= 3 && edits > 1) {       /* the beginning of a word counts as near */
            size_t k = 0;
            while (k < length && folded(word[k]) == folded(list[i][k])) k++;
            if (k == length) edits = 1;
        }
        if (edits < least) { least = edits; best = list[i]; }
    }
    return best;
}

bool fd_parse_amount(const char *text, double unit, double *out) {
    static const struct { const char *name; double factor; } suffix[] = {
        {"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {"Ki", 1024.0}, {"Mi", 1048576.0}, {"Gi", 1073741824.0}};
    if (!isdigit((unsigned char)*text) && *text != '.' && *text != '-') return false;
    char *end;
    double v = strtod(text, &end);
    if (end == text || !isfinite(v) || strpbrk(text, "xXnN")) return false;
    if (!*end) {
        *out = unit > 0 ? v * unit : v;
        return true;
    }
    for (size_t i = 0; i < FD_COUNT(suffix); i++)
        if (!strcmp(end, suffix[i].name)) {
            *out = v * suffix[i].factor;
            return true;
        }
    return false;
}

/* Too large numbers come out as the largest: range checks refuse them with the right words. */
static bool parse_long(const char *text, int64_t *out) {
    char *end;
    if (!isdigit((unsigned char)*text) && *text != '-' && *text != '+') return false;
    long long v = strtoll(text, &end, 10);
    if (end == text || *end) return false;
    *out = v;
    return true;
}

static bool parse_double(const char *text, double *out) {
    if (!strcmp(text, "inf")) { *out = INFINITY; return true; }
    char *end;
    if (isspace((unsigned char)*text)) return false;
    double v = strtod(text, &end);
    if (end == text || *end || !isfinite(v)) return false;
    *out = v;
    return true;
}

static bool limited(const fd_option *o) { return o->lo != 0 || o->hi != 0; }

static fd_status out_of_range(fd_ctx *ctx, const fd_option *o, const char *text) {
    return FD_FAIL(ctx, FD_E_ARG, "--%s: %s is not in %.10g…%.10g", o->name, text, o->lo, o->hi);
}

static fd_status in_range(fd_ctx *ctx, const fd_option *o, double v, const char *text) {
    if (limited(o) && !(v >= o->lo && v <= o->hi)) return out_of_range(ctx, o, text);
    return FD_OK;
}

static fd_status one_int(fd_ctx *ctx, const fd_option *o, const char *text, int *out) {
    int64_t v;
    if (!parse_long(text, &v)) return FD_FAIL(ctx, FD_E_ARG, "--%s: '%s' is no whole number", o->name, text);
    FD_TRY(in_range(ctx, o, (double)v, text));
    if (v < INT32_MIN || v > INT32_MAX) return FD_FAIL(ctx, FD_E_ARG, "--%s: %s is too large", o->name, text);
    *out = (int)v;
    return FD_OK;
}

static fd_status one_double(fd_ctx *ctx, const fd_option *o, const char *text, double *out) {
    double v;
    if (!parse_double(text, &v)) return FD_FAIL(ctx, FD_E_ARG, "--%s: '%s' is no number", o->name, text);
    FD_TRY(in_range(ctx, o, v, text));
    *out = v;
    return FD_OK;
}

static fd_status list_of_values(fd_ctx *ctx, const fd_option *o, const char *text) {
    int n = 0;
    for (const char *p = text;; n++) {
        size_t length = strcspn(p, ",");
        char item[64];
        if (length == 0 || length >= sizeof item)
            return FD_FAIL(ctx, FD_E_ARG, "--%s: '%s' is no list of numbers with commas between", o->name, text);
        if (n == o->most)
            return FD_FAIL(ctx, FD_E_ARG, "--%s: more than %d values", o->name, o->most);
        memcpy(item, p, length);
        item[length] = 0;
        if (o->type == FD_OPT_INTS) FD_TRY(one_int(ctx, o, item, (int *)o->to + n));
        else FD_TRY(one_double(ctx, o, item, (double *)o->to + n));
        if (!p[length]) break;
        p += length + 1;
    }
    *o->count = n + 1;
    return FD_OK;
}

static fd_status word_of(fd_ctx *ctx, const fd_option *o, const char *text) {
    int n = 0;
    char all[512] = "";
    for (; o->words[n]; n++) {
        if (same_name(text, strlen(text), o->words[n])) {
            *(int *)o->to = n;
            return FD_OK;
        }
        size_t at = strlen(all);
        snprintf(all + at, sizeof all - at, "%s%s", n ? ", " : "", o->words[n]);
    }
    const char *near = fd_nearest(text, o->words, n);
    if (near)
        return FD_FAIL(ctx, FD_E_ARG, "--%s: '%s' is unknown; did you mean '%s'? (all: %s)", o->name, text, near,
                       all);
    return FD_FAIL(ctx, FD_E_ARG, "--%s: '%s' is unknown; use one of %s", o->name, text, all);
}

static bool truth(const char *text, bool *out) {
    static const char *const yes[] = {"1", "true", "yes", "on"}, *const no[] = {"0", "false", "no", "off"};
    for (size_t i = 0; i < FD_COUNT(yes); i++) {
        if (same_name(text, strlen(text), yes[i])) { *out = true; return true; }
        if (same_name(text, strlen(text), no[i])) { *out = false; return true; }
    }
    return false;
}

static fd_status assign(fd_ctx *ctx, const fd_option *o, const char *text) {
    switch (o->type) {
    case FD_OPT_FLAG:
        if (truth(text, o->to)) return FD_OK;
        return FD_FAIL(ctx, FD_E_ARG, "--%s: '%s' is neither yes nor no", o->name, text);
    case FD_OPT_INT:
        if (!o->words || strcmp(text, o->words[0])) return one_int(ctx, o, text, o->to);
        *(int *)o->to = 0;
        return FD_OK;
    case FD_OPT_DOUBLE: return one_double(ctx, o, text, o->to);
    case FD_OPT_SEED: {
        char *end;
        errno = 0;
        unsigned long long v = isdigit((unsigned char)*text) ? strtoull(text, &end, 10) : (end = (char *)text, 0);
        if (end == text || *end || errno)
            return FD_FAIL(ctx, FD_E_ARG, "--%s: '%s' is no seed: use a whole number from 0 to 2^64-1", o->name,
                           text);
        *(uint64_t *)o->to = v;
        return FD_OK;
    }
    case FD_OPT_COUNT:
    case FD_OPT_AMOUNT: {
        double v;
        if (!fd_parse_amount(text, o->unit, &v))
            return FD_FAIL(ctx, FD_E_ARG, "--%s: '%s' is no amount: use a number, perhaps with k, M, Ki or Mi behind "
                           "it", o->name, text);
        if (limited(o) && !(v >= o->lo && v <= o->hi)) {
            double unit = o->unit > 0 ? o->unit : 1;
            return FD_FAIL(ctx, FD_E_ARG, "--%s: %s is not in %.10g…%.10g", o->name, text, o->lo / unit,
                           o->hi / unit);
        }
        if (o->type == FD_OPT_AMOUNT) *(double *)o->to = v;
        else if (fabs(v) < 9e15) *(int64_t *)o->to = (int64_t)llrint(v);
        else return FD_FAIL(ctx, FD_E_ARG, "--%s: %s is too large", o->name, text);
        return FD_OK;
    }
    case FD_OPT_TEXT:
        if (!*text) return FD_FAIL(ctx, FD_E_ARG, "--%s: the value is empty", o->name);
        *(const char **)o->to = text;
        return FD_OK;
    case FD_OPT_ENUM: return word_of(ctx, o, text);
    case FD_OPT_INTS:
    case FD_OPT_DOUBLES: return list_of_values(ctx, o, text);
    }
    return FD_OK;
}

/* The tables of a parse: the command's own options, then those every command has. */
typedef struct { const fd_option *part[2]; int n[2]; bool seen[2][OPTIONS_MAX]; } tables;

static const fd_option *find(const tables *t, const char *name, size_t length) {
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < t->n[k]; i++)
            if (same_name(name, length, t->part[k][i].name)) return &t->part[k][i];
    return NULL;
}

static fd_status unknown(fd_ctx *ctx, const fd_args *a, const tables *t, const char *name, size_t length) {
    const char *names[128], *near = NULL;
    char word[64];
    int n = 0;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < t->n[k] && n < (int)FD_COUNT(names); i++) names[n++] = t->part[k][i].name;
    if (length < sizeof word) {
        memcpy(word, name, length);
        word[length] = 0;
        near = fd_nearest(word, names, n);
    }
    int shown = length < 64 ? (int)length : 64;
    if (near) return FD_FAIL(ctx, FD_E_ARG, "unknown option '--%.*s'; did you mean '--%s'?", shown, name, near);
    return FD_FAIL(ctx, FD_E_ARG, "unknown option '--%.*s'; 'fdistill %s --help' lists all", shown, name, a->command);
}

/* One option at argv[*i]; raises *i past its value. */
static fd_status option_at(fd_ctx *ctx, const fd_args *a, tables *t, int argc, char **argv, int *i) {
    const char *word = argv[*i], *name = word + 2, *value = NULL;
    const fd_option *o = NULL;
    bool negated = false;
    if (word[1] == '-') {
        size_t length = strcspn(name, "=");
        if (name[length]) value = name + length + 1;
        o = find(t, name, length);
        if (!o && length > 3 && same_name(name, 3, "no-")) {
            o = find(t, name + 3, length - 3);
            negated = o && o->type == FD_OPT_FLAG;
            if (!negated) o = NULL;
        }
        if (!o) return unknown(ctx, a, t, name, length);
    } else {
        for (int k = 0; k < 2 && !o; k++)
            for (int j = 0; j < t->n[k] && !o; j++)
                if (t->part[k][j].letter == word[1]) o = &t->part[k][j];
        if (!o || (word[2] && o->type == FD_OPT_FLAG))
            return FD_FAIL(ctx, FD_E_ARG, "unknown option '%.64s'; 'fdistill %s --help' lists all", word, a->command);
        if (word[2]) value = word[2] == '=' ? word + 3 : word + 2;
    }
    for (int k = 0; k < 2; k++)
        if (o >= t->part[k] && o < t->part[k] + t->n[k]) t->seen[k][o - t->part[k]] = true;
    if (o->given) *o->given = true;
    if (o->type == FD_OPT_FLAG) {
        bool next;
        if (negated && value) return FD_FAIL(ctx, FD_E_ARG, "%s: a negated flag takes no value", word);
        /* EDM writes --cond 1: taken as a value where it could be nothing else. */
        if (!value && !negated && a->most == 0 && *i + 1 < argc && truth(argv[*i + 1], &next)) value = argv[++*i];
        if (value) return assign(ctx, o, value);
        *(bool *)o->to = !negated;
        return FD_OK;
    }
    if (!value) {
        if (*i + 1 >= argc || (argv[*i + 1][0] == '-' && argv[*i + 1][1] == '-' && argv[*i + 1][2]))
            return FD_FAIL(ctx, FD_E_ARG, "--%s: its value is missing: --%s %s", o->name, o->name, o->value);
        value = argv[++*i];
    }
    return assign(ctx, o, value);
}

fd_status fd_args_parse(fd_ctx *ctx, fd_args *a, int argc, char **argv) {
    fd_option every[] = {
        {.name = "threads", .type = FD_OPT_INT, .to = &ctx->threads, .value = "N", .lo = 1, .hi = THREADS_MAX,
         .help = "Compute threads; without it, one per available core.", .no_default = true, .group = "Everywhere"},
        {.name = "quiet", .type = FD_OPT_FLAG, .to = &ctx->quiet, .letter = 'q',
         .help = "No progress bars; ticks of a run go to its log.txt only."},
    };
    tables t = {{a->option, every}, {a->n < OPTIONS_MAX ? a->n : OPTIONS_MAX, (int)FD_COUNT(every)}, {{false}}};
    a->operand = argv;
    a->n_operands = 0;
    a->helped = false;
    for (int i = 1; i < argc; i++)          /* before anything can fail: people add --help to a broken line */
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            fd_help_print(a, every, (int)FD_COUNT(every), stdout);
            a->helped = true;
            return FD_OK;
        } else if (!strcmp(argv[i], "--")) break;

    bool only_operands = false;
    for (int i = 1; i < argc; i++) {
        char *word = argv[i];
        if (!only_operands && !strcmp(word, "--")) { only_operands = true; continue; }
        if (only_operands || word[0] != '-' || !word[1] || isdigit((unsigned char)word[1])) {
            if (a->n_operands == a->most)
                return FD_FAIL(ctx, FD_E_ARG, "unexpected argument '%.200s'; 'fdistill %s --help' shows the use",
                               word, a->command);
            a->operand[a->n_operands++] = word;     /* never overtakes i */
            continue;
        }
        FD_TRY(option_at(ctx, a, &t, argc, argv, &i));
    }
    for (int i = 0; i < t.n[0]; i++)
        if (a->option[i].required && !t.seen[0][i])
            return FD_FAIL(ctx, FD_E_ARG, "--%s %s is missing; 'fdistill %s --help' shows the use", a->option[i].name,
                           a->option[i].value, a->command);
    if (ctx->threads > 0) omp_set_num_threads(ctx->threads);
    if (a->n_operands < a->least)
        return FD_FAIL(ctx, FD_E_ARG, "%s is missing; 'fdistill %s --help' shows the use", a->operands, a->command);
    return FD_OK;
}
