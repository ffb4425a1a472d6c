/* One level of Strassen's scheme (in Winograd's form) for large products with a constant matrix:
 * seven half-size products instead of eight, B's combinations made when it is packed.
 *
 * The order of all sums is fixed by the shape, so answers do not depend on threads. Errors grow
 * by a small factor over the plain product (see test_strassen_f32). */
#ifndef LEDGE_KERNELS_STRASSEN_F32_H
#define LEDGE_KERNELS_STRASSEN_F32_H

#include "base/pool.h"
#include "engine/kernels/gemm_f32.h"

typedef struct LedgeStrassenPlan {
    size_t m, k, n;    /* of the whole: even, n / 2 whole vectors */
    LedgePanels p;     /* of one of B's seven combinations */
    uint32_t mr;
    size_t packed_floats, scratch_bytes, thread_bytes;
    int threads;
} LedgeStrassenPlan;

/* Whether it pays for this shape; fills the plan. */
bool ledge__strassen_f32_plan(size_t m, size_t k, size_t n, uint32_t cpu, int threads,
                              LedgeStrassenPlan *out);
/* B[k][n] = b[k * sk + n * sn]; may be misaligned. */
LedgeStatus ledge__strassen_f32_pack(const LedgeStrassenPlan *p, const void *b, size_t sk,
                                     size_t sn, float *packed);
/* c = act(a × B + bias); a and c are dense, bias has n floats (zeros for none). */
void ledge__strassen_f32_run(const LedgeStrassenPlan *p, const float *a, const float *packed,
                             const float *bias, float *c, const LedgeAct *act, void *scratch,
                             LedgePool *pool);

#endif
