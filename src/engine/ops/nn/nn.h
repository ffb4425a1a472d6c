/* What the neural-network operators share: scratch layout, the bridge that lets float16 and
 * bfloat16 run on float kernels, window attributes, and checks. */
#ifndef LEDGE_OPS_NN_H
#define LEDGE_OPS_NN_H

#include "engine/graph/op.h"
#include "engine/kernels/ref/nn_ref.h"

#define NN_MAX_IO 16

/* ---- scratch: one layout function serves prepare (sizes) and run (addresses) ---- */

typedef struct NnScratch {
    char *base; /* NULL: only sizes are wanted */
    size_t used;
    bool overflow;
} NnScratch;

void *ledge__nn_take(NnScratch *s, size_t count, size_t size);
/* Prepare's last step: own scratch, plus what the bridge needs. */
LedgeStatus ledge__nn_ask(LedgeOpCtx *c, const NnScratch *s);
/* Run's first step, for operators without the bridge. */
LedgeStatus ledge__nn_check_scratch(LedgeOpCtx *c, const NnScratch *s);

/* ---- element types ---- */

typedef LedgeStatus (*NnBody)(LedgeOpCtx *c);

bool ledge__nn_is_float(LedgeType t);
/* Runs `body` with every floating-point tensor as float, or as double when an input is:
 * others are converted through scratch. */
LedgeStatus ledge__nn_run_float(LedgeOpCtx *c, NnBody body);
/* prepare for operators whose only scratch is the bridge's. */
LedgeStatus ledge__nn_prepare_float(LedgeOpCtx *c);
/* Inputs below `required` must be there; those with their bit in `floats` must be floating.
 * Also refuses shapes whose dimensions, zeros taken as one, have no countable product, so that
 * sizes may be multiplied freely afterwards. */
LedgeStatus ledge__nn_need(LedgeOpCtx *c, uint32_t required, uint32_t floats);
LedgeStatus ledge__nn_to_float(LedgeType type, const void *from, size_t count, LedgeType to_type,
                               void *to);
/* Element i of a number tensor. */
double ledge__nn_at(const LedgeTensor *t, int64_t i);

static inline bool ledge__nn_known(const LedgeTensor *t)
{
    return t && ledge_tensor_count(t) >= 0;
}
/* Rank must be `rank` where known. */
LedgeStatus ledge__nn_rank(LedgeOpCtx *c, uint32_t i, int32_t min, int32_t max);
/* Fails with a sentence where two known dimensions differ. */
LedgeStatus ledge__nn_same(LedgeOpCtx *c, const char *what, int64_t a, int64_t b);
/* Input i, if present, must have `count` elements where both are known. */
LedgeStatus ledge__nn_count(LedgeOpCtx *c, uint32_t i, int64_t count);
/* a * b; -1 where either is not known, INT64_MAX where the product is too large to fit
 * anything. */
static inline int64_t ledge__nn_times(int64_t a, int64_t b)
{
    int64_t n;
    if (a < 0 || b < 0)
        return -1;
    return __builtin_mul_overflow(a, b, &n) ? INT64_MAX : n;
}
/* A count of multiply-accumulates, which may pass what int64 holds. */
static inline int64_t ledge__nn_macs(double n)
{
    return n < 9e18 ? (int64_t)n : INT64_MAX;
}
/* out i has x's type and shape. */
void ledge__nn_like(LedgeOpCtx *c, uint32_t i, const LedgeTensor *x);
/* a*b*…; 0 ≤ known dims only. */
static inline size_t ledge__nn_product(const int64_t *dims, int32_t from, int32_t to)
{
    size_t n = 1;
    for (int32_t d = from; d < to; d++)
        n *= (size_t)dims[d];
    return n;
}

/* ---- windows ---- */

/* Fills w from attributes for the spatial dimensions of x; `kernel` are the weights' spatial
 * dimensions or NULL (kernel_shape is then required). Unknown sizes give -1 in w->out. */
LedgeStatus ledge__nn_window(LedgeOpCtx *c, const LedgeTensor *x, const int64_t *kernel, bool ceil,
                             LedgeWindow *w);
/* strides, dilations and kernel_shape alone, checked; for transposed convolution too. */
LedgeStatus ledge__nn_window_attrs(LedgeOpCtx *c, int nd, const int64_t *kernel, LedgeWindow *w);
/* An INTS attribute of exactly `n` entries, each at least `min`; `absent` fills in. */
LedgeStatus ledge__nn_ints(LedgeOpCtx *c, const char *name, int n, int64_t min, int64_t absent,
                           int64_t *out);
typedef enum NnAutoPad { NN_PAD_NOTSET, NN_PAD_VALID, NN_PAD_UPPER, NN_PAD_LOWER } NnAutoPad;
LedgeStatus ledge__nn_auto_pad(LedgeOpCtx *c, NnAutoPad *out);

#endif
