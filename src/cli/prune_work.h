/* Between the parts of `ledge prune`: the search for a target, timing, writing. */
#ifndef LEDGE_CLI_PRUNE_WORK_H
#define LEDGE_CLI_PRUNE_WORK_H

#include "cli/cli.h"
#include "compress/prune/prune_weights.h"

/* A model as the bytes of its file. */
typedef struct PruneBytes {
    void *bytes; /* freed by ledge__free(NULL, …) */
    size_t size;
} PruneBytes;

typedef struct PruneTarget {
    enum { PRUNE_BY_AMOUNT, PRUNE_BY_MACS, PRUNE_BY_LATENCY } by;
    double amount;  /* of the channels, to go */
    double macs;    /* of the multiply-accumulates, to stay */
    double latency; /* milliseconds */
} PruneTarget;

/* What was there and what is left. */
typedef struct PruneCounts {
    uint32_t channels[2]; /* that could go: before, after */
    double macs[2];
    double ms[2]; /* of one run; NaN: not timed */
} PruneCounts;

/* Milliseconds of one run on random numbers: the median of enough runs, after one that is not
 * counted. `b` NULL: one model alone; else both in turn, out[1] being b's. */
LedgeStatus prune_time_models(LedgeModel *a, LedgeModel *b, int threads, LedgeError *err,
                              double out[2]);
LedgeStatus prune_time(const PruneBytes *a, const PruneBytes *b, int threads, LedgeError *err,
                       double out[2]);

/* Fewer channels in `from` (NULL: in the file at `path`), towards the target by `share` (0 … 1] of
 * the way, `counts` being of the model as it was first, which the stage from the file fills in.
 * Statuses: the pruner's, CANCELLED. */
typedef struct PruneStage {
    const LedgePruneOptions *o;
    PruneTarget target;
    double share;
    int threads;
    /* NULL, or called with the model before it is ranked by `gradient`. */
    LedgeStatus (*before)(void *arg, const PruneBytes *whole, LedgeError *err);
    LedgePruneGradient gradient;
    void *arg; /* of both */
} PruneStage;
typedef struct PruneStaged {
    PruneBytes whole; /* the model as it was in the file, if it came from there */
    PruneBytes pruned;
    json_t *layers;
    json_t *barriers; /* where channels could not be followed */
} PruneStaged;
/* On failure *out is untouched. */
LedgeStatus prune_stage(const PruneStage *s, const char *path, const PruneBytes *from,
                        PruneCounts *counts, LedgeError *err, PruneStaged *out);
void prune_staged_free(PruneStaged *s);

/* The same model with a metadata entry set. */
LedgeStatus prune_note(PruneBytes *b, const char *key, const char *value, LedgeError *err);

#endif
