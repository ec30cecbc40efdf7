/* What the vector units can do at most: independent chains of multiply-adds in registers. */
#include "cpu/isa/parts.h"

#define CHAINS 12      /* more than latency times issue rate, and they fit the 16 registers of the narrow sets */

double FD_ISA(multiply_adds)(int64_t n, float *keep) {
    const vf a = vset(0.999f), b = vset(0.001f);
    vf x[CHAINS];
    for (int j = 0; j < CHAINS; j++) x[j] = vset((float)j);
    for (int64_t i = 0; i < n; i++)
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++) x[j] = x[j] * a + b;
    vf sum = x[0];
    for (int j = 1; j < CHAINS; j++) sum += x[j];
    *keep = vsum(sum);
    return 2.0 * CHAINS * VL * (double)n;
}
