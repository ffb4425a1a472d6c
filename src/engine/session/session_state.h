/* A session's insides, for the files of this folder alone. */
#ifndef LEDGE_ENGINE_SESSION_STATE_H
#define LEDGE_ENGINE_SESSION_STATE_H

#include "engine/session/backend.h"
#include "engine/session/session.h"

#define MAX_PLANS 8 /* shape sets kept ready; the least recently used goes */

struct LedgeSession {
    const LedgeAllocator *allocator;
    LedgeModel *model;
    LedgePool *pool; /* NULL while a provider runs all */
    int threads;     /* as asked */
    bool (*cancelled)(void *arg); /* as asked */
    void *cancel_arg;
    LedgeGraph *graph;           /* the model's or the backend's; NULL: a backend runs it whole */
    LedgeWeights *weights;       /* that go with it */
    LedgePlan *plans[MAX_PLANS]; /* most recently used first */
    int n_plans;
    void *arena;
    size_t arena_bytes, arena_limit;
    LedgeTensor *results; /* per output: what the last run made */
    const void **given;   /* per output: memory of ours that the last run pointed the caller to */

    LedgeBackend *backend; /* NULL: the CPU alone */
    int64_t batch_cap;     /* largest batch that fits a provider's memory; 0: not known to be bounded */
    void **joined;         /* per output: parts of a cut batch put together */
    size_t *joined_bytes;

    LedgePlacement placement; /* of a session without a backend */
    LedgePlacedProvider cpu;
};

/* Takes graph and weights from the backend, or the model's own; drops all plans. */
LedgeStatus ledge__session_adopt(LedgeSession *s, LedgeError *err);
/* Runs the plan that fits and fills s->results. */
LedgeStatus ledge__session_run_plan(LedgeSession *s, const LedgeTensor *inputs, LedgeError *err);
/* The same on the backend: a smaller batch and then the next provider where memory gives out. */
LedgeStatus ledge__session_run_backend(LedgeSession *s, const LedgeTensor *inputs, LedgeError *err);

#endif
