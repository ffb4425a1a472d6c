/* Inside the drift monitor: its whole state is one structure of fixed size, so that memory is
 * constant and saving is one copy. */
#ifndef LEDGE_MONITOR_DRIFT_STATE_H
#define LEDGE_MONITOR_DRIFT_STATE_H

#include "monitor/drift.h"
#include "monitor/running.h"
#include "monitor/sketch.h"

enum {
    DRIFT_GROUPS = 20,                /* classes are counted in so many groups */
    DRIFT_BINS = 10,                  /* bins of confidence and features */
    DRIFT_QUARTERS = 4,               /* of a window */
    DRIFT_SLOTS = DRIFT_QUARTERS + 1, /* one more, which fills */
    DRIFT_KEPT = 128,                 /* values kept of each quantity while learning */
    DRIFT_MAPPED = 12288, /* classes with a group of their own choice; others go by hash */
    DRIFT_CALM = 2        /* quarters below RECOVERY that end a finding */
};
#define DRIFT_RECOVERY 0.8

typedef struct DriftCounts {
    double sum;
    uint64_t n;
    uint32_t bin[DRIFT_BINS];
} DriftCounts;

typedef struct DriftQuarter {
    uint64_t n;
    uint32_t group[DRIFT_GROUPS];
    DriftCounts confidence;
    DriftCounts feature[LEDGE_BASELINE_FEATURES];
    LedgeSketch latency;
} DriftQuarter;

/* What windows are held against. */
typedef struct DriftReference {
    uint64_t samples, classified;
    uint64_t group[DRIFT_GROUPS];
    double confidence_mean, confidence_std;
    LedgeBins confidence;
    uint32_t n_features;
    LedgeFeatureBaseline feature[LEDGE_BASELINE_FEATURES];
} DriftReference;

typedef struct DriftLearned {
    LedgeRunning all;
    float kept[DRIFT_KEPT]; /* an even sample */
} DriftLearned;

typedef struct DriftLevel {
    uint8_t severity, calm;
} DriftLevel;

typedef struct DriftState {
    uint64_t records;
    uint32_t learning; /* 1: the reference is not known yet */
    uint32_t full;     /* quarters that are full, at most all */
    uint32_t current;  /* the slot that fills; the full quarters come before it */
    double fall, fall_began, change_time; /* Page-Hinkley */
    uint64_t random;
    DriftQuarter quarter[DRIFT_SLOTS];
    LedgeDriftReport report;
    DriftLevel level[LEDGE_DRIFT_FINDINGS];
    DriftReference ref;
    DriftLearned learned[1 + LEDGE_BASELINE_FEATURES]; /* confidence, then features */
} DriftState;

struct LedgeDrift {
    const LedgeAllocator *allocator;
    LedgeDriftOptions options;
    DriftState s;
    uint32_t n_mapped;
    uint8_t *group_of; /* class to group */
    bool learns;       /* no baseline was given */
};

uint32_t ledge__drift_group(const LedgeDrift *d, int64_t class_id);
/* Makes the reference of what was learned. drift_learn.c */
void ledge__drift_learn(LedgeDrift *d, const LedgeDriftRecord *r);
/* drift_judge.c: the report anew, from the full quarters. */
void ledge__drift_judge(LedgeDrift *d);

#endif
