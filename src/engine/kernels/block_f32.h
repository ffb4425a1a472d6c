/* Expand, depthwise, project in one go: the inverted bottleneck of mobile networks.
 *
 * The wide tensor between the three convolutions never exists: of it only as many rows are
 * held as the depthwise filter is high, in scratch that stays in the L2 cache. Sums are made in
 * the order of the separate convolutions, so the answer is theirs bit for bit, whatever the
 * number of threads. */
#ifndef LEDGE_KERNELS_BLOCK_F32_H
#define LEDGE_KERNELS_BLOCK_F32_H

#include "engine/kernels/conv_f32.h"

typedef struct LedgeBlockPlan {
    LedgeConvPlan expand;  /* pointwise; s.m == 0: there is none, depthwise reads X */
    LedgeConvPlan dw, project;
    size_t thread_bytes, scratch_bytes;
    int threads;
} LedgeBlockPlan;

/* The depthwise convolution's shape (s->n images of s->h × s->w pixels with s->c channels),
 * the channels of X (0: no expansion) and of Y. false: sizes overflow. */
bool ledge__block_f32_plan(const LedgeConvShape *dw, size_t in, size_t out, uint32_t cpu,
                           int threads, LedgeBlockPlan *plan);

/* x, packed, bias, zeros (plan.dw.zeros_floats), r, y and act as for each convolution alone;
 * only project may have a residual, of ldr floats a pixel. */
typedef struct LedgeBlockArgs {
    LedgeConvArgs expand, dw, project;
    void *scratch;
} LedgeBlockArgs;

void ledge__block_f32_run(const LedgeBlockPlan *plan, const LedgeBlockArgs *a, LedgePool *pool);

#endif
