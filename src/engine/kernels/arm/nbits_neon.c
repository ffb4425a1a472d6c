/* Kernels for blocked weights with NEON. */
#include "engine/kernels/arm/simd_neon.h"

#define NB_ISA      neon
#define NB_NEEDS    LEDGE_CPU_NEON
#define NB_DOT_MOST 15 /* as signed bytes, and four products fit 16 bits */

static inline vi nb_dot(vi acc, vi codes, vi a)
{
    const int8x16_t u = vreinterpretq_s8_s32(codes), v = vreinterpretq_s8_s32(a);
    const int16x8_t low = vmull_s8(vget_low_s8(u), vget_low_s8(v));
    const int16x8_t high = vmull_s8(vget_high_s8(u), vget_high_s8(v));
    return vpadalq_s16(acc, vpaddq_s16(low, high));
}

#include "engine/kernels/nbits_table.h"
