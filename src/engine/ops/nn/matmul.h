/* Shapes of matrix products, shared by the float, integer and contributed forms. */
#ifndef LEDGE_OPS_NN_MATMUL_H
#define LEDGE_OPS_NN_MATMUL_H

#include "engine/ops/nn/nn.h"

/* numpy.matmul's shapes: fills sizes and strides of *g, and y's rank and dims (-1 where not
 * known; then *g is not to be run). */
LedgeStatus ledge__nn_matmul_shape(LedgeOpCtx *c, const LedgeTensor *a, const LedgeTensor *b,
                                   bool trans_a, bool trans_b, LedgeMatmulBatch *g, LedgeTensor *y);
int64_t ledge__nn_matmul_macs(const LedgeMatmulBatch *g);

/* Scratch of a product on the packed kernels. */
typedef struct NnMatmulMemory {
    float *bias, *packed;
    void *threads;
    size_t copies, columns, packed_floats, thread_bytes;
    uint32_t cpu;
} NnMatmulMemory;
/* false: the product is not for them (type, strides, size), and nothing was taken. `type` is
 * that of the operands before the bridge. */
bool ledge__nn_matmul_layout(LedgeOpCtx *c, LedgeType type, const LedgeMatmulBatch *g,
                             NnScratch *s, NnMatmulMemory *m);
void ledge__nn_matmul_fast(LedgeOpCtx *c, const LedgeMatmulBatch *g, const NnMatmulMemory *m);
/* Output 0 = input 0 × input 1 as `g` lays them out, on the packed kernels where they serve, else
 * on the plain ones of the type; called behind the bridge that widens half floats. */
LedgeStatus ledge__nn_matmul_product(LedgeOpCtx *c, LedgeMatmulBatch *g);

/* For kernels that walk tiles themselves: memory for products of k rows and at most n columns in
 * every thread, and the product, whose `arg` is that memory. */
bool ledge__nn_tile_layout(LedgeOpCtx *c, LedgeType type, size_t m, size_t n, size_t k,
                           NnScratch *s, NnMatmulMemory *memory);
/* To be called once before the products, when the memory is known to be there. */
void ledge__nn_tile_begin(const NnMatmulMemory *m);
void ledge__nn_tile_product(const LedgeMatmul *g, void *arg, int thread);

/* An 8-bit tensor seen as [outer, mid, axis, inner], made int16 less a zero point that is one
 * number, one for each of `axis`, or one for each of outer*axis. */
typedef struct NnBytes {
    const LedgeTensor *x, *zero; /* zero may be NULL */
    size_t outer, mid, axis, inner;
} NnBytes;
void ledge__nn_widen(const NnBytes *b, int16_t *to);
/* Input i must be int8 or uint8. */
LedgeStatus ledge__nn_need_byte(LedgeOpCtx *c, uint32_t i);
/* A zero point or scale: of type `type` (NONE: floating), with 1, `axis` or outer*axis values. */
LedgeStatus ledge__nn_need_quant(LedgeOpCtx *c, uint32_t i, LedgeType type, int64_t axis,
                                 int64_t all);
/* round-half-even(v) + zero, saturated to int8 or uint8. */
uint8_t ledge__nn_quantize(float v, int32_t zero, bool is_signed);

#endif
