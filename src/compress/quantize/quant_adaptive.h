/* Adaptive rounding of all layers of a model: what their inputs look like is summed up over
 * samples, layer after layer within bounded memory, and each layer's weights are rounded by it. */
#ifndef LEDGE_COMPRESS_QUANT_ADAPTIVE_H
#define LEDGE_COMPRESS_QUANT_ADAPTIVE_H

#include "compress/quantize/quant_judge.h"

typedef struct LedgeAdaptiveOptions {
    uint64_t seed;  /* of the places in a convolution's input that are looked at */
    int iterations; /* most, of a layer; fewer where a layer is so large that `work` would be
                       passed */
    double work;    /* multiply-adds that a layer may take */
    size_t most;    /* samples; 0: all of the judge's */
} LedgeAdaptiveOptions;

typedef struct LedgeAdapted {
    size_t layers;  /* rounded so */
    size_t passed;  /* over: too many inputs a channel, a transposed convolution, no 2-D form */
    double gain_db; /* mean over layers: error of rounding to nearest / of the result */
} LedgeAdapted;

/* Sets weight_q and weight_scale of the layers that run on integers; call it after ranges. The
 * float model is not changed. Deterministic: the same for any number of threads. */
LedgeStatus ledge__quant_adapt(LedgeQuantizer *q, const LedgeJudge *j,
                               const LedgeAdaptiveOptions *o, const LedgeQuantTick *tick,
                               LedgeError *err, LedgeAdapted *out);

#endif
