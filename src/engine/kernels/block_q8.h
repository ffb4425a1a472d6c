/* Expand, depthwise, project in one go, in 8 bits: the inverted bottleneck of mobile networks.
 *
 * The wide tensor between the three convolutions never exists: a strip of its rows at a time is
 * made in scratch that stays in the cache, by the convolutions' own kernels. Sums are exact, so
 * neither the strips nor the threads change a bit. */
#ifndef LEDGE_KERNELS_BLOCK_Q8_H
#define LEDGE_KERNELS_BLOCK_Q8_H

#include "engine/kernels/conv_q8.h"

typedef struct LedgeBlockQ8Plan {
    const LedgeConvQ8Plan *expand; /* pointwise; NULL: there is none, depthwise reads X */
    const LedgeConvQ8Plan *dw, *project;
    size_t chunks; /* that an image's rows are shared out in: where one begins, some are expanded
                      for the second time */
    size_t rows; /* of output in a strip */
    size_t ring; /* bytes of expanded rows that a strip needs */
    size_t thread_bytes, scratch_bytes;
    int threads;
} LedgeBlockQ8Plan;

/* The convolutions' plans, each for one thread, which must outlive the block's. false: sizes
 * overflow. */
bool ledge__block_q8_plan(const LedgeConvQ8Plan *expand, const LedgeConvQ8Plan *dw,
                          const LedgeConvQ8Plan *project, int threads, LedgeBlockQ8Plan *plan);

/* x of the first convolution, r and y of the last, and no scratch; the rest as for each alone. */
typedef struct LedgeBlockQ8Args {
    LedgeConvQ8Args expand, dw, project;
    void *scratch;
} LedgeBlockQ8Args;

void ledge__block_q8_run(const LedgeBlockQ8Plan *plan, const LedgeBlockQ8Args *a, LedgePool *pool);

#endif
