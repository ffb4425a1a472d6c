/* Training with fake quantization, between ranges and build: what is to be rounded, and how the
 * learned scales come back. The trainer itself is compress/train's, over the quantizer's graph. */
#ifndef LEDGE_COMPRESS_QUANT_FINETUNE_H
#define LEDGE_COMPRESS_QUANT_FINETUNE_H

#include "compress/quantize/quantize.h"
#include "compress/train/train.h"

/* What the decided model will hold as 8 bits, for LedgeTrainOptions.fakes; in the quantizer's
 * arena. Tied tensors share a group. ARGUMENT before ranges and in modes other than static. */
LedgeStatus ledge__quant_fakes(LedgeQuantizer *q, LedgeError *err, LedgeTrainFake **fakes,
                               size_t *n);
/* Puts trained weights into the graph, learned scales into tensors and layers, and the rounded
 * weights that go with them. Biases are no longer corrected: training saw the rounding. Ranges
 * must not be chosen anew after this. */
LedgeStatus ledge__quant_take_trained(LedgeQuantizer *q, LedgeTrainer *t,
                                      const LedgeTrainFake *fakes, size_t n, LedgeError *err);

#endif
