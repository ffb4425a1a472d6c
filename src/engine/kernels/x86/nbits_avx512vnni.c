/* Kernels for blocked weights with AVX-512 and its byte dot product; compiled with its flags
 * alone. */
#include "engine/kernels/x86/simd_avx512.h"

#define NB_ISA      avx512vnni
#define NB_BASE     avx512
#define NB_NEEDS    (LEDGE_CPU_AVX512 | LEDGE_CPU_AVX512VNNI)
#define NB_DOT_MOST 255

static inline vi nb_dot(vi acc, vi codes, vi a)
{
    return _mm512_dpbusd_epi32(acc, codes, a);
}

#include "engine/kernels/nbits_table.h"
