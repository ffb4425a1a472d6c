/* The vector vocabulary of the element-wise kernel templates, in WebAssembly SIMD128.
 * See x86/simd_avx512.h for what the names mean. There is no fused multiply-add. */
#ifndef LEDGE_KERNELS_SIMD_WASM_H
#define LEDGE_KERNELS_SIMD_WASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <wasm_simd128.h>

#define VF_ISA     wasm
#define VF_NEEDS   LEDGE_CPU_WASM_SIMD
#define VF_LANES   4
#define VF_HAS_F16 0
#define VF_TILE    4

typedef v128_t vf;
typedef v128_t vi;
typedef v128_t vm;

static inline vf vf_load(const float *p)
{
    return wasm_v128_load(p);
}
static inline vf vf_load_n(const float *p, size_t n)
{
    float t[4] = {0, 0, 0, 0};
    memcpy(t, p, n * sizeof *p);
    return wasm_v128_load(t);
}
static inline void vf_store(float *p, vf a)
{
    wasm_v128_store(p, a);
}
static inline void vf_store_n(float *p, vf a, size_t n)
{
    float t[4];
    wasm_v128_store(t, a);
    memcpy(p, t, n * sizeof *p);
}
static inline vf vf_set(float x)
{
    return wasm_f32x4_splat(x);
}
static inline vf vf_add(vf a, vf b)
{
    return wasm_f32x4_add(a, b);
}
static inline vf vf_sub(vf a, vf b)
{
    return wasm_f32x4_sub(a, b);
}
static inline vf vf_mul(vf a, vf b)
{
    return wasm_f32x4_mul(a, b);
}
static inline vf vf_div(vf a, vf b)
{
    return wasm_f32x4_div(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c)
{
    return wasm_f32x4_add(wasm_f32x4_mul(a, b), c);
}
static inline vf vf_fnma(vf a, vf b, vf c)
{
    return wasm_f32x4_sub(c, wasm_f32x4_mul(a, b));
}
/* pmin(x, y) is y < x ? y : x, which one x86 instruction does; with the operands turned it
 * gives the second one for NaN. */
static inline vf vf_min(vf a, vf b)
{
    return wasm_f32x4_pmin(b, a);
}
static inline vf vf_max(vf a, vf b)
{
    return wasm_f32x4_pmax(b, a);
}
static inline vf vf_sqrt(vf a)
{
    return wasm_f32x4_sqrt(a);
}
static inline vf vf_floor(vf a)
{
    return wasm_f32x4_floor(a);
}
static inline vf vf_ceil(vf a)
{
    return wasm_f32x4_ceil(a);
}
static inline vf vf_round(vf a)
{
    return wasm_f32x4_nearest(a);
}
static inline vi vi_of(vf a)
{
    return a;
}
static inline vf vf_of(vi a)
{
    return a;
}
static inline vf vf_and(vf a, vf b)
{
    return wasm_v128_and(a, b);
}
static inline vf vf_or(vf a, vf b)
{
    return wasm_v128_or(a, b);
}
static inline vf vf_xor(vf a, vf b)
{
    return wasm_v128_xor(a, b);
}
static inline vm vf_lt(vf a, vf b)
{
    return wasm_f32x4_lt(a, b);
}
static inline vm vf_eq(vf a, vf b)
{
    return wasm_f32x4_eq(a, b);
}
static inline vm vf_nan(vf a)
{
    return wasm_f32x4_ne(a, a);
}
static inline vf vf_sel(vm m, vf a, vf b)
{
    return wasm_v128_bitselect(a, b, m);
}
static inline vi vi_set(int32_t x)
{
    return wasm_i32x4_splat(x);
}
static inline vi vi_add(vi a, vi b)
{
    return wasm_i32x4_add(a, b);
}
static inline vi vi_sub(vi a, vi b)
{
    return wasm_i32x4_sub(a, b);
}
static inline vi vi_and(vi a, vi b)
{
    return wasm_v128_and(a, b);
}
#define vi_shl(a, n) wasm_i32x4_shl(a, n)
#define vi_sar(a, n) wasm_i32x4_shr(a, n)
static inline vi vi_cvt(vf a)
{
    return wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(a));
}
static inline vf vf_cvt(vi a)
{
    return wasm_f32x4_convert_i32x4(a);
}
static inline vf vf_scale2(vf a, vf n)
{
    const vi i = vi_cvt(n), half = vi_sar(i, 1), one = vi_set(127);
    const vi rest = vi_sub(i, half);
    a = vf_mul(a, vi_shl(vi_add(half, one), 23));
    return vf_mul(a, vi_shl(vi_add(rest, one), 23));
}
static inline bool vf_all_number(vf a)
{
    return !wasm_v128_any_true(vf_nan(a));
}
static inline float vf_hsum(vf a)
{
    a = vf_add(a, wasm_i32x4_shuffle(a, a, 2, 3, 0, 1));
    return wasm_f32x4_extract_lane(a, 0) + wasm_f32x4_extract_lane(a, 1);
}
static inline float vf_hmax(vf a)
{
    a = wasm_f32x4_pmax(a, wasm_i32x4_shuffle(a, a, 2, 3, 0, 1));
    a = wasm_f32x4_pmax(a, wasm_i32x4_shuffle(a, a, 1, 0, 3, 2));
    return wasm_f32x4_extract_lane(a, 0);
}
static inline float vf_hmin(vf a)
{
    a = wasm_f32x4_pmin(a, wasm_i32x4_shuffle(a, a, 2, 3, 0, 1));
    a = wasm_f32x4_pmin(a, wasm_i32x4_shuffle(a, a, 1, 0, 3, 2));
    return wasm_f32x4_extract_lane(a, 0);
}
static inline vf vf_load_u8(const uint8_t *p)
{
    const v128_t half = wasm_u16x8_extend_low_u8x16(wasm_v128_load32_zero(p));
    return wasm_f32x4_convert_i32x4(wasm_u32x4_extend_low_u16x8(half));
}

/* y[c][r] = x[r][c] for c < 4; `rows` (1 … 4) rows are read, the rest of the tile repeats one. */
static inline void tile4(const uint32_t *x, size_t ldx, uint32_t *y, size_t ldy, size_t rows)
{
    const v128_t a = wasm_v128_load(x), b = wasm_v128_load(x + (rows > 1 ? ldx : 0));
    const v128_t c = wasm_v128_load(x + (rows > 2 ? 2 * ldx : 0));
    const v128_t d = wasm_v128_load(x + (rows > 3 ? 3 * ldx : 0));
    const v128_t ab0 = wasm_i32x4_shuffle(a, b, 0, 4, 1, 5);
    const v128_t ab1 = wasm_i32x4_shuffle(a, b, 2, 6, 3, 7);
    const v128_t cd0 = wasm_i32x4_shuffle(c, d, 0, 4, 1, 5);
    const v128_t cd1 = wasm_i32x4_shuffle(c, d, 2, 6, 3, 7);
    wasm_v128_store(y, wasm_i64x2_shuffle(ab0, cd0, 0, 2));
    wasm_v128_store(y + ldy, wasm_i64x2_shuffle(ab0, cd0, 1, 3));
    wasm_v128_store(y + 2 * ldy, wasm_i64x2_shuffle(ab1, cd1, 0, 2));
    wasm_v128_store(y + 3 * ldy, wasm_i64x2_shuffle(ab1, cd1, 1, 3));
}

#endif
