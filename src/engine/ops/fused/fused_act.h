/* The attributes that ledge's fused operators share: the activation at their end, and the
 * weights of one of their inputs. */
#ifndef LEDGE_OPS_FUSED_ACT_H
#define LEDGE_OPS_FUSED_ACT_H

#include "engine/graph/op.h"
#include "engine/kernels/kernels.h"

/* Reads act, act_min, act_max, act_alpha and act_beta. act is "none", "relu", "clip" or a name
 * of LEDGE_ACT_LIST; absent bounds and parameters are those of the ONNX operator. */
LedgeStatus ledge__fused_act(LedgeOpCtx *c, LedgeAct *act);
/* The same from attributes whose names begin with `prefix`. */
LedgeStatus ledge__fused_act_of(LedgeOpCtx *c, const char *prefix, LedgeAct *act);

/* The four shapes of INTS attributes that convolutions use: `count` values, all at least
 * `least`, `absent` where there is none. */
LedgeStatus ledge__fused_ints(LedgeOpCtx *c, const char *name, size_t count, int64_t absent,
                              int64_t least, int64_t *out);

#endif
