/* Mixed precision: what each layer's quantization costs alone, and the fewest layers to leave in
 * float so that the whole stays within a budget of accuracy. */
#ifndef LEDGE_COMPRESS_QUANT_MIXED_H
#define LEDGE_COMPRESS_QUANT_MIXED_H

#include "compress/quantize/quant_judge.h"

typedef struct LedgeDamage {
    uint32_t node;             /* into the quantizer's nodes */
    double sqnr_db;            /* of the model's outputs when this layer alone is quantized */
    size_t agreement, top1, n; /* in the same trial */
    bool kept;                 /* the search left it in float */
} LedgeDamage;

typedef struct LedgeDamages {
    LedgeDamage *items; /* in the graph's order; in the quantizer's arena */
    size_t n;
} LedgeDamages;

typedef struct LedgeMixed {
    double budget;        /* points that may be lost */
    double before, after; /* points lost with all layers quantized, and with the result */
    size_t kept;          /* layers */
    size_t trials;        /* models that were measured */
    bool holds;           /* the budget is held */
} LedgeMixed;

/* Each layer (product, or with weights) that runs on integers now, alone, on the first `most`
 * samples. Observation must have happened; the quantizer's choices come back as they were. */
LedgeStatus ledge__quant_damage(LedgeQuantizer *q, const LedgeJudge *j, size_t most,
                                const LedgeQuantTick *tick, LedgeError *err, LedgeDamages *out);
/* Sets keep_float of the fewest layers, most damaging first, that hold `budget` points on all
 * samples of the judge; decides and picks ranges anew. Status UNSUPPORTED: no classifier. */
LedgeStatus ledge__quant_mixed(LedgeQuantizer *q, const LedgeJudge *j, LedgeDamages *damages,
                               double budget, const LedgeQuantTick *tick, LedgeError *err,
                               LedgeMixed *out);

#endif
