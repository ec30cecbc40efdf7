/* formula.c — see formula.h. Compiled with -ffp-contract=off: "1 + 0.1 x" fused would round differently. */
#include "base/formula.h"

#include <math.h>
#include <string.h>

uint64_t fd_splitmix64_finalise(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint64_t fd_splitmix64(uint64_t z) { return fd_splitmix64_finalise(z + 0x9E3779B97F4A7C15u); }

uint64_t fd_formula_hash(const char *salt, const char *name) {
    const char *const parts[] = {salt, name};
    uint64_t h = 14695981039346656037u;
    for (int k = 0; k < 2; k++)
        for (const unsigned char *s = (const unsigned char *)parts[k]; *s; s++) h = (h ^ *s) * 1099511628211u;
    return h;
}

static bool ends_in(const char *s, const char *tail) {
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && !strcmp(s + n - m, tail);
}

fd_status fd_formula_fill(fd_ctx *ctx, const char *name, const char *salt, int rank, const int64_t *shape,
                          float *out) {
    int64_t count = 1, fan_in = 1;
    for (int k = 0; k < rank; k++)
        if (shape[k] < 0 || __builtin_mul_overflow(count, shape[k], &count))
            return FD_FAIL(ctx, FD_E_SHAPE, "formula tensor '%s': dimension %d is %lld", name, k,
                           (long long)shape[k]);
        else if (k > 0) fan_in *= shape[k] > 0 ? shape[k] : 1;
    double base = 0, factor;
    if (strstr(name, "input:")) factor = 1;
    else if (ends_in(name, "freqs")) factor = 16;
    else if (ends_in(name, ".bias") || ends_in(name, ".running_mean")) factor = 0.1;
    else if (ends_in(name, ".running_var")) base = 1, factor = 0.5;
    else if (ends_in(name, ".weight") && rank == 1) base = 1, factor = 0.1;
    else if (ends_in(name, ".conv.weight")) factor = sqrt(3.0 / (double)fan_in) * 1.6;
    else if (ends_in(name, ".weight")) factor = sqrt(3.0 / (double)fan_in);
    else return FD_FAIL(ctx, FD_E_ARG, "formula tensor '%s': no rule; the name must contain 'input:' or end in "
                        "freqs, .bias, .weight, .running_mean or .running_var", name);
    uint64_t key = fd_formula_hash(salt, name);
    const bool upwards = ends_in(name, ".running_var");
#pragma omp parallel for schedule(static) if (count > 1 << 16)
    for (int64_t i = 0; i < count; i++) {
        double x = (double)(fd_splitmix64(key + (uint64_t)i) >> 40) / 8388608.0 - 1.0;
        out[i] = (float)(base + factor * (upwards ? fabs(x) : x));
    }
    return FD_OK;
}
