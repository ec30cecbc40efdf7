/* Elementwise rows. */
#include "cpu/isa/parts.h"

ALWAYS void axpby_rows(void *z, int zb, const void *x, int xb, float a, const void *y, int yb, float b, int64_t n) {
    int64_t i = 0;
    if (!y) {
        for (; i + VL <= n; i += VL) vput(z, i, zb, a * vget(x, i, xb));
        if (i < n) vput_part(z, i, n - i, zb, a * vget_part(x, i, n - i, xb));
        return;
    }
    for (; i + VL <= n; i += VL) vput(z, i, zb, a * vget(x, i, xb) + b * vget(y, i, yb));
    if (i < n) vput_part(z, i, n - i, zb, a * vget_part(x, i, n - i, xb) + b * vget_part(y, i, n - i, yb));
}

void FD_ISA(axpby)(void *z, fd_dtype zt, const void *x, fd_dtype xt, float a, const void *y, fd_dtype yt, float b, int64_t n) {
    if (!y) yt = xt;
    switch ((zt == FD_BF16) * 4 + (xt == FD_BF16) * 2 + (yt == FD_BF16)) {
    case 0: axpby_rows(z, 0, x, 0, a, y, 0, b, n); return;
    case 1: axpby_rows(z, 0, x, 0, a, y, 1, b, n); return;
    case 2: axpby_rows(z, 0, x, 1, a, y, 0, b, n); return;
    case 3: axpby_rows(z, 0, x, 1, a, y, 1, b, n); return;
    case 4: axpby_rows(z, 1, x, 0, a, y, 0, b, n); return;
    case 5: axpby_rows(z, 1, x, 0, a, y, 1, b, n); return;
    case 6: axpby_rows(z, 1, x, 1, a, y, 0, b, n); return;
    default: axpby_rows(z, 1, x, 1, a, y, 1, b, n); return;
    }
}

ALWAYS void silu_each(vf *x, int n) {
    vf s[MANY];
    EACH(j, n) s[j] = x[j];
    vsigmoid_each(s, n);
    EACH(j, n) x[j] *= s[j];
}
/* x <- silu'(x) = s (1 + x (1 - s)) */
ALWAYS void silu_slope_each(vf *x, int n) {
    vf s[MANY];
    EACH(j, n) s[j] = x[j];
    vsigmoid_each(s, n);
    EACH(j, n) x[j] = s[j] * (1.0f + x[j] * (1.0f - s[j]));
}

ALWAYS void silu_rows(void *y, const void *x, int bf, int64_t n) {
    vf v[MANY];
    int64_t i = 0;
    for (; i + MANY * VL <= n; i += MANY * VL) {
        EACH(j, MANY) v[j] = vget(x, i + j * VL, bf);
        silu_each(v, MANY);
        EACH(j, MANY) vput(y, i + j * VL, bf, v[j]);
    }
    for (; i < n; i += VL) {
        v[0] = i + VL <= n ? vget(x, i, bf) : vget_part(x, i, n - i, bf);
        silu_each(v, 1);
        if (i + VL <= n) vput(y, i, bf, v[0]);
        else vput_part(y, i, n - i, bf, v[0]);
    }
}
void FD_ISA(silu)(void *y, const void *x, fd_dtype dt, int64_t n) {
    if (dt == FD_BF16) silu_rows(y, x, 1, n);
    else silu_rows(y, x, 0, n);
}

ALWAYS void silu_bwd_rows(void *dx, const void *dy, const void *x, int bf, int64_t n) {
    vf v[MANY];
    int64_t i = 0;
    for (; i + MANY * VL <= n; i += MANY * VL) {
        EACH(j, MANY) v[j] = vget(x, i + j * VL, bf);
        silu_slope_each(v, MANY);
        EACH(j, MANY) vput(dx, i + j * VL, bf, vget(dy, i + j * VL, bf) * v[j]);
    }
    for (; i < n; i += VL) {
        v[0] = i + VL <= n ? vget(x, i, bf) : vget_part(x, i, n - i, bf);
        silu_slope_each(v, 1);
        if (i + VL <= n) vput(dx, i, bf, vget(dy, i, bf) * v[0]);
        else vput_part(dx, i, n - i, bf, vget_part(dy, i, n - i, bf) * v[0]);
    }
}
void FD_ISA(silu_bwd)(void *dx, const void *dy, const void *x, fd_dtype dt, int64_t n) {
    if (dt == FD_BF16) silu_bwd_rows(dx, dy, x, 1, n);
    else silu_bwd_rows(dx, dy, x, 0, n);
}

/* log1p(t) for t in [0, 1]: 2 artanh(t / (2 + t)), whose argument is at most 1/3; series to the 15th power. */
ALWAYS vf log1p_of(vf t) {
    vf s = t / (t + 2.0f), z = s * s;
    vf p = z * (1.0f / 15) + 1.0f / 13;
    p = p * z + 1.0f / 11;
    p = p * z + 1.0f / 9;
    p = p * z + 1.0f / 7;
    p = p * z + 1.0f / 5;
    p = p * z + 1.0f / 3;
    return 2.0f * s * (p * z + 1.0f);
}
ALWAYS vf softplus_of(vf v) { return vmax(vset(0), v) + log1p_of(vexp(-vmax(-v, v))); }

ALWAYS void softplus_rows(void *y, const void *x, int bf, float a, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) vput(y, i, bf, softplus_of(a * vget(x, i, bf)));
    if (i < n) vput_part(y, i, n - i, bf, softplus_of(a * vget_part(x, i, n - i, bf)));
}
void FD_ISA(softplus)(void *y, const void *x, fd_dtype dt, float a, int64_t n) {
    if (dt == FD_BF16) softplus_rows(y, x, 1, a, n);
    else softplus_rows(y, x, 0, a, n);
}
ALWAYS void softplus_bwd_rows(void *dx, const void *dy, const void *x, int bf, float a, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) vput(dx, i, bf, vget(dy, i, bf) * a * vsigmoid(a * vget(x, i, bf)));
    if (i < n) vput_part(dx, i, n - i, bf, vget_part(dy, i, n - i, bf) * a * vsigmoid(a * vget_part(x, i, n - i, bf)));
}
void FD_ISA(softplus_bwd)(void *dx, const void *dy, const void *x, fd_dtype dt, float a, int64_t n) {
    if (dt == FD_BF16) softplus_bwd_rows(dx, dy, x, 1, a, n);
    else softplus_bwd_rows(dx, dy, x, 0, a, n);
}

ALWAYS void diff_rows(void *z, int zb, const void *x, int xb, const void *y, int yb, float a, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) vput(z, i, zb, a * (vget(x, i, xb) - vget(y, i, yb)));
    if (i < n) vput_part(z, i, n - i, zb, a * (vget_part(x, i, n - i, xb) - vget_part(y, i, n - i, yb)));
}
void FD_ISA(diff)(void *z, const void *x, fd_dtype xt, const void *y, fd_dtype yt, float a, int64_t n) {
    if (xt == FD_BF16) yt == FD_BF16 ? diff_rows(z, 1, x, 1, y, 1, a, n) : diff_rows(z, 1, x, 1, y, 0, a, n);
    else yt == FD_BF16 ? diff_rows(z, 0, x, 0, y, 1, a, n) : diff_rows(z, 0, x, 0, y, 0, a, n);
}

/* Rows are summed in f32 vectors over pieces of 64 vectors, the pieces in double. */
ALWAYS double sum_rows(const void *x, int xb, const void *y, int yb, int64_t n) {
    double total = 0;
    int64_t i = 0;
    while (i < n) {
        int64_t end = i + 64 * VL < n ? i + 64 * VL : n;
        vf s = {0};
        for (; i + VL <= end; i += VL) {
            vf v = vget(x, i, xb);
            if (y) {
                v -= vget(y, i, yb);
                v *= v;
            }
            s += v;
        }
        if (i < end) {
            vf v = vget_part(x, i, end - i, xb);
            if (y) {
                v -= vget_part(y, i, end - i, yb);
                v *= v;
            }
            s += v;
            i = end;
        }
        total += vsum(s);
    }
    return total;
}
double FD_ISA(sum)(const void *x, fd_dtype dt, int64_t n) {
    return dt == FD_BF16 ? sum_rows(x, 1, NULL, 0, n) : sum_rows(x, 0, NULL, 0, n);
}
double FD_ISA(sum_sq_diff)(const void *x, fd_dtype xt, const void *y, fd_dtype yt, int64_t n) {
    if (xt == FD_BF16) return yt == FD_BF16 ? sum_rows(x, 1, y, 1, n) : sum_rows(x, 1, y, 0, n);
    return yt == FD_BF16 ? sum_rows(x, 0, y, 1, n) : sum_rows(x, 0, y, 0, n);
}
