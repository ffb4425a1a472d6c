/* The byte vocabulary of the kernel templates, in WebAssembly SIMD128; see
 * x86/byte_avx512.h. */
#ifndef LEDGE_KERNELS_BYTE_WASM_H
#define LEDGE_KERNELS_BYTE_WASM_H

#include "engine/kernels/wasm/simd_wasm.h"
#include "engine/kernels/unroll.h"

#define VB_LANES 16
#define VB_PARTS 4

typedef v128_t vb;
typedef struct vs {
    v128_t lo, hi;
} vs;

static inline vb vb_load(const uint8_t *p)
{
    return wasm_v128_load(p);
}
static inline vb vb_load_n(const uint8_t *p, size_t n)
{
    uint8_t t[VB_LANES] = {0};
    memcpy(t, p, n);
    return wasm_v128_load(t);
}
static inline void vb_store(uint8_t *p, vb a)
{
    wasm_v128_store(p, a);
}
static inline void vb_store_n(uint8_t *p, vb a, size_t n)
{
    uint8_t t[VB_LANES];
    wasm_v128_store(t, a);
    memcpy(p, t, n);
}
static inline vb vb_set(uint8_t x)
{
    return wasm_u8x16_splat(x);
}
static inline vb vb_xor(vb a, vb b)
{
    return wasm_v128_xor(a, b);
}
static inline vb vb_max(vb a, vb b)
{
    return wasm_u8x16_max(a, b);
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
    const v128_t top = wasm_i16x8_splat(0x4b00);
    const v128_t lo = wasm_u16x8_extend_low_u8x16(a), hi = wasm_u16x8_extend_high_u8x16(a);
    out[0] = wasm_i16x8_shuffle(lo, top, 0, 8, 1, 9, 2, 10, 3, 11);
    out[1] = wasm_i16x8_shuffle(lo, top, 4, 12, 5, 13, 6, 14, 7, 15);
    out[2] = wasm_i16x8_shuffle(hi, top, 0, 8, 1, 9, 2, 10, 3, 11);
    out[3] = wasm_i16x8_shuffle(hi, top, 4, 12, 5, 13, 6, 14, 7, 15);
}
static inline vb vb_pack(const vi in[VB_PARTS], int32_t zero)
{
    const v128_t z = wasm_i16x8_splat((int16_t)zero);
    const v128_t lo = wasm_i16x8_add_sat(wasm_i16x8_narrow_i32x4(in[0], in[1]), z);
    const v128_t hi = wasm_i16x8_add_sat(wasm_i16x8_narrow_i32x4(in[2], in[3]), z);
    return wasm_u8x16_narrow_i16x8(lo, hi);
}
/* NaN need not be looked for: its conversion is 0, as it must be. */
static inline bool vb_settled(const vi a[VB_PARTS], const vi b[VB_PARTS], const vf x[VB_PARTS])
{
    v128_t d = wasm_v128_xor(a[0], b[0]);
    (void)x;
    VX_UNROLL
    for (int i = 1; i < VB_PARTS; i++)
        d = wasm_v128_or(d, wasm_v128_xor(a[i], b[i]));
    return !wasm_v128_any_true(d);
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
    const vs s = {wasm_i16x8_splat(0), wasm_i16x8_splat(0)};
    return s;
}
static inline vs vs_add(vs s, vb a)
{
    s.lo = wasm_i16x8_add(s.lo, wasm_u16x8_extend_low_u8x16(a));
    s.hi = wasm_i16x8_add(s.hi, wasm_u16x8_extend_high_u8x16(a));
    return s;
}
static inline void vs_add_to(vs s, vi sum[VB_PARTS])
{
    sum[0] = vi_add(sum[0], wasm_u32x4_extend_low_u16x8(s.lo));
    sum[1] = vi_add(sum[1], wasm_u32x4_extend_high_u16x8(s.lo));
    sum[2] = vi_add(sum[2], wasm_u32x4_extend_low_u16x8(s.hi));
    sum[3] = vi_add(sum[3], wasm_u32x4_extend_high_u16x8(s.hi));
}

typedef struct vb_table {
    v128_t rows[16];
} vb_table;

static inline vb_table vb_table_load(const uint8_t *t)
{
    vb_table v;
    VX_UNROLL
    for (int i = 0; i < 16; i++)
        v.rows[i] = vb_load(t + 16 * i);
    return v;
}
/* A swizzle gives 0 for places past 15. */
static inline vb vb_lookup(const vb_table *t, vb x)
{
    vb y = wasm_i8x16_swizzle(t->rows[0], x);
    VX_UNROLL
    for (int i = 1; i < 16; i++)
        y = wasm_v128_or(
            y, wasm_i8x16_swizzle(t->rows[i], wasm_i8x16_sub(x, vb_set((uint8_t)(16 * i)))));
    return y;
}

#endif
