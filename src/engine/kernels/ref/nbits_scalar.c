/* Kernels for blocked weights in plain C. */
#include "engine/kernels/ref/simd_scalar.h"

#define NB_ISA      scalar
#define NB_NEEDS    0
#define NB_DOT_MOST 255
#define NB_MANY     1

static inline vi nb_dot(vi acc, vi codes, vi a)
{
    for (int i = 0; i < 4; i++)
        acc += (uint8_t)((uint32_t)codes >> 8 * i) * (int8_t)((uint32_t)a >> 8 * i);
    return acc;
}

#include "engine/kernels/nbits_table.h"
