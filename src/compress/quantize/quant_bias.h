/* Bias correction: rounded weights shift the mean of what a layer computes; its bias takes the
 * shift back.
 *
 * The shift is measured, not modelled (Nagel et al. 2019, appendix "empirical bias correction"):
 * beside each layer of the float model a twin runs on the same input with the weights' rounding
 * error alone, and the mean of its output over samples and places is, per channel, what rounding
 * adds. */
#ifndef LEDGE_COMPRESS_QUANT_BIAS_H
#define LEDGE_COMPRESS_QUANT_BIAS_H

#include "compress/quantize/quant_judge.h"

typedef struct LedgeBiasCorrected {
    size_t layers;  /* corrected */
    size_t without; /* without a place for a bias: MatMul */
} LedgeBiasCorrected;

/* Corrects each layer that runs on integers now, by the judge's first `most` samples (0: all);
 * decides and picks ranges anew. After rounding, where that is done. */
LedgeStatus ledge__quant_correct_bias(LedgeQuantizer *q, const LedgeJudge *j, size_t most,
                                      const LedgeQuantTick *tick, LedgeError *err,
                                      LedgeBiasCorrected *out);

#endif
