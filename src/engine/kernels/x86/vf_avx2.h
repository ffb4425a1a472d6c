/* The vector vocabulary of the fp32 kernel templates, in AVX2 with FMA: 8 lanes.
 *
 * Every vf_<isa>.h defines the same names, so that a kernel is written once (the *_tile.h
 * files) and compiled once per instruction set. vf_clamp and the _n forms keep NaN and touch
 * no memory past n lanes. */
#ifndef LEDGE_KERNELS_VF_AVX2_H
#define LEDGE_KERNELS_VF_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef VF_ISA /* vf_avx512y.h is this with more registers */
#define VF_ISA avx2
#define VF_REGISTERS 16
#define VF_KEEP(x) __asm__("" : "+x"(x)) /* keeps x in a register of its own */
#endif
#define VF_LANES 8

typedef __m256 vf;

static inline __m256i vf_mask(size_t n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n > 8 ? 8 : (int)n), lane);
}
static inline vf vf_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
static inline vf vf_load_n(const float *p, size_t n) /* lanes from n on are 0 */
{
    return _mm256_maskload_ps(p, vf_mask(n));
}
static inline void vf_store(float *p, vf a)
{
    _mm256_storeu_ps(p, a);
}
static inline void vf_store_n(float *p, vf a, size_t n)
{
    _mm256_maskstore_ps(p, vf_mask(n), a);
}
static inline vf vf_set(float x)
{
    return _mm256_set1_ps(x);
}
static inline vf vf_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}
static inline vf vf_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}
static inline vf vf_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c) /* a * b + c */
{
    return _mm256_fmadd_ps(a, b, c);
}
static inline vf vf_clamp(vf x, vf lo, vf hi)
{
    return _mm256_min_ps(hi, _mm256_max_ps(lo, x));
}

#endif
