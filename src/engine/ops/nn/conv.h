/* Shapes of convolutions, shared by the float and integer forms. */
#ifndef LEDGE_OPS_NN_CONV_H
#define LEDGE_OPS_NN_CONV_H

#include "engine/ops/nn/nn.h"

/* Fills *p's window and sizes and y's rank and dims (-1 where unknown; then *p is not to be
 * run) for x: N x C x …, w: M x C/group x …. */
LedgeStatus ledge__nn_conv_shape(LedgeOpCtx *c, const LedgeTensor *x, const LedgeTensor *w,
                                 LedgeConvRef *p, LedgeTensor *y);
int64_t ledge__nn_conv_macs(const LedgeConvRef *p);

#endif
