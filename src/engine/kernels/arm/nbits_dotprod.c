/* Kernels for blocked weights with NEON and its byte dot product; compiled with their flags
 * alone. */
#include "engine/kernels/arm/simd_neon.h"

#define NB_ISA      dotprod
#define NB_BASE     neon
#define NB_NEEDS    (LEDGE_CPU_NEON | LEDGE_CPU_DOTPROD)
#define NB_DOT_MOST 15 /* as signed bytes; those of eight bits go by halves */

static inline vi nb_dot(vi acc, vi codes, vi a)
{
    return vdotq_s32(acc, vreinterpretq_s8_s32(codes), vreinterpretq_s8_s32(a));
}

#include "engine/kernels/nbits_table.h"
