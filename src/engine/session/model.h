/* A loaded model: graph, optimised once, with the weights that all its sessions share. */
#ifndef LEDGE_ENGINE_MODEL_H
#define LEDGE_ENGINE_MODEL_H

#include "base/lock.h"
#include "engine/graph/op.h"
#include "engine/plan/weights.h"
#include "ledge/ledge.h"

struct LedgeModel {
    const LedgeAllocator *allocator;
    OnnxModel *onnx;
    LedgeGraph *graph;                 /* what inputs and outputs are taken from */
    LedgeGraph *native;                /* what the CPU runs: `graph`, or made later from the file */
    bool no_optimize;
    LedgeLock lock;                    /* over the making of `native` */
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

/* The graph optimised for the CPU; made now if the model was loaded for providers. Statuses:
 * UNSUPPORTED (names the operator), those of loading. Any thread. */
LedgeStatus ledge__model_native(LedgeModel *m, LedgeError *err, LedgeGraph **out);

/* Constants up to this size are computed at load time. */
#define LEDGE_LOAD_FOLD_LIMIT ((size_t)32 << 20)

#endif
