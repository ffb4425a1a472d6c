/* A loaded model: graph, optimised once, with the weights that all its sessions share. */
#ifndef LEDGE_ENGINE_MODEL_H
#define LEDGE_ENGINE_MODEL_H

#include "engine/graph/op.h"
#include "engine/plan/weights.h"
#include "ledge/ledge.h"

struct LedgeModel {
    const LedgeAllocator *allocator;
    OnnxModel *onnx;
    LedgeGraph *graph;
    LedgeWeights *weights;
    struct LedgeFile *file;            /* of a compiled model, else NULL */
    LedgeArena *file_arena;            /* holds its mapping's record */
    struct OnnxMapping *file_mapping;
    LedgeTensorInfo *inputs, *outputs; /* in the graph's arena */
    const char **metadata;             /* key, value, key, value … NUL-terminated */
    size_t n_metadata;                 /* pairs */
    uint32_t cpu;                      /* flags that kernels may use */
    int references;
};

/* Adds or drops a reference; dropping the last frees. Any thread. */
void ledge__model_retain(LedgeModel *m);

#endif
