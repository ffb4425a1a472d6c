/* Reducing a tensor over some of its dimensions, and running sums along one.
 *
 * Floats are accumulated in double, integers in wrapping 64-bit arithmetic, in an order that
 * depends on the shape alone. */
#ifndef LEDGE_KERNELS_REF_REDUCE_H
#define LEDGE_KERNELS_REF_REDUCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pool.h"
#include "ledge/tensor.h"

typedef enum LedgeReduce {
    LEDGE_REDUCE_SUM,
    LEDGE_REDUCE_MEAN,
    LEDGE_REDUCE_PROD,
    LEDGE_REDUCE_MIN, /* NaN wins */
    LEDGE_REDUCE_MAX,
    LEDGE_REDUCE_L1,
    LEDGE_REDUCE_L2,
    LEDGE_REDUCE_SUM_SQUARE,
    LEDGE_REDUCE_LOG_SUM,
    LEDGE_REDUCE_LOG_SUM_EXP
} LedgeReduce;

/* Bit d of `axes` set: dimension d of x is reduced. y holds the others in order, and is of x's
 * type. Over nothing: sums are 0, products 1, MIN and MAX the type's highest and lowest
 * value, logarithms of it -infinity, the mean NaN (integers: 0). */
void ledge__reduce(LedgeReduce kind, const LedgeTensor *x, uint32_t axes, const LedgeTensor *y,
                   LedgePool *pool);

/* Index of the largest (or smallest) element along `axis`; the first of equals, or the last.
 * NaN counts as larger and smaller than all. y holds int64. The axis is not empty. */
void ledge__arg_extreme(const LedgeTensor *x, int32_t axis, bool smallest, bool last_index,
                        int64_t *y, LedgePool *pool);

/* Running sums (or products) along `axis`, each without its own element when `exclusive`. x and
 * y are of one type and may be the same memory. */
void ledge__accumulate(const LedgeTensor *x, int32_t axis, bool product, bool exclusive,
                       bool reverse, const LedgeTensor *y, LedgePool *pool);

#endif
