/* Kernels for blocked weights with WebAssembly's SIMD. */
#include "engine/kernels/wasm/simd_wasm.h"

#define NB_ISA      simd128
#define NB_NEEDS    LEDGE_CPU_WASM_SIMD
#define NB_DOT_MOST 255

static inline vi nb_dot(vi acc, vi codes, vi a)
{
    const v128_t low = wasm_i32x4_dot_i16x8(wasm_u16x8_extend_low_u8x16(codes),
                                            wasm_i16x8_extend_low_i8x16(a));
    const v128_t high = wasm_i32x4_dot_i16x8(wasm_u16x8_extend_high_u8x16(codes),
                                             wasm_i16x8_extend_high_i8x16(a));
    const v128_t even = wasm_i32x4_shuffle(low, high, 0, 2, 4, 6);
    const v128_t odd = wasm_i32x4_shuffle(low, high, 1, 3, 5, 7);
    return wasm_i32x4_add(acc, wasm_i32x4_add(even, odd));
}

#include "engine/kernels/nbits_table.h"
