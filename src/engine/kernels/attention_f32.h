/* Scaled dot-product attention over many heads, float32:
 * Y[b, s, h] = softmax(scale Q[b, s, h] K[b, :, h]ᵀ + mask[b, h, s]) V[b, :, h].
 *
 * Q, K, V and Y are read and written where they lie, heads side by side in each row, so that
 * nothing is transposed. A block of query rows is taken through both products while its
 * scores are in the L1 cache; the S × T matrix never exists as a whole. */
#ifndef LEDGE_KERNELS_ATTENTION_F32_H
#define LEDGE_KERNELS_ATTENTION_F32_H

#include "base/pool.h"
#include "engine/kernels/gemm_f32.h"
#include "engine/kernels/vec.h"

typedef struct LedgeAttentionShape {
    size_t batch, heads, queries, keys;
    size_t head, v_head; /* elements of one head of Q and K, of V and Y */
} LedgeAttentionShape;

typedef struct LedgeAttentionPlan {
    LedgeAttentionShape s;
    const LedgeVec *vec;
    LedgePanels k, v; /* of one head: Kᵀ and V */
    uint32_t mr;      /* rows of a tile that fits both */
    size_t block;     /* rows that go through together */
    size_t k_floats, v_floats, thread_floats, zero_floats;
    int threads;
    size_t scratch_bytes;
} LedgeAttentionPlan;

/* One operand: floats from row to row and from batch to batch; its heads are dense. */
typedef struct LedgeHeads {
    const float *p;
    size_t row, batch;
} LedgeHeads;

typedef struct LedgeAttentionArgs {
    LedgeHeads q, k, v;
    float *y; /* [batch][queries][heads * v_head] */
    float scale;
    const float *mask;                                  /* added to the scaled scores, or NULL */
    size_t mask_batch, mask_head, mask_query, mask_key; /* its strides; mask_key 0 or 1 */
    void *scratch;
} LedgeAttentionArgs;

/* false: a size overflows. */
bool ledge__attention_f32_plan(const LedgeAttentionShape *s, uint32_t cpu, int threads,
                               LedgeAttentionPlan *out);
void ledge__attention_f32_run(const LedgeAttentionPlan *p, const LedgeAttentionArgs *a,
                              LedgePool *pool);

#endif
