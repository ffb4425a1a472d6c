/* The byte vocabulary of the kernel templates with one lane: plain C; see
 * x86/byte_avx512.h. */
#ifndef LEDGE_KERNELS_BYTE_SCALAR_H
#define LEDGE_KERNELS_BYTE_SCALAR_H

#include "engine/kernels/ref/simd_scalar.h"

#define VB_LANES 1
#define VB_PARTS 1

typedef uint8_t vb;
typedef uint16_t vs;

static inline vb vb_load(const uint8_t *p)
{
    return *p;
}
static inline vb vb_load_n(const uint8_t *p, size_t n)
{
    return n ? *p : 0;
}
static inline void vb_store(uint8_t *p, vb a)
{
    *p = a;
}
static inline void vb_store_n(uint8_t *p, vb a, size_t n)
{
    if (n)
        *p = a;
}
static inline vb vb_set(uint8_t x)
{
    return x;
}
static inline vb vb_xor(vb a, vb b)
{
    return a ^ b;
}
static inline vb vb_max(vb a, vb b)
{
    return a > b ? a : b;
}
static inline vb vb_spread(vb a)
{
    return a;
}
static inline vb vb_gather(vb a)
{
    return a;
}
static inline void vb_floats(vb a, vf out[VB_PARTS])
{
    out[0] = 8388608.0f + (float)a;
}
static inline vb vb_pack(const vi in[VB_PARTS], int32_t zero)
{
    const vi v = (in[0] < -32768 ? -32768 : in[0] > 32767 ? 32767 : in[0]) + zero;
    return (vb)(v < 0 ? 0 : v > 255 ? 255 : v);
}
static inline vf vf_least(vf a, vf b)
{
    return vf_min(a, b);
}
static inline vf vf_most(vf a, vf b)
{
    return vf_max(a, b);
}
static inline vs vs_zero(void)
{
    return 0;
}
static inline vs vs_add(vs s, vb a)
{
    return (vs)(s + a);
}
static inline void vs_add_to(vs s, vi sum[VB_PARTS])
{
    sum[0] += s;
}

typedef const uint8_t *vb_table;

static inline vb_table vb_table_load(const uint8_t *t)
{
    return t;
}
static inline vb vb_lookup(const vb_table *t, vb x)
{
    return (*t)[x];
}

#endif
