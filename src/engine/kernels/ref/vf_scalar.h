/* The vector vocabulary of the fp32 kernel templates, in plain C: 1 lane.
 *
 * Every vf_<isa>.h defines the same names, so that a kernel is written once (the *_tile.h
 * files) and compiled once per instruction set. vf_clamp and the _n forms keep NaN and touch
 * no memory past n lanes. */
#ifndef LEDGE_KERNELS_VF_SCALAR_H
#define LEDGE_KERNELS_VF_SCALAR_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VF_ISA scalar
#define VF_LANES 1
#define VF_REGISTERS 16
#define VF_KEEP(x) ((void)0)

typedef float vf;

static inline vf vf_load(const float *p)
{
    return *p;
}
static inline vf vf_load_n(const float *p, size_t n) /* lanes from n on are 0 */
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
static inline vf vf_fma(vf a, vf b, vf c) /* a * b + c, rounded twice */
{
    return c + a * b;
}
static inline vf vf_clamp(vf x, vf lo, vf hi)
{
    const float y = lo > x ? lo : x;
    return hi < y ? hi : y;
}

#endif
