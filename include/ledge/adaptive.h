/* Adaptive inference: a ladder of models for one task, from small and fast to large and right.
 *
 * Each request begins low. An answer that is sure enough is the answer; an unsure one goes to the
 * next rung, as long as the time that a request may take allows it. When answers come too late
 * again and again, the top of the ladder is closed for a while; it opens again once there has been
 * time to spare for longer. A rung that is hardly ever sure is left out, but tried now and then.
 *
 * This part decides and runs nothing by itself: ledge_adaptive_step is asked after each run.
 * ledge_adaptive_run does both over sessions. Threads: any may ask one LedgeAdaptive. */
#ifndef LEDGE_ADAPTIVE_H
#define LEDGE_ADAPTIVE_H

#include "ledge/ledge.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LEDGE_ADAPTIVE_RUNGS 8

typedef struct LedgeAdaptive LedgeAdaptive;

/* How sure an answer is, 0 to 1. */
typedef enum LedgeConfidence {
    LEDGE_CONFIDENCE_TOP1,  /* probability of the best class */
    LEDGE_CONFIDENCE_MARGIN /* by how much it is ahead of the second */
} LedgeConfidence;

typedef struct LedgeAdaptiveOptions {
    double threshold; /* confidence from which an answer stands, above 0, at most 1; 0: 0.8 */
    LedgeConfidence confidence;
    double budget;       /* seconds that a request should take at most, waiting included; 0: any */
    uint32_t down_after; /* late answers in a row that close the top rung, 0: 4 */
    uint32_t up_after;   /* answers in a row with time to spare that open it again, 0: 64 */
    const LedgeAllocator *allocator;
} LedgeAdaptiveOptions;

/* Why an answer was final, or that it was not. */
typedef enum LedgeAdaptiveStep {
    LEDGE_ADAPTIVE_CLIMB,  /* not final: the next rung is to run */
    LEDGE_ADAPTIVE_SURE,   /* sure enough */
    LEDGE_ADAPTIVE_TOP,    /* the ladder ends here */
    LEDGE_ADAPTIVE_CLOSED, /* the rungs above are closed */
    LEDGE_ADAPTIVE_BUDGET  /* the next rung would take this request past its budget */
} LedgeAdaptiveStep;

typedef struct LedgeAdaptiveStats {
    uint32_t rungs, highest, first; /* the highest that is open, where requests begin now */
    uint64_t closed, opened;        /* how often a rung was */
    struct {
        uint64_t runs, answers; /* answers: final ones */
        double seconds;         /* of a run, mean of the latest; 0: none yet */
        double sure;            /* share of its runs that were sure enough, of the latest */
    } rung[LEDGE_ADAPTIVE_RUNGS];
} LedgeAdaptiveStats;

/* A ladder of 2 to LEDGE_ADAPTIVE_RUNGS rungs. options may be NULL. Statuses: ARGUMENT, MEMORY. */
LEDGE_API LEDGE_MUST_CHECK LedgeStatus ledge_adaptive_create(uint32_t rungs,
                                                             const LedgeAdaptiveOptions *options,
                                                             LedgeError *error,
                                                             LedgeAdaptive **out);
LEDGE_API void ledge_adaptive_free(LedgeAdaptive *a); /* NULL is legal */

/* The rung that a request begins on. */
LEDGE_API uint32_t ledge_adaptive_first(LedgeAdaptive *a);
/* What to do after `rung` ran for `seconds` (NaN: its answer came from elsewhere) and was
 * `confidence` sure (NaN: not at all), `elapsed` seconds after the request came. After anything but
 * CLIMB the request is over. */
LEDGE_API LedgeAdaptiveStep ledge_adaptive_step(LedgeAdaptive *a, uint32_t rung, double confidence,
                                                double seconds, double elapsed);
/* The confidence of a tensor of scores: the least sure of its rows; 0 where it is no scores. */
LEDGE_API double ledge_adaptive_confidence(const LedgeAdaptive *a, const LedgeTensor *scores);
LEDGE_API void ledge_adaptive_stats(LedgeAdaptive *a, LedgeAdaptiveStats *out);

typedef struct LedgeAdaptiveChoice {
    uint32_t rung; /* whose answer it is */
    double confidence, seconds;
    LedgeAdaptiveStep why;
} LedgeAdaptiveChoice;

/* Runs sessions[first …] on the same inputs until an answer stands; output 0 holds the scores.
 * Sessions, inputs and outputs as in ledge_session_run; `outputs` whose data are NULL belong to
 * the session of choice->rung. choice may be NULL. */
LEDGE_API LEDGE_MUST_CHECK LedgeStatus ledge_adaptive_run(
    LedgeAdaptive *a, LedgeSession *const *sessions, const LedgeTensor *inputs, size_t n_inputs,
    LedgeTensor *outputs, size_t n_outputs, LedgeError *error, LedgeAdaptiveChoice *choice);

#ifdef __cplusplus
}
#endif
#endif
