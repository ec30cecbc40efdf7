#include "io/window.h"

#include <math.h>

static double box(double x) { return x > -0.5 && x <= 0.5; }

static double bicubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

#define LOBES 3.0
static double lanczos(double x) {
    if (x == 0) return 1;
    if (!(x >= -LOBES && x < LOBES)) return 0;
    double a = x * M_PI, b = a / LOBES;
    return (sin(a) / a) * (sin(b) / b);
}

fd_status fd_window_make(fd_ctx *ctx, fd_arena *a, fd_filter filter, int from, int to, fd_window *w) {
    static const struct { double (*value)(double), reach; } filters[] = {
        [FD_FILTER_BOX] = {box, 0.5}, [FD_FILTER_BICUBIC] = {bicubic, 2}, [FD_FILTER_LANCZOS] = {lanczos, LOBES}};
    double (*const value)(double) = filters[filter].value;
    double scale = (double)from / to, wide = scale > 1 ? scale : 1;
    double support = filters[filter].reach * wide;
    w->reach = (int)ceil(support) * 2 + 1;
    FD_NEW(ctx, a, w->first, to);
    FD_NEW(ctx, a, w->count, to);
    FD_NEW(ctx, a, w->weight, fd_mul_size((size_t)to, (size_t)w->reach));
    for (int t = 0; t < to; t++) {
        double centre = (t + 0.5) * scale, sum = 0, *k = w->weight + (size_t)t * (size_t)w->reach;
        int lo = (int)(centre - support + 0.5), hi = (int)(centre + support + 0.5);
        if (lo < 0) lo = 0;
        if (hi > from) hi = from;
        for (int i = lo; i < hi; i++) sum += k[i - lo] = value((i - centre + 0.5) * (1.0 / wide));
        for (int i = 0; i < hi - lo && sum != 0; i++) k[i] /= sum;
        w->first[t] = lo;
        w->count[t] = hi - lo;
    }
    return FD_OK;
}
