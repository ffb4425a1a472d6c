/* The vector vocabulary of the fp32 kernel templates, in AVX-512: 16 lanes, masked tails.
 *
 * Every vf_<isa>.h defines the same names, so that a kernel is written once (the *_tile.h
 * files) and compiled once per instruction set. vf_clamp and the _n forms keep NaN and touch
 * no memory past n lanes. */
#ifndef LEDGE_KERNELS_VF_AVX512_H
#define LEDGE_KERNELS_VF_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VF_ISA avx512
#define VF_LANES 16
#define VF_REGISTERS 32
#define VF_STRASSEN /* registers for its accumulators, and memory operands that broadcast */
#define VF_KEEP(x) __asm__("" : "+v"(x)) /* keeps x in a register of its own */

typedef __m512 vf;

static inline __mmask16 vf_mask(size_t n)
{
    return n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1);
}
static inline vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline vf vf_load_n(const float *p, size_t n) /* lanes from n on are 0 */
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
static inline vf vf_fma(vf a, vf b, vf c) /* a * b + c */
{
    return _mm512_fmadd_ps(a, b, c);
}
static inline vf vf_clamp(vf x, vf lo, vf hi)
{
    return _mm512_min_ps(hi, _mm512_max_ps(lo, x));
}

#endif
