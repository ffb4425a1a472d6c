/* What the float model's answers and inputs looked like on the calibration data: the reference
 * that drift is measured against later, kept in the model's metadata as `ledge.baseline`
 * (docs/formats.md). Constant memory whatever the number of samples. */
#ifndef LEDGE_COMPRESS_BASELINE_H
#define LEDGE_COMPRESS_BASELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "ledge/tensor.h"

#define LEDGE_BASELINE_KEY             "ledge.baseline"
#define LEDGE_BASELINE_CONFIDENCE_BINS 20
#define LEDGE_BASELINE_MAX_CLASSES     (1 << 20)

/* Welford's running mean and spread. */
typedef struct LedgeRunning {
    double n, mean, m2;
} LedgeRunning;

typedef struct LedgeBaselineMaker {
    const LedgeAllocator *allocator;
    uint64_t samples;
    uint64_t *classes; /* predictions of each; NULL: not a classifier */
    size_t n_classes;
    uint64_t confidence[LEDGE_BASELINE_CONFIDENCE_BINS];
    LedgeRunning confidence_spread;
    LedgeRunning brightness, contrast, sharpness; /* of input tensors that are pictures */
} LedgeBaselineMaker;

void ledge__baseline_start(LedgeBaselineMaker *m, const LedgeAllocator *a);
void ledge__baseline_end(LedgeBaselineMaker *m);
/* Takes one sample in: the first input and the first output. false: no memory. */
bool ledge__baseline_add(LedgeBaselineMaker *m, const LedgeTensor *input,
                         const LedgeTensor *output);
/* The JSON text, to be freed by free(); NULL: no memory. */
char *ledge__baseline_json(const LedgeBaselineMaker *m);

/* Features of a float picture [1,C,H,W] or [1,H,W,C], as the model gets it: mean and standard
 * deviation of the mean over channels, and the mean absolute difference of a value from the mean
 * of its four neighbours. false: it is no picture. */
bool ledge__picture_features(const LedgeTensor *t, double *brightness, double *contrast,
                             double *sharpness);

#endif
