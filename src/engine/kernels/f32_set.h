/* Expands every fp32 kernel template for the instruction set whose vf_<isa>.h was included
 * before; each conv_f32_<isa>.c consists of those two lines. */
#include "engine/kernels/kernels.h"
#include "engine/kernels/unroll.h"

#define VF_CAT2_(a, b) a##b
#define VF_CAT2(a, b) VF_CAT2_(a, b)
#define VF_CAT3_(a, b, c) a##b##x##c
#define VF_CAT3(a, b, c) VF_CAT3_(a, b, c)

#define GEMM_NV 1
#define GEMM_MR 1
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 2
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 3
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 4
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 5
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 6
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 7
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 8
#include "engine/kernels/gemm_f32_tile.h"
#undef GEMM_NV
#define GEMM_NV 2
#define GEMM_MR 1
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 2
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 3
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 4
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 5
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 6
#include "engine/kernels/gemm_f32_tile.h"
#if VF_REGISTERS >= 32
#define GEMM_MR 7
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 8
#include "engine/kernels/gemm_f32_tile.h"
#endif
#undef GEMM_NV
#if VF_REGISTERS >= 32
#define GEMM_NV 3
#define GEMM_MR 1
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 2
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 3
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 4
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 5
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 6
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 7
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 8
#include "engine/kernels/gemm_f32_tile.h"
#undef GEMM_NV
#define GEMM_NV 4
#define GEMM_MR 1
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 2
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 3
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 4
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 5
#include "engine/kernels/gemm_f32_tile.h"
#define GEMM_MR 6
#include "engine/kernels/gemm_f32_tile.h"
#undef GEMM_NV
#endif

void VF_CAT2(ledge__gemm_f32_, VF_ISA)(const LedgeGemmTile *t);
void VF_CAT2(ledge__gemm_f32_, VF_ISA)(const LedgeGemmTile *t)
{
    static void (*const tiles[][LEDGE_GEMM_MR_MAX])(const LedgeGemmTile *) = {
        {gemm_1x1, gemm_2x1, gemm_3x1, gemm_4x1, gemm_5x1, gemm_6x1, gemm_7x1, gemm_8x1},
#if VF_REGISTERS >= 32
        {gemm_1x2, gemm_2x2, gemm_3x2, gemm_4x2, gemm_5x2, gemm_6x2, gemm_7x2, gemm_8x2},
        {gemm_1x3, gemm_2x3, gemm_3x3, gemm_4x3, gemm_5x3, gemm_6x3, gemm_7x3, gemm_8x3},
        {gemm_1x4, gemm_2x4, gemm_3x4, gemm_4x4, gemm_5x4, gemm_6x4},
#else
        {gemm_1x2, gemm_2x2, gemm_3x2, gemm_4x2, gemm_5x2, gemm_6x2},
#endif
    };
    tiles[t->nv - 1][t->mr - 1](t);
}

extern const LedgeStrassen VF_CAT2(ledge__strassen_f32_, VF_ISA);
#ifdef VF_STRASSEN
#include "engine/kernels/strassen_f32_tile.h"
const LedgeStrassen VF_CAT2(ledge__strassen_f32_, VF_ISA) = {strassen_rows, strassen};
#else
const LedgeStrassen VF_CAT2(ledge__strassen_f32_, VF_ISA) = {NULL, NULL};
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
