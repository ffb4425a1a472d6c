/* Expands every fp32 kernel template for the instruction set whose vf_<isa>.h was included
 * before; each conv_f32_<isa>.c consists of those two lines. */
#include "engine/kernels/kernels.h"
#include "engine/kernels/unroll.h"

#define VF_CAT2_(a, b) a##b
#define VF_CAT2(a, b) VF_CAT2_(a, b)

/* Not inlined: parts of a vector take long code on some sets. */
__attribute__((noinline)) static vf gemm_load_part(const float *p, size_t n)
{
    return vf_load_n(p, n);
}

/* The end of a tile of any size, its sums in memory. */
static void gemm_finish(const LedgeGemmTile *t, const vf *sum, size_t nv)
{
    const vf lo = vf_set(t->lo), hi = vf_set(t->hi);
    for (size_t i = 0; i < t->mr; i++)
        for (size_t v = 0; v < nv; v++) {
            const size_t at = v * VF_LANES, n = t->n - at < VF_LANES ? t->n - at : VF_LANES;
            vf x = *sum++;
            if (t->r)
                x = vf_add(x, vf_load_n(t->r + i * t->ldr + at, n));
            vf_store_n(t->c + i * t->ldc + at, vf_clamp(x, lo, hi), n);
        }
}

#define TILE_HEADER "engine/kernels/gemm_f32_tile.h"
#define TILE_OF     LedgeGemmTile

/* Most rows with 1 … 4 vectors, as kernels.def says too. */
#ifndef VF_ROWS_1
#define VF_ROWS_1 8
#if VF_REGISTERS >= 32
#define VF_ROWS_2 8
#define VF_ROWS_3 8
#define VF_ROWS_4 6
#else
#define VF_ROWS_2 6
#endif
#endif

#define TILE_NV 1
#define TILE_ROWS VF_ROWS_1
#include "engine/kernels/tile_rows.h"
#define TILE_NV 2
#define TILE_ROWS VF_ROWS_2
#include "engine/kernels/tile_rows.h"
#ifdef VF_ROWS_3
#define TILE_NV 3
#define TILE_ROWS VF_ROWS_3
#include "engine/kernels/tile_rows.h"
#endif
#ifdef VF_ROWS_4
#define TILE_NV 4
#define TILE_ROWS VF_ROWS_4
#include "engine/kernels/tile_rows.h"
#endif

void VF_CAT2(ledge__gemm_f32_, VF_ISA)(const LedgeGemmTile *t);
void VF_CAT2(ledge__gemm_f32_, VF_ISA)(const LedgeGemmTile *t)
{
    static void (*const *const rows[])(const LedgeGemmTile *) = {
        gemm_rows_1,
        gemm_rows_2,
#ifdef VF_ROWS_3
        gemm_rows_3,
#endif
#ifdef VF_ROWS_4
        gemm_rows_4,
#endif
    };
    rows[t->nv - 1][t->mr - 1](t);
}

extern const LedgeStrassen VF_CAT2(ledge__strassen_f32_, VF_ISA);
#ifdef VF_STRASSEN
#include "engine/kernels/strassen_f32_tile.h"
const LedgeStrassen VF_CAT2(ledge__strassen_f32_, VF_ISA) = {strassen_rows, strassen};
#else
const LedgeStrassen VF_CAT2(ledge__strassen_f32_, VF_ISA) = {NULL, NULL};
#endif

extern const LedgeStrips VF_CAT2(ledge__strips_f32_, VF_ISA);
#ifdef VF_NO_STRIPS
const LedgeStrips VF_CAT2(ledge__strips_f32_, VF_ISA) = {NULL};
#else
#include "engine/kernels/strips_f32_tile.h"
const LedgeStrips VF_CAT2(ledge__strips_f32_, VF_ISA) = {strips};
#endif

#include "engine/kernels/dw_f32_tile.h"
#include "engine/kernels/planes_f32_tile.h"
#include "engine/kernels/wino_f32_tile.h"

/* Left to the compiler, which knows interleaved stores of constant width. */
VX_INLINE void interleave_planes(const float *restrict x, size_t ld, const size_t c, size_t n,
                                 float *restrict y)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < c; k++)
            y[i * c + k] = x[k * ld + i];
}

void VF_CAT2(ledge__interleave_f32_, VF_ISA)(const float *x, size_t ld, size_t c, size_t n,
                                             float *y);
void VF_CAT2(ledge__interleave_f32_, VF_ISA)(const float *x, size_t ld, size_t c, size_t n,
                                             float *y)
{
    if (c == 3)
        interleave_planes(x, ld, 3, n, y);
    else if (c == 4)
        interleave_planes(x, ld, 4, n, y);
    else
        interleave_planes(x, ld, c, n, y);
}

void VF_CAT2(ledge__line_f32_, VF_ISA)(const LedgeLineTile *t);
void VF_CAT2(ledge__line_f32_, VF_ISA)(const LedgeLineTile *t)
{
    vf acc[LEDGE_LINE_PX];
    const vf lo = vf_set(t->lo), hi = vf_set(t->hi);
    const float *b = t->b, *row = t->x;
    const size_t n = t->n, kw = t->kw;
    const vf bias = vf_load(t->bias);
    VX_EACH(p, LEDGE_LINE_PX) acc[p] = bias;
    for (uint32_t i = t->kh; i > 0; i--, row += t->ldx)
        for (const float *x = row; x < row + kw; x++, b += VF_LANES) {
            const vf w = vf_load(b);
            VX_EACH(p, LEDGE_LINE_PX) acc[p] = vf_fma(vf_set(x[p]), w, acc[p]);
        }
    float *c = t->c;
    const size_t ldc = t->ldc;
    VX_UNROLL
    for (int p = 0; p < LEDGE_LINE_PX; p++, c += ldc) {
        const vf y = vf_clamp(acc[p], lo, hi);
        if (n == VF_LANES)
            vf_store(c, y);
        else
            vf_store_n(c, y, n);
    }
}
