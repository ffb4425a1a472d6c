/* The vector vocabulary of the element-wise kernel templates, in SSE4.1.
 * See simd_avx512.h for what the names mean. There is no fused multiply-add: vf_fma rounds
 * twice, which the kernels' error bounds allow for. */
#ifndef LEDGE_KERNELS_SIMD_SSE41_H
#define LEDGE_KERNELS_SIMD_SSE41_H

#include <smmintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/kernels/x86/tile_sse.h"

#define VF_ISA     sse41
#define VF_NEEDS   LEDGE_CPU_SSE41
#define VF_LANES   4
#define VF_HAS_F16 0
#define VF_TILE    4

typedef __m128 vf;
typedef __m128i vi;
typedef __m128 vm;

static inline vf vf_load(const float *p)
{
    return _mm_loadu_ps(p);
}
static inline vf vf_load_n(const float *p, size_t n)
{
    float t[4] = {0, 0, 0, 0};
    memcpy(t, p, n * sizeof *p);
    return _mm_loadu_ps(t);
}
static inline void vf_store(float *p, vf a)
{
    _mm_storeu_ps(p, a);
}
static inline void vf_store_n(float *p, vf a, size_t n)
{
    float t[4];
    _mm_storeu_ps(t, a);
    memcpy(p, t, n * sizeof *p);
}
static inline vf vf_set(float x)
{
    return _mm_set1_ps(x);
}
static inline vf vf_add(vf a, vf b)
{
    return _mm_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b)
{
    return _mm_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b)
{
    return _mm_mul_ps(a, b);
}
static inline vf vf_div(vf a, vf b)
{
    return _mm_div_ps(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c)
{
    return _mm_add_ps(_mm_mul_ps(a, b), c);
}
static inline vf vf_fnma(vf a, vf b, vf c)
{
    return _mm_sub_ps(c, _mm_mul_ps(a, b));
}
static inline vf vf_min(vf a, vf b)
{
    return _mm_min_ps(a, b);
}
static inline vf vf_max(vf a, vf b)
{
    return _mm_max_ps(a, b);
}
static inline vf vf_sqrt(vf a)
{
    return _mm_sqrt_ps(a);
}
static inline vf vf_floor(vf a)
{
    return _mm_floor_ps(a);
}
static inline vf vf_ceil(vf a)
{
    return _mm_ceil_ps(a);
}
static inline vf vf_round(vf a)
{
    return _mm_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline vi vi_of(vf a)
{
    return _mm_castps_si128(a);
}
static inline vf vf_of(vi a)
{
    return _mm_castsi128_ps(a);
}
static inline vf vf_and(vf a, vf b)
{
    return _mm_and_ps(a, b);
}
static inline vf vf_or(vf a, vf b)
{
    return _mm_or_ps(a, b);
}
static inline vf vf_xor(vf a, vf b)
{
    return _mm_xor_ps(a, b);
}
static inline vm vf_lt(vf a, vf b)
{
    return _mm_cmplt_ps(a, b);
}
static inline vm vf_eq(vf a, vf b)
{
    return _mm_cmpeq_ps(a, b);
}
static inline vm vf_nan(vf a)
{
    return _mm_cmpunord_ps(a, a);
}
static inline vf vf_sel(vm m, vf a, vf b)
{
    return _mm_blendv_ps(b, a, m);
}
static inline vi vi_set(int32_t x)
{
    return _mm_set1_epi32(x);
}
static inline vi vi_add(vi a, vi b)
{
    return _mm_add_epi32(a, b);
}
static inline vi vi_sub(vi a, vi b)
{
    return _mm_sub_epi32(a, b);
}
static inline vi vi_and(vi a, vi b)
{
    return _mm_and_si128(a, b);
}
#define vi_shl(a, n) _mm_slli_epi32(a, n)
#define vi_sar(a, n) _mm_srai_epi32(a, n)
static inline vi vi_cvt(vf a)
{
    return _mm_cvtps_epi32(a);
}
static inline vf vf_cvt(vi a)
{
    return _mm_cvtepi32_ps(a);
}
static inline vf vf_scale2(vf a, vf n)
{
    const vi i = _mm_cvtps_epi32(n), half = _mm_srai_epi32(i, 1), one = _mm_set1_epi32(127);
    const vi rest = _mm_sub_epi32(i, half);
    a = _mm_mul_ps(a, vf_of(_mm_slli_epi32(_mm_add_epi32(half, one), 23)));
    return _mm_mul_ps(a, vf_of(_mm_slli_epi32(_mm_add_epi32(rest, one), 23)));
}
static inline bool vf_all_number(vf a)
{
    return _mm_movemask_ps(vf_nan(a)) == 0;
}
static inline float vf_hsum(vf a)
{
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps(a, a, 1)));
}
static inline float vf_hmax(vf a)
{
    a = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(a, _mm_shuffle_ps(a, a, 1)));
}
static inline float vf_hmin(vf a)
{
    a = _mm_min_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_min_ss(a, _mm_shuffle_ps(a, a, 1)));
}
static inline vf vf_load_u8(const uint8_t *p)
{
    int32_t four;
    memcpy(&four, p, 4);
    return _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four)));
}

#endif
