/* Expands every 8-bit kernel template for the instruction set whose vq_<isa>.h was included
 * before; each conv_q8_<isa>.c consists of those two lines. */
#include <stdbool.h>
#include <string.h>

#include "engine/kernels/q8.h"
#include "engine/kernels/unroll.h"

#define VQ_BYTES (VQ_LANES * 4)

#define VQ_CAT2_(a, b) a##b
#define VQ_CAT2(a, b) VQ_CAT2_(a, b)
#define VQ_CAT3_(a, b, c) a##b##x##c
#define VQ_CAT3(a, b, c) VQ_CAT3_(a, b, c)

#ifdef VQ_PAIRS
/* The last kc % 8 bytes of a row likewise. */
VX_INLINE uint64_t q8_last_eight(const uint8_t *row, size_t kc)
{
    uint64_t x = 0;
    if (kc > 8) {
        memcpy(&x, row + kc - 8, 8);
        return x >> (8 * (8 - kc % 8));
    }
    for (size_t i = 0; i < kc; i++)
        x |= (uint64_t)row[i] << (8 * i);
    return x;
}
#else
/* The last kc % 4 bytes of a row, zeros above; touches nothing outside the row. */
VX_INLINE uint32_t q8_last_bytes(const uint8_t *row, size_t kc)
{
    uint32_t x = 0;
    if (kc > 4) {
        memcpy(&x, row + kc - 4, 4);
        return x >> (8 * (4 - kc % 4));
    }
    for (size_t i = 0; i < kc; i++)
        x |= (uint32_t)row[i] << (8 * i);
    return x;
}
#endif

VX_INLINE float q8_clamp_one(float x, float lo, float hi)
{
    x = x < lo ? lo : x;
    return x > hi ? hi : x;
}

/* To the nearest integer, ties to even; |x| < 2^22. */
VX_INLINE float q8_nearest_one(float x)
{
    return (x + 12582912.0f) - 12582912.0f;
}

VX_INLINE uint8_t q8_sum_one(const LedgeQ8Out *o, float y, uint8_t r)
{
    const float q = q8_nearest_one(q8_clamp_one(y, (float)(o->y_lo - o->y_zero),
                                                (float)(o->y_hi - o->y_zero)));
    const float z = q * o->y_scale + (float)(r - o->r_zero) * o->r_scale;
    return (uint8_t)((int32_t)q8_nearest_one(q8_clamp_one(z, (float)(o->z_lo - o->z_zero),
                                                          (float)(o->z_hi - o->z_zero))) +
                     o->z_zero);
}

#include "engine/kernels/q8_out.h"

#ifdef VQ_PAIRS /* two rows by two columns, eight bytes of k at once */
#define VQ_TILE "engine/kernels/gemm_q8_pair_tile.h"
#else
#define VQ_TILE "engine/kernels/gemm_q8_tile.h"
#endif

#define Q8_NV 1
#define Q8_MR 1
#include VQ_TILE
#define Q8_MR 2
#include VQ_TILE
#define Q8_MR 3
#include VQ_TILE
#define Q8_MR 4
#include VQ_TILE
#if VQ_REGISTERS > 4
#define Q8_MR 5
#include VQ_TILE
#define Q8_MR 6
#include VQ_TILE
#define Q8_MR 7
#include VQ_TILE
#define Q8_MR 8
#include VQ_TILE
#endif
#undef Q8_NV
#if VQ_REGISTERS >= 16
#define Q8_NV 2
#define Q8_MR 1
#include VQ_TILE
#define Q8_MR 2
#include VQ_TILE
#define Q8_MR 3
#include VQ_TILE
#define Q8_MR 4
#include VQ_TILE
#define Q8_MR 5
#include VQ_TILE
#define Q8_MR 6
#include VQ_TILE
#if VQ_REGISTERS >= 32
#define Q8_MR 7
#include VQ_TILE
#define Q8_MR 8
#include VQ_TILE
#endif
#undef Q8_NV
#endif
#if VQ_REGISTERS >= 32
#define Q8_NV 3
#define Q8_MR 1
#include VQ_TILE
#define Q8_MR 2
#include VQ_TILE
#define Q8_MR 3
#include VQ_TILE
#define Q8_MR 4
#include VQ_TILE
#define Q8_MR 5
#include VQ_TILE
#define Q8_MR 6
#include VQ_TILE
#define Q8_MR 7
#include VQ_TILE
#define Q8_MR 8
#include VQ_TILE
#undef Q8_NV
#define Q8_NV 4
#define Q8_MR 1
#include VQ_TILE
#define Q8_MR 2
#include VQ_TILE
#define Q8_MR 3
#include VQ_TILE
#define Q8_MR 4
#include VQ_TILE
#define Q8_MR 5
#include VQ_TILE
#define Q8_MR 6
#include VQ_TILE
#undef Q8_NV
#endif

void VQ_CAT2(ledge__gemm_q8_, VQ_ISA)(const LedgeQ8Tile *t);
void VQ_CAT2(ledge__gemm_q8_, VQ_ISA)(const LedgeQ8Tile *t)
{
    static void (*const tiles[][LEDGE_Q8_MR_MAX])(const LedgeQ8Tile *) = {
#if VQ_REGISTERS > 4
        {gemm_1x1, gemm_2x1, gemm_3x1, gemm_4x1, gemm_5x1, gemm_6x1, gemm_7x1, gemm_8x1},
#else
        {gemm_1x1, gemm_2x1, gemm_3x1, gemm_4x1},
#endif
#if VQ_REGISTERS >= 32
        {gemm_1x2, gemm_2x2, gemm_3x2, gemm_4x2, gemm_5x2, gemm_6x2, gemm_7x2, gemm_8x2},
        {gemm_1x3, gemm_2x3, gemm_3x3, gemm_4x3, gemm_5x3, gemm_6x3, gemm_7x3, gemm_8x3},
        {gemm_1x4, gemm_2x4, gemm_3x4, gemm_4x4, gemm_5x4, gemm_6x4},
#elif VQ_REGISTERS >= 16
        {gemm_1x2, gemm_2x2, gemm_3x2, gemm_4x2, gemm_5x2, gemm_6x2},
#endif
    };
    tiles[t->nv - 1][t->mr - 1](t);
}

#include "engine/kernels/dw_q8_tile.h"
