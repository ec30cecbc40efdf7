/* formula.h — numbers from a name and an index, the same bits in any language: fills networks whose weights are
 * stored nowhere (golden tests, benchmarks). Integer arithmetic is modulo 2^64.
 *
 *   base    = fnv1a64(salt + name)
 *   x(i)    = (splitmix64(base + i) >> 40) / 2^23 - 1            in [-1, 1), exact in float; i = row-major index
 *   value   = x                                  name contains "input:"
 *             16 x                               name ends in "freqs"
 *             0.1 x                              name ends in ".bias" or ".running_mean"
 *             1 + 0.5 |x|                        name ends in ".running_var"
 *             1 + 0.1 x                          name ends in ".weight", rank 1
 *             1.6 x sqrt(3 / fan_in)             name ends in ".conv.weight", other ranks (ReLU networks); fan_in = product
 *                                                of dims 1 …
 *             x sqrt(3 / fan_in)                 name ends in ".weight", other ranks
 *
 * computed in double without fused multiply-add, rounded once to float. The rule looks at the name without the salt.
 */
#ifndef FD_BASE_FORMULA_H
#define FD_BASE_FORMULA_H

#include <stdint.h>

#include "base/err.h"

/* One step of splitmix64: add the golden gamma, then two xor-shift-multiply rounds and a final xor-shift. */
uint64_t fd_splitmix64(uint64_t z);
/* The two rounds and the final xor-shift alone. */
uint64_t fd_splitmix64_finalise(uint64_t z);
/* fnv1a64 of salt followed by name. */
uint64_t fd_formula_hash(const char *salt, const char *name);

/* Writes the product of shape values to out. ARG if no rule fits the name, SHAPE if a dimension is negative or their
 * product overflows. */
fd_status fd_formula_fill(fd_ctx *ctx, const char *name, const char *salt, int rank, const int64_t *shape,
                          float *out);

#endif
