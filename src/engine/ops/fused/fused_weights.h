/* Packed weights of ledge's convolutions, with a factor for each output channel on the way. */
#ifndef LEDGE_OPS_FUSED_WEIGHTS_H
#define LEDGE_OPS_FUSED_WEIGHTS_H

#include "engine/graph/op.h"
#include "engine/kernels/conv_f32.h"
#include "engine/kernels/strips_f32.h"

/* The packed form of constant input `i` for `p`, made once per model. The FLOATS attribute
 * `scale_name`, where present, has p->s.m factors, one for each output channel, that the weights
 * are multiplied by; so a folded scale needs no copy of the weights in the graph. */
LedgeStatus ledge__fused_weights(LedgeOpCtx *c, uint32_t i, const char *scale_name,
                                 const LedgeConvPlan *p, const float **out);

/* The attribute kept_rows, which the optimiser gives to products whose constant weights are worth
 * being packed in strips: rows that all strips keep. Where it is there and `i` is constant, the
 * shape asks for strips. */
LedgeStatus ledge__fused_strips(LedgeOpCtx *c, uint32_t i, LedgeConvShape *s);
/* The packed form of constant input `i`, which lies as `v` says, for a plan of strips, with all that
 * a run relies on checked. `scale` may be NULL; scale_key tells forms of several scales apart. */
LedgeStatus ledge__fused_strip_weights(LedgeOpCtx *c, uint32_t i, const LedgeStripsView *v,
                                       const float *scale, uint64_t scale_key,
                                       const LedgeConvPlan *p, const float **out);

/* Tells packed forms of one constant under several scales apart. In a compiled model this number
 * stands in the INT attribute `scale_name`_key instead of the factors, which its packed forms hold
 * already. */
uint64_t ledge__fused_scale_key(const float *scale, size_t m);

#endif
