/* Cross-layer equalization (Nagel et al., "Data-Free Quantization Through Weight Equalization and
 * Bias Correction", 2019, section 4.1): output channels of one layer and the input channels of the
 * next are rescaled against each other, so that all channels have weights of like size.
 *
 * Done only where it changes nothing but rounding: one layer's output goes to the next layer alone,
 * directly or through Relu, LeakyRelu or a Clip from 0 without upper bound. A Clip with an upper
 * bound (Relu6) is no such function and is passed over: it would cut the rescaled channels
 * elsewhere. */
#ifndef LEDGE_COMPRESS_QUANT_EQUALIZE_H
#define LEDGE_COMPRESS_QUANT_EQUALIZE_H

#include "compress/quantize/quantize.h"

typedef struct LedgeEqualized {
    size_t pairs;   /* of layers that were equalized */
    size_t clipped; /* that an upper bound kept from it */
} LedgeEqualized;

/* Changes the float graph's weights and biases; call it before observing. Status: MEMORY. */
LedgeStatus ledge__quant_equalize(LedgeQuantizer *q, LedgeError *err, LedgeEqualized *out);

#endif
