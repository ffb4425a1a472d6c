/* Shapes and attributes that ledge's convolutions over NHWC share. */
#ifndef LEDGE_OPS_CONV_DIMS_H
#define LEDGE_OPS_CONV_DIMS_H

#include <stdbool.h>

#include "engine/graph/op.h"
#include "engine/kernels/conv_f32.h"

typedef struct LedgeConvDims {
    int64_t strides[2], dilations[2], pads[4], group;
    int64_t n, h, w, c, m, kh, kw, oh, ow; /* -1: not known yet */
    int64_t channels, offset;              /* of the output */
    bool planes;                           /* X is NCHW (x_layout="nchw"), with group 1 */
} LedgeConvDims;

/* Reads strides, dilations, pads, auto_pad, group, out_channels, out_offset and x_layout, and the shapes of
 * input 0, the image, and input 1, the weights. */
LedgeStatus ledge__conv_dims(LedgeOpCtx *c, LedgeType x, LedgeType w, LedgeConvDims *d);
/* For the kernels, once all is known. */
LedgeConvShape ledge__conv_shape(const LedgeConvDims *d);
/* Whether R has the output's shape, with the node's own channels or with all of them: then how
 * many it has from pixel to pixel, and its first. */
LedgeStatus ledge__conv_residual(LedgeOpCtx *c, const LedgeConvDims *d, const LedgeTensor *r,
                                 size_t *ldr, size_t *offset);
/* Multiply-adds, from output 0 and input 1. */
int64_t ledge__conv_macs(const LedgeOpCtx *c);

#endif
