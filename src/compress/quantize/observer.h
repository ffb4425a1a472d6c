/* What calibration keeps of one tensor: its bounds and a histogram, in constant memory.
 *
 * Bins are 2^exponent wide and stand on multiples of their width. When a value falls outside,
 * neighbours are joined and the width doubles, so that what is kept depends on the values alone
 * and not on the order in which they came. */
#ifndef LEDGE_COMPRESS_OBSERVER_H
#define LEDGE_COMPRESS_OBSERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledge/status.h"

#define LEDGE_OBSERVER_BINS 4096

typedef struct LedgeObserver {
    uint64_t count; /* finite values seen */
    uint64_t zeros; /* of these exactly 0: every range holds them without error */
    uint64_t nan, infinite;
    float min, max;
    /* Histogram: bin i holds (first + i) <= value / 2^exponent < (first + i + 1). */
    bool no_bins; /* bounds are enough: set before the first value */
    int exponent;
    int64_t first;
    uint64_t bins[LEDGE_OBSERVER_BINS];
} LedgeObserver;

void ledge__observer_start(LedgeObserver *o, bool bins);
/* Takes n values in. If one of them is not finite, such are counted and the rest left out: the
 * caller is expected to give up. */
void ledge__observer_add(LedgeObserver *o, const float *x, size_t n);
/* Middle of bin i. */
double ledge__observer_centre(const LedgeObserver *o, size_t i);
/* Values in bin i, without the exact zeros. */
uint64_t ledge__observer_bin(const LedgeObserver *o, size_t i);

/* ---- from a histogram to a range (calibrate.c) ---- */

/* X(NAME, name) */
#define LEDGE_CALIBRATOR_LIST(X)                                                                   \
    X(MINMAX, "minmax")                                                                            \
    X(PERCENTILE, "percentile")                                                                    \
    X(ENTROPY, "entropy")                                                                          \
    X(MSE, "mse")

typedef enum LedgeCalibrator {
#define LEDGE_CALIBRATOR_ENUM(NAME, name) LEDGE_CALIBRATE_##NAME,
    LEDGE_CALIBRATOR_LIST(LEDGE_CALIBRATOR_ENUM)
#undef LEDGE_CALIBRATOR_ENUM
} LedgeCalibrator;

const char *ledge__calibrator_name(LedgeCalibrator c);

/* The range [*lo, *hi] (lo <= 0 <= hi) that `how` picks. percentile: of the values that must lie
 * inside, e.g. 99.99; what is outside is halved between both ends. symmetric: the range will be
 * used as [-t, t]. Both 0 when nothing but zeros was seen. */
void ledge__observer_range(const LedgeObserver *o, LedgeCalibrator how, double percentile,
                           bool symmetric, float *lo, float *hi);

#endif
