/* Packed weights of the fused convolutions, with the factors that were folded into them. */
#ifndef LEDGE_OPS_FUSED_PACK_H
#define LEDGE_OPS_FUSED_PACK_H

#include "engine/graph/op.h"
#include "engine/kernels/conv_f32.h"

/* The attribute `name`: a factor for each of m filters of constant input i; NULL when absent. */
LedgeStatus ledge__fused_scale(LedgeOpCtx *c, const char *name, uint32_t i, int64_t m,
                               const float **scale);
/* Constant input i times `scale` (NULL: as it is), in the form that `plan` needs. */
LedgeStatus ledge__fused_pack(LedgeOpCtx *c, uint32_t i, const LedgeConvPlan *plan,
                              const float *scale, const float **packed);

#endif
