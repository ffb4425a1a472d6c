/* Kernels for blocked weights with AVX-512; compiled with its flags alone. */
#include "engine/kernels/x86/simd_avx512.h"

#define NB_ISA      avx512
#define NB_NEEDS    LEDGE_CPU_AVX512
#define NB_DOT_MOST 15 /* two products of a byte by at most 15 fit the 16 bits of maddubs */

static inline vi nb_dot(vi acc, vi codes, vi a)
{
    const vi pairs = _mm512_maddubs_epi16(codes, a);
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

#include "engine/kernels/x86/nbits_lookup.h"

#include "engine/kernels/nbits_table.h"
