/* What ONNX's and contributed attention operators share. */
#ifndef LEDGE_OPS_NN_ATTENTION_H
#define LEDGE_OPS_NN_ATTENTION_H

#include "engine/ops/nn/nn.h"

/* to (may be NULL): for each batch and key head, the past rows followed by the new ones, whose
 * strides are given in elements of `element` bytes. */
void ledge__nn_attention_join(void *to, const void *past, const void *fresh, size_t element,
                              const LedgeAttentionRef *p, size_t size, size_t batch, size_t head,
                              size_t row);

#endif
