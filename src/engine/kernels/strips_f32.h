/* A constant matrix B with many zeros, packed in strips of 16 columns that keep only their rows
 * that are not all zeros; `gemm` walks over them as over panels, and a set's kernel `strips`
 * multiplies.
 *
 * Packed, the same for every instruction set: where each strip begins in the list of rows that
 * follows (one number more than there are strips), these rows' indices in B, strip by strip in
 * rising order, both uint32; then, at the next multiple of 16 floats, the rows, 16 floats each. */
#ifndef LEDGE_KERNELS_STRIPS_F32_H
#define LEDGE_KERNELS_STRIPS_F32_H

#include "engine/kernels/gemm_f32.h"

/* How a matrix lies: element (k, n) at w[n * sn + k * sk], in floats; `w` may be misaligned. */
typedef struct LedgeStripsView {
    const void *w;
    size_t n, depth, sn, sk;
} LedgeStripsView;

/* Whether enough blocks of one row and 16 columns are zeros for strips to be faster than panels;
 * *kept are those that are not. */
bool ledge__strips_pay(const LedgeStripsView *v, size_t *kept);

/* Panels of strips. false: the set has no kernel for them, or they cannot have so many rows. */
bool ledge__strips_init(LedgePanels *p, const LedgeF32Kernels *k, size_t n, size_t depth,
                        size_t kept);
/* Most rows of a tile. */
uint32_t ledge__strips_mr(const LedgeF32Kernels *k);
/* The packed form's size; 0: it overflows. */
size_t ledge__strips_floats(const LedgePanels *p);
/* Columns times `scale` (NULL: as they are). false: p is for another number of rows. */
bool ledge__strips_pack(const LedgePanels *p, const LedgeStripsView *v, const float *scale,
                        float *packed);
/* Whether all that a run takes from the packed numbers lies inside B and the packed form. */
bool ledge__strips_check(const LedgePanels *p, const float *packed);
/* The parts of strip i. */
void ledge__strip_at(const LedgePanels *p, const float *packed, size_t i, LedgeGemmTile *t);

#endif
