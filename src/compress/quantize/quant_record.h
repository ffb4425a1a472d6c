/* The record of how a model was quantized: metadata key `ledge.quantization`, and lists for
 * reports. */
#ifndef LEDGE_COMPRESS_QUANT_RECORD_H
#define LEDGE_COMPRESS_QUANT_RECORD_H

#include <jansson.h>

#include "compress/quantize/quantize.h"

#define LEDGE_QUANT_RECORD_KEY "ledge.quantization"

const char *ledge__quant_mode_name(LedgeQuantMode mode);
const char *ledge__quant_target_name(LedgeQuantTarget target);
/* Nodes of a role that run, or do not, on integers. */
uint32_t ledge__quant_count(const LedgeQuantizer *q, LedgeQuantRole role, bool integer);
/* [{"node", "op", "why"}] of what stays in float and works on floats. */
json_t *ledge__quant_float_nodes_json(const LedgeQuantizer *q);
json_t *ledge__quant_record_json(const LedgeQuantizer *q);
/* Puts the record into the metadata of what will be built. */
LedgeStatus ledge__quant_record(LedgeQuantizer *q, LedgeError *err);

#endif
