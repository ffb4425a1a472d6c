/* The vector vocabulary of the fp32 kernel templates, in WebAssembly SIMD128: 4 lanes.
 *
 * Every vf_<isa>.h defines the same names, so that a kernel is written once (the *_tile.h
 * files) and compiled once per instruction set. vf_clamp and the _n forms keep NaN and touch
 * no memory past n lanes. */
#ifndef LEDGE_KERNELS_VF_SIMD128_H
#define LEDGE_KERNELS_VF_SIMD128_H

#include <wasm_simd128.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VF_ISA simd128
#define VF_LANES 4
#define VF_REGISTERS 16
#define VF_KEEP(x) __asm__ volatile("" : "+r"(x)) /* keeps x in a local of its own, in order */

typedef v128_t vf;

static inline vf vf_load(const float *p)
{
    return wasm_v128_load(p);
}
static inline vf vf_load_n(const float *p, size_t n) /* lanes from n on are 0 */
{
    float x[4] = {0, 0, 0, 0};
    memcpy(x, p, (n < 4 ? n : 4) * sizeof(float));
    return vf_load(x);
}
static inline void vf_store(float *p, vf a)
{
    wasm_v128_store(p, a);
}
static inline void vf_store_n(float *p, vf a, size_t n)
{
    float x[4];
    vf_store(x, a);
    memcpy(p, x, (n < 4 ? n : 4) * sizeof(float));
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
static inline vf vf_fma(vf a, vf b, vf c) /* a * b + c, rounded twice */
{
    return wasm_f32x4_add(c, wasm_f32x4_mul(a, b));
}
/* pmax(x, lo) is x < lo ? lo : x, which keeps NaN and is one instruction on x86; max is five. */
static inline vf vf_clamp(vf x, vf lo, vf hi)
{
    return wasm_f32x4_pmin(wasm_f32x4_pmax(x, lo), hi);
}

#endif
