/* Setting single weights to zero: the smallest anywhere, whole blocks, or two of every four.
 *
 * Shapes stay as they are, so a model is smaller only when it is compressed, and faster only where
 * kernels skip zeros. */
#ifndef LEDGE_COMPRESS_PRUNE_WEIGHTS_H
#define LEDGE_COMPRESS_PRUNE_WEIGHTS_H

#include "compress/prune/prune.h"

typedef struct LedgePruneWeightsOptions {
    bool two_of_four; /* the two smallest of each four that are summed up after each other */
    double amount;    /* else: share of the weights, 0 < a < 1 */
    uint32_t block;   /* output channels whose weights for one input go together; 1: single ones */
    bool per_layer;   /* the share of each layer; else over all, each divided by its layer's mean */
    const char *const *keep; /* names of nodes whose weights stay */
    size_t n_keep;
    const LedgeAllocator *allocator;
} LedgePruneWeightsOptions;

typedef struct LedgePruneWeightsLayer {
    const char *name, *op_type;
    int64_t weights, zeros;
} LedgePruneWeightsLayer;

typedef struct LedgePrunedWeights {
    LedgePruned *model;
    OnnxModel *onnx;
    LedgePruneWeightsLayer *layers;
    size_t n_layers;
    int64_t weights, zeros; /* of all layers; what was zero before counts */
} LedgePrunedWeights;

/* The weights of Conv, Gemm and MatMul. Statuses: those of reading; ARGUMENT (a name in `keep`),
 * UNSUPPORTED (no layer has float weights that are constants). */
LedgeStatus ledge__prune_weights(const char *path, const LedgePruneWeightsOptions *o,
                                 LedgeError *err, LedgePrunedWeights *out);
void ledge__prune_weights_free(LedgePrunedWeights *w);

#endif
