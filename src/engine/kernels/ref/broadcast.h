/* Walking arrays of different shapes together, as Numpy broadcasts them.
 *
 * The shapes are first reduced to as few dimensions as possible; what is left is a list of
 * spans, in each of which every input either moves on by one element or stands still. */
#ifndef LEDGE_KERNELS_REF_BROADCAST_H
#define LEDGE_KERNELS_REF_BROADCAST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pool.h"
#include "ledge/tensor.h"

#define LEDGE_BROADCAST_INPUTS 3

typedef struct LedgeBroadcast {
    int inputs;
    int32_t rank; /* at least 1 */
    size_t count; /* elements of the result */
    size_t dims[LEDGE_MAX_RANK];
    /* Elements that a step along a dimension moves input i; 0 where it is repeated. In the last
     * dimension 0 or 1. */
    size_t strides[LEDGE_BROADCAST_INPUTS][LEDGE_MAX_RANK];
} LedgeBroadcast;

/* One span: `n` results from element `out` on; input i starts at element at[i] and moves by
 * step[i], 0 or 1. */
typedef struct LedgeSpan {
    size_t out, n;
    size_t at[LEDGE_BROADCAST_INPUTS];
    uint8_t step[LEDGE_BROADCAST_INPUTS];
} LedgeSpan;

typedef void (*LedgeSpanFn)(void *arg, const LedgeSpan *span);

/* Plans the walk over `out`'s shape; each input's must broadcast to it (checked before). */
void ledge__broadcast_plan(LedgeBroadcast *b, const LedgeTensor *out,
                           const LedgeTensor *const *in, int n_in);
/* Calls fn on all spans, in pieces that do not depend on the number of threads. */
void ledge__broadcast_run(const LedgeBroadcast *b, LedgePool *pool, LedgeSpanFn fn, void *arg);

/* fn over pieces of 0 … count-1 that do not depend on the number of threads; each piece
 * starts at a multiple of 64. */
void ledge__each_piece(LedgePool *pool, size_t count, LedgeSpanFn fn, void *arg);

#endif
