/* Notices that a model in production no longer sees or answers what it was made for.
 *
 * Each answer is recorded (a few hundred nanoseconds, no allocation); windows of answers are held
 * against a baseline, and what is out of bounds becomes findings with a severity. Memory is
 * constant, whatever the window. One thread at a time per monitor; clocks are the caller's.
 *
 * A window slides in quarters. A finding needs its measure above the threshold and, for those
 * that sampling noise alone can raise, a chi-square test that says the same; it ends when the
 * measure has been below RECOVERY of the threshold for two quarters. */
#ifndef LEDGE_MONITOR_DRIFT_H
#define LEDGE_MONITOR_DRIFT_H

#include "monitor/baseline.h"

/* X(NAME, "name", warning, high): the measures and their thresholds by default. */
#define LEDGE_DRIFT_MEASURES(X)                                                                    \
    X(CONFIDENCE_DROP, "confidence_drop", 0.05, 0.1)                                               \
    X(CONFIDENCE_PSI, "confidence_psi", 0.2, 0.4)                                                  \
    X(CONFIDENCE_KS, "confidence_ks", 0.25, 0.5)                                                   \
    X(CLASS_PSI, "class_psi", 0.2, 0.4)                                                            \
    X(CLASS_JS, "class_js", 0.15, 0.25)                                                            \
    X(LATENCY, "latency_p90_seconds", 0.05, 0.1)                                                   \
    X(FEATURE_Z, "feature_z", 3, 5)                                                                \
    X(FEATURE_PSI, "feature_psi", 0.2, 0.4)

typedef enum LedgeDriftMeasure {
#define LEDGE_DRIFT_ENUM(NAME, name, warning, high) LEDGE_DRIFT_##NAME,
    LEDGE_DRIFT_MEASURES(LEDGE_DRIFT_ENUM)
#undef LEDGE_DRIFT_ENUM
        LEDGE_DRIFT_MEASURE_COUNT
} LedgeDriftMeasure;

typedef enum LedgeSeverity { LEDGE_FINE, LEDGE_WARNING, LEDGE_HIGH } LedgeSeverity;

typedef struct LedgeDriftThreshold {
    double warning, high; /* 0: by default; INFINITY: never */
} LedgeDriftThreshold;

typedef struct LedgeDriftOptions {
    uint32_t window;  /* answers, 1,000 where 0 */
    uint32_t minimum; /* fewest answers to judge by, 200 where 0 */
    uint32_t learn;   /* without a baseline: learn from so many, 1,000 where 0 */
    const char *(*feature_name)(uint32_t feature); /* for learnt ones; NULL: by number */
    LedgeDriftThreshold threshold[LEDGE_DRIFT_MEASURE_COUNT];
} LedgeDriftOptions;

/* One answer. */
typedef struct LedgeDriftRecord {
    double time;           /* seconds, any clock */
    double latency;        /* seconds */
    int64_t class_id;      /* -1: none */
    float confidence;      /* 0 … 1; NAN: none */
    const float *features; /* as many as the baseline has; NAN: missing */
    uint32_t n_features;
} LedgeDriftRecord;

typedef struct LedgeDriftFinding {
    LedgeDriftMeasure measure;
    char feature[LEDGE_BASELINE_NAME]; /* its name; "" where the measure is of none */
    double value, threshold;           /* the threshold of its severity; of warning when fine */
    double p;                          /* of the chi-square test, 1 where there is none */
    LedgeSeverity severity;
} LedgeDriftFinding;

enum { LEDGE_DRIFT_FINDINGS = LEDGE_DRIFT_MEASURE_COUNT - 2 + 2 * LEDGE_BASELINE_FEATURES };

typedef struct LedgeDriftReport {
    bool learning;          /* no baseline yet */
    bool judged;            /* enough answers for a verdict */
    LedgeSeverity severity; /* the worst */
    uint64_t records;       /* since the monitor began */
    uint64_t window;        /* answers that this verdict is about */
    double confidence_mean;
    double latency_p50, latency_p90, latency_p99;
    double change_time; /* when confidence began to fall, by Page-Hinkley; NAN: it did not */
    uint32_t n;
    LedgeDriftFinding finding[LEDGE_DRIFT_FINDINGS];
} LedgeDriftReport;

/* How answers are spread now and were in the reference, as shares of 1; for pictures of them. */
enum { LEDGE_DRIFT_SHARES = 20 };
typedef struct LedgeDriftShares {
    uint32_t confidences;           /* bins, 0: not known yet */
    float edge[LEDGE_DRIFT_SHARES]; /* confidences - 1 inner edges, rising */
    double confidence[LEDGE_DRIFT_SHARES], confidence_before[LEDGE_DRIFT_SHARES];
    uint32_t groups; /* that classes are counted in, 0: not known */
    double group[LEDGE_DRIFT_SHARES], group_before[LEDGE_DRIFT_SHARES];
} LedgeDriftShares;

typedef struct LedgeDrift LedgeDrift;

/* options may be NULL. baseline is copied; NULL: it is learned from the first answers. Statuses:
 * ARGUMENT, MEMORY. */
LedgeStatus ledge__drift_new(const LedgeDriftOptions *options, const LedgeBaseline *baseline,
                             const LedgeAllocator *a, LedgeError *err, LedgeDrift **out);
void ledge__drift_free(LedgeDrift *d); /* NULL is legal */
/* true: a quarter of the window is full, and the report is a new one. */
bool ledge__drift_record(LedgeDrift *d, const LedgeDriftRecord *r);
void ledge__drift_report(const LedgeDrift *d, LedgeDriftReport *out);
/* Of the window that the report is about. */
void ledge__drift_shares(const LedgeDrift *d, LedgeDriftShares *out);
size_t ledge__drift_bytes(const LedgeDrift *d); /* all memory that it holds */
const char *ledge__drift_measure_name(LedgeDriftMeasure m);
const char *ledge__severity_name(LedgeSeverity s);

/* The state for the disk, and back into a monitor of the same options and baseline. Sizes are
 * the same for every monitor. restore: FORMAT (damaged), MISMATCH (another baseline, version or
 * window), and then the monitor is as it was. */
size_t ledge__drift_state_bytes(void);
void ledge__drift_save(const LedgeDrift *d, void *to);
LedgeStatus ledge__drift_restore(LedgeDrift *d, const void *bytes, size_t size, LedgeError *err);

#endif
