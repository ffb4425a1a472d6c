/* Expands every 8-bit kernel template for the instruction set whose vq_<isa>.h was included
 * before; each conv_q8_<isa>.c consists of those two lines. */
#include <stdbool.h>
#include <string.h>

#include "engine/kernels/q8.h"
#include "engine/kernels/unroll.h"

#define VQ_BYTES (VQ_LANES * 4)

#define VQ_CAT2_(a, b) a##b
#define VQ_CAT2(a, b) VQ_CAT2_(a, b)

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

/* Most rows with 1 … 4 vectors, as q8.def says too. */
#ifndef VQ_ROWS_1
#if VQ_REGISTERS >= 32
#define VQ_ROWS_1 8
#define VQ_ROWS_2 8
#define VQ_ROWS_3 8
#define VQ_ROWS_4 6
#elif VQ_REGISTERS >= 16
#define VQ_ROWS_1 8
#define VQ_ROWS_2 6
#elif VQ_REGISTERS >= 12
#define VQ_ROWS_1 6
#define VQ_ROWS_2 4
#else
#define VQ_ROWS_1 4
#endif
#endif

/* Whether tiles of this size have loops that leave out a row. */
#define Q8_PARTS(mr, nv) (VQ_LANES == 16 && ((nv) == 4 ? (mr) >= 5 : (nv) == 3 && (mr) >= 7))

#include "engine/kernels/q8_out.h"

#ifdef VQ_PAIRS /* two rows by two columns, eight bytes of k at once */
#define TILE_HEADER "engine/kernels/gemm_q8_pair_tile.h"
#else
#define TILE_HEADER "engine/kernels/gemm_q8_tile.h"
#endif
#define TILE_OF LedgeQ8Tile

#define TILE_NV 1
#define TILE_ROWS VQ_ROWS_1
#include "engine/kernels/tile_rows.h"
#ifdef VQ_ROWS_2
#define TILE_NV 2
#define TILE_ROWS VQ_ROWS_2
#include "engine/kernels/tile_rows.h"
#endif
#ifdef VQ_ROWS_3
#define TILE_NV 3
#define TILE_ROWS VQ_ROWS_3
#include "engine/kernels/tile_rows.h"
#endif
#ifdef VQ_ROWS_4
#define TILE_NV 4
#define TILE_ROWS VQ_ROWS_4
#include "engine/kernels/tile_rows.h"
#endif

void VQ_CAT2(ledge__gemm_q8_, VQ_ISA)(const LedgeQ8Tile *t);
void VQ_CAT2(ledge__gemm_q8_, VQ_ISA)(const LedgeQ8Tile *t)
{
    static void (*const *const rows[])(const LedgeQ8Tile *) = {
        gemm_rows_1,
#ifdef VQ_ROWS_2
        gemm_rows_2,
#endif
#ifdef VQ_ROWS_3
        gemm_rows_3,
#endif
#ifdef VQ_ROWS_4
        gemm_rows_4,
#endif
    };
    rows[t->nv - 1][t->mr - 1](t);
}

#include "engine/kernels/dw_q8_tile.h"
#ifdef VQ_WINO
#include "engine/kernels/wino_q8_tile.h"
#endif
