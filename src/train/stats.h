/* stats.h — numbers collected during a tick: count, mean and deviation per key, EDM's stats.jsonl form. */
#ifndef FD_TRAIN_STATS_H
#define FD_TRAIN_STATS_H

#include <jansson.h>
#include <stdint.h>

#define FD_STATS_MAX 192

typedef struct { char key[40]; int64_t num; double sum, sum2; } fd_stat;
typedef struct { fd_stat list[FD_STATS_MAX]; int n; } fd_stats;

/* Adds one observation; non-finite ones are counted under key + "/nonfinite" instead, so that means stay readable. */
void fd_stats_add(fd_stats *s, const char *key, double value);
/* Mean of a key since the last clear, 0 when it has no observation. */
double fd_stats_mean(const fd_stats *s, const char *key);
/* {"key": {"num": …, "mean": …, "std": …}, …} into object. */
void fd_stats_write(const fd_stats *s, json_t *object);
void fd_stats_clear(fd_stats *s);

#endif
