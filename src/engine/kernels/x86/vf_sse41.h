/* The vector vocabulary of the fp32 kernel templates, in SSE4.1: 4 lanes, multiply and add apart.
 *
 * Every vf_<isa>.h defines the same names, so that a kernel is written once (the *_tile.h
 * files) and compiled once per instruction set. vf_clamp and the _n forms keep NaN and touch
 * no memory past n lanes. */
#ifndef LEDGE_KERNELS_VF_SSE41_H
#define LEDGE_KERNELS_VF_SSE41_H

#include <smmintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VF_ISA sse41
#define VF_LANES 4
#define VF_REGISTERS 16
#define VF_KEEP(x) __asm__("" : "+x"(x)) /* keeps x in a register of its own */

typedef __m128 vf;

static inline vf vf_load(const float *p)
{
    return _mm_loadu_ps(p);
}
static inline vf vf_load_n(const float *p, size_t n) /* lanes from n on are 0 */
{
    float x[4] = {0, 0, 0, 0};
    memcpy(x, p, (n < 4 ? n : 4) * sizeof(float));
    return vf_load(x);
}
static inline void vf_store(float *p, vf a)
{
    _mm_storeu_ps(p, a);
}
static inline void vf_store_n(float *p, vf a, size_t n)
{
    float x[4];
    vf_store(x, a);
    memcpy(p, x, (n < 4 ? n : 4) * sizeof(float));
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
static inline vf vf_fma(vf a, vf b, vf c) /* a * b + c, rounded twice */
{
    return _mm_add_ps(c, _mm_mul_ps(a, b));
}
static inline vf vf_clamp(vf x, vf lo, vf hi)
{
    return _mm_min_ps(hi, _mm_max_ps(lo, x));
}

#endif
