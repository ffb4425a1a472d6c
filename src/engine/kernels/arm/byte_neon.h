/* The byte vocabulary of the kernel templates, in NEON; see x86/byte_avx512.h. */
#ifndef LEDGE_KERNELS_BYTE_NEON_H
#define LEDGE_KERNELS_BYTE_NEON_H

#include "engine/kernels/arm/simd_neon.h"
#include "engine/kernels/unroll.h"

#define VB_LANES 16
#define VB_PARTS 4

typedef uint8x16_t vb;
typedef struct vs {
    uint16x8_t lo, hi;
} vs;

static inline vb vb_load(const uint8_t *p)
{
    return vld1q_u8(p);
}
static inline vb vb_load_n(const uint8_t *p, size_t n)
{
    uint8_t t[VB_LANES] = {0};
    memcpy(t, p, n);
    return vld1q_u8(t);
}
static inline void vb_store(uint8_t *p, vb a)
{
    vst1q_u8(p, a);
}
static inline void vb_store_n(uint8_t *p, vb a, size_t n)
{
    uint8_t t[VB_LANES];
    vst1q_u8(t, a);
    memcpy(p, t, n);
}
static inline vb vb_set(uint8_t x)
{
    return vdupq_n_u8(x);
}
static inline vb vb_xor(vb a, vb b)
{
    return veorq_u8(a, b);
}
static inline vb vb_max(vb a, vb b)
{
    return vmaxq_u8(a, b);
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
    const uint16x8_t top = vdupq_n_u16(0x4b00);
    const uint16x8_t lo = vmovl_u8(vget_low_u8(a)), hi = vmovl_high_u8(a);
    out[0] = vreinterpretq_f32_u16(vzip1q_u16(lo, top));
    out[1] = vreinterpretq_f32_u16(vzip2q_u16(lo, top));
    out[2] = vreinterpretq_f32_u16(vzip1q_u16(hi, top));
    out[3] = vreinterpretq_f32_u16(vzip2q_u16(hi, top));
}
static inline vb vb_pack(const vi in[VB_PARTS], int32_t zero)
{
    const int16x8_t z = vdupq_n_s16((int16_t)zero);
    const int16x8_t lo = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(in[0]), in[1]), z);
    const int16x8_t hi = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(in[2]), in[3]), z);
    return vqmovun_high_s16(vqmovun_s16(lo), hi);
}
/* NaN need not be looked for: its conversion is 0, as it must be. */
static inline bool vb_settled(const vi a[VB_PARTS], const vi b[VB_PARTS], const vf x[VB_PARTS])
{
    int32x4_t d = veorq_s32(a[0], b[0]);
    (void)x;
    VX_UNROLL
    for (int i = 1; i < VB_PARTS; i++)
        d = vorrq_s32(d, veorq_s32(a[i], b[i]));
    return vmaxvq_u32(vreinterpretq_u32_s32(d)) == 0;
}
static inline vf vf_least(vf a, vf b)
{
    return vminnmq_f32(a, b);
}
static inline vf vf_most(vf a, vf b)
{
    return vmaxnmq_f32(a, b);
}
static inline vs vs_zero(void)
{
    const vs s = {vdupq_n_u16(0), vdupq_n_u16(0)};
    return s;
}
static inline vs vs_add(vs s, vb a)
{
    s.lo = vaddw_u8(s.lo, vget_low_u8(a));
    s.hi = vaddw_high_u8(s.hi, a);
    return s;
}
static inline void vs_add_to(vs s, vi sum[VB_PARTS])
{
    sum[0] = vi_add(sum[0], vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(s.lo))));
    sum[1] = vi_add(sum[1], vreinterpretq_s32_u32(vmovl_high_u16(s.lo)));
    sum[2] = vi_add(sum[2], vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(s.hi))));
    sum[3] = vi_add(sum[3], vreinterpretq_s32_u32(vmovl_high_u16(s.hi)));
}

typedef struct vb_table {
    uint8x16x4_t rows[4];
} vb_table;

static inline vb_table vb_table_load(const uint8_t *t)
{
    vb_table v;
    VX_UNROLL
    for (int i = 0; i < 4; i++)
        VX_UNROLL
    for (int k = 0; k < 4; k++)
        v.rows[i].val[k] = vld1q_u8(t + 64 * i + 16 * k);
    return v;
}
/* A place past the four registers leaves the byte as it is. */
static inline vb vb_lookup(const vb_table *t, vb x)
{
    vb y = vqtbl4q_u8(t->rows[0], x);
    VX_UNROLL
    for (int i = 1; i < 4; i++)
        y = vqtbx4q_u8(y, t->rows[i], vsubq_u8(x, vdupq_n_u8((uint8_t)(64 * i))));
    return y;
}

#endif
