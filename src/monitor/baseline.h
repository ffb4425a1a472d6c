/* What a model's answers and inputs looked like when it was made: the reference that drift is
 * measured against.
 *
 * Written by calibration and certification into the model's metadata (`ledge.baseline`), by
 * `ledge drift baseline`, or learned from a model's first answers. The JSON form stands in
 * docs/formats.md. Histograms are kept fine; the monitor merges their bins. */
#ifndef LEDGE_MONITOR_BASELINE_H
#define LEDGE_MONITOR_BASELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/error.h"

enum {
    LEDGE_BASELINE_FEATURES = 16, /* most features */
    LEDGE_BASELINE_BINS = 32,     /* most bins of a histogram */
    LEDGE_BASELINE_NAME = 32,     /* bytes of a feature's name, with its end */
    LEDGE_BASELINE_CLASSES = 1 << 20
};

/* n bins: bin i holds edge[i - 1] <= value < edge[i]; the outer two are open. */
typedef struct LedgeBins {
    uint32_t n;
    double edge[LEDGE_BASELINE_BINS - 1]; /* rising */
    uint64_t count[LEDGE_BASELINE_BINS];
} LedgeBins;

typedef struct LedgeFeatureBaseline {
    char name[LEDGE_BASELINE_NAME];
    double mean, std;
    LedgeBins bins; /* n 0: only mean and std are known */
} LedgeFeatureBaseline;

typedef struct LedgeBaseline {
    const LedgeAllocator *allocator;
    uint64_t samples;
    uint32_t n_classes; /* 0: not a classifier */
    uint64_t *classes;  /* predictions of each class */
    double confidence_mean, confidence_std;
    LedgeBins confidence;
    uint32_t n_features;
    LedgeFeatureBaseline feature[LEDGE_BASELINE_FEATURES];
} LedgeBaseline;

uint32_t ledge__bins_find(const LedgeBins *b, double value);
/* Neighbouring bins joined until each holds at least 1/most of all; at most `most` are left. */
void ledge__bins_merge(const LedgeBins *from, uint32_t most, LedgeBins *to);
/* `n` bins of about equal counts over values[0 … count - 1], which are sorted here; each counts
 * what of the values lies in it. Fewer bins where values repeat. */
void ledge__bins_from_values(float *values, size_t count, uint32_t n, LedgeBins *to);

/* Reads the JSON form. Statuses: FORMAT (what and where), LIMIT, MEMORY. */
LedgeStatus ledge__baseline_read(const char *json, size_t size, const LedgeAllocator *a,
                                 LedgeError *err, LedgeBaseline **out);
/* The JSON form, to be freed by ledge__free; NULL: no memory. */
char *ledge__baseline_write(const LedgeBaseline *b, const LedgeAllocator *a);
void ledge__baseline_free(LedgeBaseline *b); /* NULL is legal */

#endif
