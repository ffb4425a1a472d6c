/* The vector vocabulary of the element-wise kernel templates, in AVX-512: 16 lanes, masked
 * tails, mask registers for comparisons.
 *
 * Every simd_<isa>.h defines the same names: vf (floats), vi (int32), vm (a comparison's
 * result). vf_min and vf_max give the second operand when either is NaN, as x86 does. */
#ifndef LEDGE_KERNELS_SIMD_AVX512_H
#define LEDGE_KERNELS_SIMD_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/kernels/x86/tile_avx.h"
#include "engine/kernels/x86/tile_sse.h"

#define VF_ISA     avx512
#define VF_NEEDS   LEDGE_CPU_AVX512
#define VF_LANES   16
#define VF_HAS_F16 1
#define VF_LOOKUP_32(i, t) /* element i % 32 of 32 floats, each lane its own */ \
    _mm512_permutex2var_ps(_mm512_loadu_ps(t), i, _mm512_loadu_ps((t) + 16))
#define VF_TILE    8

typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;

static inline __mmask16 vf_mask(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}
static inline vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline vf vf_load_n(const float *p, size_t n) /* n < VF_LANES; the other lanes are 0 */
{
    return _mm512_maskz_loadu_ps(vf_mask(n), p);
}
static inline void vf_store(float *p, vf a)
{
    _mm512_storeu_ps(p, a);
}
static inline void vf_store_n(float *p, vf a, size_t n)
{
    _mm512_mask_storeu_ps(p, vf_mask(n), a);
}
static inline vf vf_set(float x)
{
    return _mm512_set1_ps(x);
}
static inline vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
static inline vf vf_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c) /* a * b + c */
{
    return _mm512_fmadd_ps(a, b, c);
}
static inline vf vf_fnma(vf a, vf b, vf c) /* c - a * b */
{
    return _mm512_fnmadd_ps(a, b, c);
}
static inline vf vf_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}
static inline vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}
static inline vf vf_sqrt(vf a)
{
    return _mm512_sqrt_ps(a);
}
static inline vf vf_floor(vf a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
static inline vf vf_ceil(vf a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
}
static inline vf vf_round(vf a) /* halves to even */
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline vi vi_of(vf a) /* the bits */
{
    return _mm512_castps_si512(a);
}
static inline vf vf_of(vi a)
{
    return _mm512_castsi512_ps(a);
}
static inline vf vf_and(vf a, vf b)
{
    return _mm512_and_ps(a, b);
}
static inline vf vf_or(vf a, vf b)
{
    return _mm512_or_ps(a, b);
}
static inline vf vf_xor(vf a, vf b)
{
    return _mm512_xor_ps(a, b);
}
static inline vm vf_lt(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
static inline vm vf_eq(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
static inline vm vf_nan(vf a)
{
    return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
}
static inline vf vf_sel(vm m, vf a, vf b) /* m ? a : b */
{
    return _mm512_mask_blend_ps(m, b, a);
}
static inline vi vi_set(int32_t x)
{
    return _mm512_set1_epi32(x);
}
static inline vi vi_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}
static inline vi vi_sub(vi a, vi b)
{
    return _mm512_sub_epi32(a, b);
}
static inline vi vi_and(vi a, vi b)
{
    return _mm512_and_si512(a, b);
}
#define vi_shl(a, n) _mm512_slli_epi32(a, n)
#define vi_sar(a, n) _mm512_srai_epi32(a, n)
static inline vi vi_cvt(vf a) /* to the nearest integer */
{
    return _mm512_cvtps_epi32(a);
}
static inline vf vf_cvt(vi a)
{
    return _mm512_cvtepi32_ps(a);
}
static inline vf vf_scale2(vf a, vf n) /* a * 2^n for integral n in -300 … 300 */
{
    return _mm512_scalef_ps(a, n);
}
static inline bool vf_all_number(vf a)
{
    return vf_nan(a) == 0;
}
static inline float vf_hsum(vf a)
{
    return _mm512_reduce_add_ps(a);
}
static inline float vf_hmax(vf a)
{
    return _mm512_reduce_max_ps(a);
}
static inline float vf_hmin(vf a)
{
    return _mm512_reduce_min_ps(a);
}
static inline vf vf_load_u8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
static inline vf vf_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
static inline void vf_store_f16(uint16_t *p, vf a)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}

#endif
