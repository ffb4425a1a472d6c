/* Kernels for blocked weights with AVX2 and the byte dot product of AVX-VNNI; compiled with their
 * flags alone. */
#include "engine/kernels/x86/simd_avx2.h"

#define NB_ISA      avxvnni
#define NB_BASE     avx2
#define NB_NEEDS    (LEDGE_CPU_AVX2 | LEDGE_CPU_AVXVNNI)
#define NB_DOT_MOST 255

static inline vi nb_dot(vi acc, vi codes, vi a)
{
    return _mm256_dpbusd_avx_epi32(acc, codes, a);
}

#include "engine/kernels/nbits_table.h"
