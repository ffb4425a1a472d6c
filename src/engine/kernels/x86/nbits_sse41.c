/* Kernels for blocked weights with SSE4.1; compiled with its flags alone. */
#include "engine/kernels/x86/simd_sse41.h"

#define NB_ISA      sse41
#define NB_NEEDS    LEDGE_CPU_SSE41
#define NB_MANY     2
#define NB_DOT_MOST 15 /* two products of a byte by at most 15 fit the 16 bits of maddubs */

static inline vi nb_dot(vi acc, vi codes, vi a)
{
    const vi pairs = _mm_maddubs_epi16(codes, a);
    return _mm_add_epi32(acc, _mm_madd_epi16(pairs, _mm_set1_epi16(1)));
}

#include "engine/kernels/nbits_table.h"
