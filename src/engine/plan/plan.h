/* A plan: one graph made ready to run for one set of input shapes.
 *
 * Building it infers every shape, computes what follows from shapes alone, lets operators
 * choose kernels and pack weights, and lays all tensors of known size into one arena by
 * lifetimes, in place where legal. What depends on data (NonZero, Loop, sequences) is
 * allocated while running. Running allocates nothing when nothing depends on data.
 *
 * A plan runs on one thread at a time. Its outputs stay valid until it runs again or its
 * arena is bound elsewhere. */
#ifndef LEDGE_ENGINE_PLAN_H
#define LEDGE_ENGINE_PLAN_H

#include "engine/graph/op.h"
#include "engine/plan/weights.h"

typedef struct LedgePlan LedgePlan;

typedef struct LedgePlanOptions {
    const LedgeAllocator *allocator;
    LedgeWeights *weights; /* shared, outlives the plan */
    LedgePool *pool;       /* may be NULL */
    uint32_t cpu;
    size_t arena_limit;    /* 0: none; over it building fails with LIMIT */
    int depth;             /* subgraphs inside each other */
    bool (*cancelled)(void *arg); /* asked before each step; NULL: nobody */
    void *cancel_arg;
} LedgePlanOptions;

/* inputs: type, rank and dims of each graph input (captured ones included), data ignored. */
LedgeStatus ledge__plan_new(const LedgeGraph *g, const LedgePlanOptions *o,
                            const LedgeTensor *inputs, LedgeError *err, LedgePlan **out);
void ledge__plan_free(LedgePlan *p); /* NULL is legal */

/* Bytes of arena that the plan needs, LEDGE_ALIGN-aligned. */
size_t ledge__plan_arena_bytes(const LedgePlan *p);
/* Gives the plan its arena (shared by plans that never run at the same time). Cheap when the
 * same as before. */
void ledge__plan_bind(LedgePlan *p, void *arena);
/* True if `inputs` have the shapes that the plan was built for. */
bool ledge__plan_fits(const LedgePlan *p, const LedgeTensor *inputs);
/* inputs[i].data for each graph input. Outputs are then given by ledge__plan_output. */
LedgeStatus ledge__plan_run(LedgePlan *p, const LedgeTensor *inputs, LedgeError *err);
const LedgeTensor *ledge__plan_output(const LedgePlan *p, uint32_t i);

/* Steps, in order, for reports: the node, and the nanoseconds of its last run when timing was
 * switched on by ledge__plan_set_timing. */
uint32_t ledge__plan_step_count(const LedgePlan *p);
const LedgeNode *ledge__plan_step(const LedgePlan *p, uint32_t i, uint64_t *ns, int64_t *macs);
void ledge__plan_set_timing(LedgePlan *p, bool on);

#endif
