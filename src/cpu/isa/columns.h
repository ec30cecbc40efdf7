/* columns.h — weights of 16 outputs as vectors of outputs. */
#ifndef FD_CPU_ISA_COLUMNS_H
#define FD_CPU_ISA_COLUMNS_H

#include "cpu/isa/vec.h"

/* t[j][16] = column j of 16 rows of n floats, `step` apart, of which `rows` are there and the others are 0. */
ALWAYS void columns(float *t, const float *w, int64_t step, int rows, int64_t n) {
    for (int r = 0; r < 16; r += VL)
        for (int64_t c = 0; c < n; c += VL) {
            const int64_t left = n - c;
            vf v[VL];
            if (left >= VL)
                for (int j = 0; j < VL; j++) v[j] = r + j < rows ? vload(w + (r + j) * step + c) : (vf){0};
            else
                for (int j = 0; j < VL; j++) v[j] = r + j < rows ? vload_part(w + (r + j) * step + c, (int)left) : (vf){0};
            turn_over(v);
            for (int j = 0; j < VL && j < left; j++) vstore(t + (c + j) * 16 + r, v[j]);
        }
}

#endif
