/* BatchNormalization as scale and shift, for the passes that take it apart. */
#ifndef LEDGE_ENGINE_OPTIMIZE_BN_H
#define LEDGE_ENGINE_OPTIMIZE_BN_H

#include "engine/graph/graph.h"

/* An inference BatchNormalization with constant float parameters. */
bool ledge__opt_bn_constants(const LedgeNode *n, int64_t *channels);
/* y = x * scale + shift; arrays of `channels`. */
void ledge__opt_bn_affine(const LedgeNode *n, int64_t channels, double *scale, double *shift);

#endif
