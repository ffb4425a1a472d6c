/* Measuring variants of a quantized model for ledge quantize. */
#ifndef LEDGE_CLI_QUANTIZE_COMPARE_H
#define LEDGE_CLI_QUANTIZE_COMPARE_H

#include "cli/quantize_more.h"

/* Adds the other modes to m->variants: the calibrators of static, weights, dynamic. */
int quantize_compare(QuantizeMore *m, LedgeQuantizer *q, const LedgeQuantTick *tick);
/* Adds what is about to be written. */
int quantize_measure(QuantizeMore *m, LedgeQuantizer *q, const LedgeQuantTick *tick);

#endif
