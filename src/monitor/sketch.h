/* Quantiles of positive numbers in constant memory, after DDSketch (Masson, Rim, Lee: "DDSketch:
 * a fast and fully-mergeable quantile sketch with relative-error guarantees", VLDB 2019).
 *
 * Buckets grow by a fixed factor, so that every quantile between LOWEST and HIGHEST is right to
 * LEDGE_SKETCH_ERROR of itself. Two sketches merge by adding their buckets. Values are seconds
 * where latencies are meant; zero and below count as LOWEST, above HIGHEST as HIGHEST. */
#ifndef LEDGE_MONITOR_SKETCH_H
#define LEDGE_MONITOR_SKETCH_H

#include <stddef.h>
#include <stdint.h>

enum { LEDGE_SKETCH_BUCKETS = 1152 };
#define LEDGE_SKETCH_ERROR  0.01
#define LEDGE_SKETCH_LOWEST 1e-7

typedef struct LedgeSketch {
    uint64_t count;
    double sum, min, max;
    uint32_t bucket[LEDGE_SKETCH_BUCKETS];
} LedgeSketch;

void ledge__sketch_clear(LedgeSketch *s);
void ledge__sketch_add(LedgeSketch *s, double value);
void ledge__sketch_merge(LedgeSketch *into, const LedgeSketch *from);
/* The value below which a share q (0 … 1) of all lies; 0 while empty. */
double ledge__sketch_quantile(const LedgeSketch *s, double q);
/* How many values are at most `value`, to the nearest bucket. */
uint64_t ledge__sketch_below(const LedgeSketch *s, double value);
double ledge__sketch_mean(const LedgeSketch *s); /* 0 while empty */

#endif
