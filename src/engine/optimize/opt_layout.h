/* Which nodes the layout pass may turn from NCHW to NHWC, and how each is turned. */
#ifndef LEDGE_ENGINE_OPTIMIZE_LAYOUT_H
#define LEDGE_ENGINE_OPTIMIZE_LAYOUT_H

#include "engine/optimize/pass.h"

/* NHWC axis d is NCHW axis ledge__to_nhwc[d], and the other way round. */
extern const int32_t ledge__to_nhwc[4], ledge__to_nchw[4];

/* A Conv that ledge.Conv can take over; it runs in NHWC only. */
bool ledge__layout_is_native(const LedgeOptCtx *c, const LedgeNode *n);
/* A node that computes the same on permuted axes once its attributes are remapped. */
bool ledge__layout_is_flexible(const LedgeOptCtx *c, const LedgeNode *n);
/* Whether input `i` of a flexible node is a tensor to be permuted (not axes, bounds, …). */
bool ledge__layout_is_data(const LedgeNode *n, uint32_t i);
/* Remaps attributes and axis-like inputs of a flexible node to NHWC. */
LedgeStatus ledge__layout_remap(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n);
/* kernel_shape, strides, dilations, group and pads of a Conv of 3 or 4 dimensions as the internal
 * convolutions take them. false: no memory. */
bool ledge__layout_conv_attrs(LedgeGraph *g, const LedgeNode *conv, LedgeNode *made);
/* The ledge.Conv for a native node, before it, without its input 0. NULL: no memory. */
LedgeNode *ledge__layout_conv(LedgeGraph *g, LedgeNode *n);

#endif
