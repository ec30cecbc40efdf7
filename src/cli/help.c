#include "cli/help.h"

#include <math.h>
#include <string.h>

#define WIDTH 79
#define TEXT_COLUMN 26

/* Columns of UTF-8 text: continuation bytes take none. */
static int columns(const char *s, size_t bytes) {
    int n = 0;
    for (size_t i = 0; i < bytes; i++) n += ((unsigned char)s[i] & 0xC0) != 0x80;
    return n;
}

void fd_help_wrap(FILE *f, const char *text, int indent, int at) {
    bool line_start = true;
    while (*text) {
        if (*text == '\n') {
            fputc('\n', f);
            text++;
            at = 0;
            line_start = true;
            continue;
        }
        size_t length = strcspn(text, " \n");
        int wide = columns(text, length);
        if (!line_start && at + 1 + wide > WIDTH) {
            fputc('\n', f);
            at = 0;
            line_start = true;
        }
        if (line_start) {
            for (; at < indent; at++) fputc(' ', f);
        } else {
            fputc(' ', f);
            at++;
        }
        fwrite(text, 1, length, f);
        at += wide;
        line_start = false;
        text += length;
        while (*text == ' ') text++;
    }
    fputc('\n', f);
}

/* A number as a person writes it: 1000000 -> 1M where the option takes suffixes. */
static void print_amount(char *out, size_t size, double v, double unit) {
    if (unit > 1) v /= unit;
    if (unit <= 1 && v >= 1e6 && fmod(v, 1e5) == 0) snprintf(out, size, "%.10gM", v / 1e6);
    else snprintf(out, size, "%.10g", v);
}

static void default_of(const fd_option *o, char *out, size_t size) {
    out[0] = 0;
    if (o->no_default || o->required || !o->to) return;
    switch (o->type) {
    case FD_OPT_FLAG:
        if (*(const bool *)o->to) snprintf(out, size, "on");
        break;
    case FD_OPT_INT: snprintf(out, size, "%d", *(const int *)o->to); break;
    case FD_OPT_DOUBLE: snprintf(out, size, "%.10g", *(const double *)o->to); break;
    case FD_OPT_SEED: snprintf(out, size, "%llu", (unsigned long long)*(const uint64_t *)o->to); break;
    case FD_OPT_COUNT: print_amount(out, size, (double)*(const int64_t *)o->to, o->unit); break;
    case FD_OPT_AMOUNT: print_amount(out, size, *(const double *)o->to, o->unit); break;
    case FD_OPT_TEXT:
        if (*(const char **)o->to) snprintf(out, size, "%s", *(const char **)o->to);
        break;
    case FD_OPT_ENUM: snprintf(out, size, "%s", o->words[*(const int *)o->to]); break;
    case FD_OPT_INTS:
    case FD_OPT_DOUBLES:
        for (int i = 0; i < *o->count; i++) {
            size_t at = strlen(out);
            double v = o->type == FD_OPT_INTS ? ((const int *)o->to)[i] : ((const double *)o->to)[i];
            if (at < size) snprintf(out + at, size - at, "%s%.10g", i ? "," : "", v);
        }
        break;
    }
}

static void print_option(const fd_option *o, FILE *f) {
    char left[128], value[64], words[400] = "", text[1200];
    if (o->group) fprintf(f, "\n%s:\n", o->group);
    char letter[8] = "";
    bool flag = o->type == FD_OPT_FLAG;
    if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(left, sizeof left, "  %s--%s%s%s", letter, o->name, flag ? "" : " ", flag ? "" : o->value);
    default_of(o, value, sizeof value);
    if (o->type == FD_OPT_ENUM)
        for (int i = 0; o->words[i]; i++) {
            size_t at = strlen(words);
            snprintf(words + at, sizeof words - at, "%s%s", i ? ", " : " One of ", o->words[i]);
        }
    snprintf(text, sizeof text, "%s%s%s%s%s%s%s", o->help, words, words[0] ? "." : "",
             o->required ? " (required)" : "", value[0] ? " (default " : "", value, value[0] ? ")" : "");
    int at = columns(left, strlen(left));
    fputs(left, f);
    if (at + 2 > TEXT_COLUMN) {
        fputc('\n', f);
        at = 0;
    }
    fd_help_wrap(f, text, TEXT_COLUMN, at);
}

void fd_help_print(const fd_args *a, const fd_option *every, int n_every, FILE *f) {
    fprintf(f, "Usage: fdistill %s [options]%s%s\n\n", a->command, a->operands ? " " : "",
            a->operands ? a->operands : "");
    fd_help_wrap(f, a->about, 0, 0);
    if (a->n && !a->option[0].group) fputs("\nOptions:\n", f);
    for (int i = 0; i < a->n; i++) print_option(&a->option[i], f);
    for (int i = 0; i < n_every; i++) print_option(&every[i], f);
    if (a->examples) fprintf(f, "\nExamples:\n%s", a->examples);
}
