/* What the files of the planner share. */
#ifndef LEDGE_ENGINE_PLAN_INTERNAL_H
#define LEDGE_ENGINE_PLAN_INTERNAL_H

#include "engine/plan/plan.h"

#define PLAN_NO_OFFSET SIZE_MAX
#define PLAN_FOLD_LIMIT ((size_t)65536) /* bytes of a value computed while planning */
#define PLAN_MAX_DEPTH 32

typedef enum PlanPlace {
    PLAN_UNUSED = 0,
    PLAN_CONSTANT, /* data known while planning */
    PLAN_INPUT,    /* the caller's memory */
    PLAN_ARENA,    /* at `offset` of the arena, or a view of such */
    PLAN_HEAP      /* allocated while running */
} PlanPlace;

/* One value under this plan. */
typedef struct PlanValue {
    LedgeTensor t;
    PlanPlace place;
    uint32_t root;        /* whose memory this is; itself if its own */
    uint32_t first, last; /* steps that write and last read the root's memory */
    size_t bytes, offset; /* of roots in the arena */
    bool is_output;       /* it or a view of it is a graph output */
    void *owned;          /* PLAN_HEAP roots: the block to free */
} PlanValue;

/* Subgraph plans of one step: two per body, used in turn, so that one call's outputs can be
 * the next call's inputs. */
typedef struct PlanBody {
    const LedgeGraph *graph;
    LedgePlan *plan[2];
    void *arena[2];
    size_t arena_bytes[2];
    int turn;
} PlanBody;

typedef struct PlanStep {
    const LedgeNode *node;
    LedgeOpCtx ctx;
    struct LedgePlan *plan;
    bool dynamic;              /* infer, prepare and allocate while running */
    bool view;                 /* nothing to run: output 0 is input 0's memory */
    bool copy_first;           /* output 0 starts as a copy of ... */
    uint32_t copy_from;        /* ... this input */
    uint32_t *release;         /* PLAN_HEAP roots that end with this step */
    uint32_t n_release;
    PlanBody *bodies;
    uint32_t n_bodies;
    uint64_t ns;
    int64_t macs;
} PlanStep;

struct LedgePlan {
    const LedgeGraph *g;
    LedgePlanOptions o;
    LedgeArena *arena;        /* everything of the plan but heap values */
    LedgeArena *run_arena;    /* what operators ask for while running; emptied at the next run */
    PlanValue *values;        /* by value id */
    PlanStep *steps;
    uint32_t n_steps;
    uint32_t *input_views;    /* values that are views of the caller's memory */
    uint32_t n_input_views;
    size_t arena_bytes, scratch_offset, scratch_bytes;
    char *base;               /* the arena bound now */
    void *heap_scratch;       /* scratch of dynamic steps, grown */
    size_t heap_scratch_bytes;
    LedgeTensor *outputs;
    size_t *output_copy;      /* arena offset where an output is copied that is an input or a
                                 constant or another output's twin; PLAN_NO_OFFSET: no copy */
    bool running, timing;
    bool has_heap;            /* a value may own a block: there is something to release */
};

extern const LedgeOpHost ledge__plan_host;

/* Offsets for all PLAN_ARENA roots by lifetimes. */
LedgeStatus ledge__plan_layout(LedgePlan *p, LedgeError *err);
void ledge__plan_release_heap(LedgePlan *p);
LedgeStatus ledge__plan_heap_alloc(LedgePlan *p, PlanValue *v, LedgeError *err);
void ledge__plan_bodies_free(LedgePlan *p, PlanStep *s);

/* What an operator's inference left in its outputs, held against the limits. */
LedgeStatus ledge__plan_check_outputs(const PlanStep *s, LedgeError *err);

#endif
