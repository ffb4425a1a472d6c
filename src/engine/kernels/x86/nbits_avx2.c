/* Kernels for blocked weights with AVX2; compiled with its flags alone. */
#include "engine/kernels/x86/simd_avx2.h"

#define NB_ISA      avx2
#define NB_NEEDS    LEDGE_CPU_AVX2
#define NB_DOT_MOST 15 /* two products of a byte by at most 15 fit the 16 bits of maddubs */

static inline vi nb_dot(vi acc, vi codes, vi a)
{
    const vi pairs = _mm256_maddubs_epi16(codes, a);
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#include "engine/kernels/nbits_table.h"
