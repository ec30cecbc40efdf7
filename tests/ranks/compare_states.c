/* compare_states A B: two training states of the same options. One line per array, its relative difference |a - b| / |a| over
 * all elements, then "largest X". Exit code 1 where they have other arrays or other counters than the clock. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/safetensors.h"

static double element(const fd_st_tensor *t, int64_t i) {
    return t->dtype == FD_ST_F32   ? (double)((const float *)t->data)[i]
           : t->dtype == FD_ST_F64 ? ((const double *)t->data)[i]
                                   : (double)((const int64_t *)t->data)[i];
}

static double difference(const fd_st_tensor *a, const fd_st_tensor *b) {
    enum { SECONDS = 3 };                   /* of the counters in train/loop.h */
    const bool counters = !strcmp(a->name, "counters");
    double apart = 0, size = 0;
    for (int64_t i = 0; i < a->count; i++) {
        if (counters && i == SECONDS) continue;
        double x = element(a, i), d = x - element(b, i);
        apart += d * d;
        size += x * x;
    }
    return apart > 0 ? sqrt(apart / size) : 0;
}

int main(int argc, char **argv) {
    static fd_ctx ctx;
    fd_safetensors a, b;
    double largest = 0;
    if (argc != 3) return 2;
    if (fd_safetensors_open(&ctx, argv[1], &a) != FD_OK || fd_safetensors_open(&ctx, argv[2], &b) != FD_OK || a.n != b.n) {
        fprintf(stderr, "%s\n", ctx.message[0] ? ctx.message : "other numbers of arrays");
        return 1;
    }
    for (int i = 0; i < a.n; i++) {
        const fd_st_tensor *t = fd_safetensors_find(&b, a.tensor[i].name);
        if (!t || t->count != a.tensor[i].count || t->dtype != a.tensor[i].dtype) return 1;
        double d = difference(&a.tensor[i], t);
        if (!strcmp(t->name, "counters") && d > 0) return 1;
        printf("%-20s %.2g\n", t->name, d);
        largest = d > largest || isnan(d) ? d : largest;
    }
    printf("largest %g\n", largest);
    fd_safetensors_close(&a);
    fd_safetensors_close(&b);
    return 0;
}
