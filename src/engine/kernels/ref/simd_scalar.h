/* The vector vocabulary of the element-wise kernel templates with one lane: plain C that any
 * compiler takes, so that every CPU has every kernel.
 * See x86/simd_avx512.h for what the names mean. */
#ifndef LEDGE_KERNELS_SIMD_SCALAR_H
#define LEDGE_KERNELS_SIMD_SCALAR_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VF_ISA     scalar
#define VF_NEEDS   0
#define VF_LANES   1
#define VF_HAS_F16 0
#define VF_TILE    1

typedef float vf;
typedef int32_t vi;
typedef bool vm;

static inline vf vf_load(const float *p)
{
    return *p;
}
static inline vf vf_load_n(const float *p, size_t n)
{
    return n ? *p : 0.0f;
}
static inline void vf_store(float *p, vf a)
{
    *p = a;
}
static inline void vf_store_n(float *p, vf a, size_t n)
{
    if (n)
        *p = a;
}
static inline vf vf_set(float x)
{
    return x;
}
static inline vf vf_add(vf a, vf b)
{
    return a + b;
}
static inline vf vf_sub(vf a, vf b)
{
    return a - b;
}
static inline vf vf_mul(vf a, vf b)
{
    return a * b;
}
static inline vf vf_div(vf a, vf b)
{
    return a / b;
}
static inline vf vf_fma(vf a, vf b, vf c)
{
    return a * b + c;
}
static inline vf vf_fnma(vf a, vf b, vf c)
{
    return c - a * b;
}
static inline vf vf_min(vf a, vf b)
{
    return a < b ? a : b;
}
static inline vf vf_max(vf a, vf b)
{
    return a > b ? a : b;
}
static inline vf vf_sqrt(vf a)
{
    return sqrtf(a);
}
static inline vf vf_floor(vf a)
{
    return floorf(a);
}
static inline vf vf_ceil(vf a)
{
    return ceilf(a);
}
static inline vf vf_round(vf a)
{
    return rintf(a);
}
static inline vi vi_of(vf a)
{
    vi i;
    memcpy(&i, &a, sizeof i);
    return i;
}
static inline vf vf_of(vi a)
{
    vf f;
    memcpy(&f, &a, sizeof f);
    return f;
}
static inline vf vf_and(vf a, vf b)
{
    return vf_of(vi_of(a) & vi_of(b));
}
static inline vf vf_or(vf a, vf b)
{
    return vf_of(vi_of(a) | vi_of(b));
}
static inline vf vf_xor(vf a, vf b)
{
    return vf_of(vi_of(a) ^ vi_of(b));
}
static inline vm vf_lt(vf a, vf b)
{
    return a < b;
}
static inline vm vf_eq(vf a, vf b)
{
    return a == b;
}
static inline vm vf_nan(vf a)
{
    return a != a;
}
static inline vf vf_sel(vm m, vf a, vf b)
{
    return m ? a : b;
}
static inline vi vi_set(int32_t x)
{
    return x;
}
static inline vi vi_add(vi a, vi b)
{
    return (vi)((uint32_t)a + (uint32_t)b);
}
static inline vi vi_sub(vi a, vi b)
{
    return (vi)((uint32_t)a - (uint32_t)b);
}
static inline vi vi_and(vi a, vi b)
{
    return a & b;
}
#define vi_shl(a, n) ((vi)((uint32_t)(a) << (n)))
#define vi_sar(a, n) ((vi)(a) >> (n))
static inline vi vi_cvt(vf a) /* as the vector instructions do, anything out of range is INT_MIN */
{
    return a >= -2147483648.0f && a < 2147483648.0f ? (vi)rintf(a) : INT32_MIN;
}
static inline vf vf_cvt(vi a)
{
    return (vf)a;
}
static inline vf vf_scale2(vf a, vf n)
{
    const vi i = vi_cvt(n), half = vi_sar(i, 1);
    const vi rest = vi_sub(i, half);
    return a * vf_of(vi_shl(vi_add(half, 127), 23)) * vf_of(vi_shl(vi_add(rest, 127), 23));
}
static inline bool vf_all_number(vf a)
{
    return a == a;
}
static inline float vf_hsum(vf a)
{
    return a;
}
static inline float vf_hmax(vf a)
{
    return a;
}
static inline float vf_hmin(vf a)
{
    return a;
}
static inline vf vf_load_u8(const uint8_t *p)
{
    return (vf)*p;
}

#endif
