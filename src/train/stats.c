#include "train/stats.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/json.h"

static fd_stat *find(fd_stats *s, const char *key, bool make) {
    for (int i = 0; i < s->n; i++)
        if (strcmp(s->list[i].key, key) == 0) return &s->list[i];
    if (!make || s->n == FD_STATS_MAX) return NULL;
    fd_stat *fresh = &s->list[s->n++];
    memset(fresh, 0, sizeof *fresh);
    snprintf(fresh->key, sizeof fresh->key, "%.39s", key);
    return fresh;
}

void fd_stats_add(fd_stats *s, const char *key, double value) {
    char bad[64];
    if (!isfinite(value)) {
        snprintf(bad, sizeof bad, "%s/nonfinite", key);
        key = bad;
        value = 1;
    }
    fd_stat *x = find(s, key, true);
    if (!x) return;
    x->num++;
    x->sum += value;
    x->sum2 += value * value;
}

double fd_stats_mean(const fd_stats *s, const char *key) {
    const fd_stat *x = find((fd_stats *)s, key, false);
    return x && x->num ? x->sum / (double)x->num : 0;
}

void fd_stats_write(const fd_stats *s, json_t *object) {
    for (int i = 0; i < s->n; i++) {
        const fd_stat *x = &s->list[i];
        if (!x->num) continue;
        double mean = x->sum / (double)x->num, var = x->sum2 / (double)x->num - mean * mean;
        json_t *o = json_object();
        json_object_set_new(o, "num", json_integer((json_int_t)x->num));
        json_object_set_new(o, "mean", fd_json_real(mean));
        json_object_set_new(o, "std", fd_json_real(sqrt(var > 0 ? var : 0)));
        json_object_set_new(object, x->key, o);
    }
}

void fd_stats_clear(fd_stats *s) { s->n = 0; }
