/* Pruning of ONNX models: what `ledge prune` and everything built on it calls.
 *
 *   open      reads the model, follows every channel through the graph, joins those that can only
 *             go together
 *   score     how much each such group of channels matters
 *   plan      the order in which groups go, in steps that keep counts round
 *   pick      the step that reaches a share of channels or of multiply-accumulates
 *   take      makes that step the one that `build` writes; as often as wanted
 *   build     the smaller model, as plain ONNX
 *
 * Removing a channel changes the answer exactly as setting it to zero where convolutions and
 * matrix products read it would: nothing else is ever removed. */
#ifndef LEDGE_COMPRESS_PRUNE_H
#define LEDGE_COMPRESS_PRUNE_H

#include "engine/graph/graph.h"

typedef enum LedgePruneImportance {
    LEDGE_PRUNE_L1,     /* sum of absolute weights, BatchNormalization's scale taken in */
    LEDGE_PRUNE_L2,     /* root of the sum of squares, the same way */
    LEDGE_PRUNE_BN,     /* BatchNormalization's scale alone; L2 where there is none */
    LEDGE_PRUNE_TAYLOR, /* |sum of weight * gradient|: needs `gradient` below */
    LEDGE_PRUNE_RANDOM
} LedgePruneImportance;

typedef struct LedgePruneOptions {
    LedgePruneImportance importance;
    bool per_layer;          /* the same share of each layer; else the least important of all */
    int round;               /* counts that remain are multiples of this, >= 1 */
    double layer_limit;      /* most of one layer that may go when chosen over all, 0 < l <= 1 */
    /* One of several stages: amounts that round to none are step 0, and layer_limit is a share of
     * what each layer had before the first stage (in ledge__pruner_layer's order; NULL: has). */
    bool staged;
    const uint32_t *first;
    size_t n_first;
    uint64_t seed;           /* of RANDOM */
    const char *const *keep; /* names of nodes whose output channels stay */
    size_t n_keep;
    const LedgeAllocator *allocator;
} LedgePruneOptions;

/* Gradient of the loss by weight `name`, `count` numbers as the weight lies; NULL: not known. */
typedef const float *(*LedgePruneGradient)(void *arg, const char *name, int64_t count);

/* Where channels could not be followed any further. */
typedef struct LedgePruneBarrier {
    const char *node, *op_type, *why;
} LedgePruneBarrier;

/* A layer that makes channels, for tables. */
typedef struct LedgePruneLayer {
    const char *name, *op_type;
    uint32_t channels, kept;
    bool fixed;                       /* none of its channels can go ... */
    const LedgePruneBarrier *barrier; /* ... because of this; NULL: none is known */
} LedgePruneLayer;

typedef struct LedgePruned {
    const LedgeAllocator *allocator;
    LedgeGraph *graph; /* that `model` points into */
    OnnxModel model;
} LedgePruned;

typedef struct LedgePruner LedgePruner;

/* `path`, or `size` bytes that must outlive the pruner when path is NULL. The strings in `o` must
 * stay. Statuses: those of reading and inference; ARGUMENT (a name in `keep` is no node), FORMAT
 * (the model is quantized), UNSUPPORTED (no channel can be removed, with the reason). */
LedgeStatus ledge__pruner_open(const char *path, const void *bytes, size_t size,
                               const LedgePruneOptions *o, LedgeError *err, LedgePruner **out);
void ledge__pruner_free(LedgePruner *p); /* NULL is legal */

/* `gradient` may be NULL but for TAYLOR. Statuses: ARGUMENT, MEMORY. */
LedgeStatus ledge__pruner_score(LedgePruner *p, LedgePruneGradient gradient, void *arg,
                                LedgeError *err);
/* After score. Nothing is taken then. Status: MEMORY. */
LedgeStatus ledge__pruner_plan(LedgePruner *p, LedgeError *err);

/* Steps of the plan; step 0 is the whole model. */
size_t ledge__pruner_steps(const LedgePruner *p);
/* `share` of the channels that layers make, those that are fixed not counted. ARGUMENT where that
 * would empty a layer (named, with the largest share that is possible), or rounds to nothing. */
LedgeStatus ledge__pruner_pick_amount(LedgePruner *p, double share, LedgeError *err, size_t *step);
/* The first step with at most `macs`; ARGUMENT where no step has so few. */
LedgeStatus ledge__pruner_pick_macs(LedgePruner *p, double macs, LedgeError *err, size_t *step);
void ledge__pruner_take(LedgePruner *p, size_t step);

/* Of the step taken; step 0 gives those of the model that was read. Free dimensions count as in
 * the shapes that were followed: 1 for the batch. */
double ledge__pruner_macs(const LedgePruner *p);
uint32_t ledge__pruner_channels(const LedgePruner *p); /* that could go and are still there */
size_t ledge__pruner_layers(const LedgePruner *p);
LedgePruneLayer ledge__pruner_layer(const LedgePruner *p, size_t i);
size_t ledge__pruner_barriers(const LedgePruner *p);
LedgePruneBarrier ledge__pruner_barrier(const LedgePruner *p, size_t i);

/* The model of the step taken, freed by ledge__pruned_free; it needs the pruner until then. */
LedgeStatus ledge__pruner_build(const LedgePruner *p, LedgeError *err, LedgePruned **out);
void ledge__pruned_free(LedgePruned *m); /* NULL is legal */

#endif
