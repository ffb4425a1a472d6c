/* What the operators over 8-bit numbers share: attributes, checked. */
#ifndef LEDGE_OPS_FUSED_BYTES_H
#define LEDGE_OPS_FUSED_BYTES_H

#include "engine/graph/op.h"
#include "engine/kernels/bytes.h"
#include "engine/kernels/ref/nn_ref.h"

/* INT attribute `name` in 0 … 255; fails otherwise. */
LedgeStatus ledge__byte_attr(LedgeOpCtx *c, const char *name, int64_t absent, uint8_t *out);
/* FLOAT attribute `name`, which must be there, above 0 and at most 1e30. */
LedgeStatus ledge__byte_scale_attr(LedgeOpCtx *c, const char *name, float *out);
/* `y_zero`, `lo` and `hi`, 0 … 255 where absent. */
LedgeStatus ledge__byte_result_attrs(LedgeOpCtx *c, int32_t *y_zero, uint8_t *lo, uint8_t *hi);
/* Input i is there, of uint8 or int8. */
LedgeStatus ledge__byte_need(LedgeOpCtx *c, uint32_t i);
/* The type that `to` names, uint8 or int8; `absent` without one. */
LedgeStatus ledge__byte_type_attr(LedgeOpCtx *c, LedgeType absent, LedgeType *out);
/* How a and b are broadcast to y, whose shapes are known. */
void ledge__byte_pair_shape(const LedgeTensor *a, const LedgeTensor *b, const LedgeTensor *y,
                            LedgeBytePair *out);
/* The window over pixels of one or two spatial dimensions (one is a row), for images of `dims`
 * [N, C, spatial …]. */
LedgePoolWindow ledge__byte_pool_window(const LedgeWindow *w, const int64_t *dims, bool count_pad);

#endif
