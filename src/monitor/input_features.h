/* What an input looks like, in a few numbers that drift monitoring can watch: computed from the
 * tensor that the model really gets, so that a fault in preprocessing shows as well as a dirty
 * lens. */
#ifndef LEDGE_MONITOR_INPUT_FEATURES_H
#define LEDGE_MONITOR_INPUT_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

#include "ledge/tensor.h"

/* X(NAME, "name"): in units of the tensor.
 * mean and spread of all values; for pictures also sharpness, the mean absolute Laplacian, which
 * falls with blur and rises with noise, and red_blue, the mean of the first less the last channel,
 * whose sign turns when colours are swapped. */
#define LEDGE_INPUT_FEATURES(X)                                                                    \
    X(MEAN, "mean")                                                                                \
    X(SPREAD, "spread")                                                                            \
    X(SHARPNESS, "sharpness")                                                                      \
    X(RED_BLUE, "red_blue")

enum {
#define LEDGE_INPUT_FEATURE_ENUM(NAME, name) LEDGE_INPUT_##NAME,
    LEDGE_INPUT_FEATURES(LEDGE_INPUT_FEATURE_ENUM)
#undef LEDGE_INPUT_FEATURE_ENUM
        LEDGE_INPUT_FEATURE_COUNT
};

typedef float LedgeInputFeatures[LEDGE_INPUT_FEATURE_COUNT];

const char *ledge__input_feature_name(uint32_t feature);

/* What the bytes of pictures stand for in a model that normalises them itself. */
typedef struct LedgeInputPixels {
    bool reversed;       /* the last byte of a pixel is the model's first channel */
    float value[4][256]; /* in the order of the model's channels */
} LedgeInputPixels;

/* Features of item `item` of a float or uint8 tensor [N, ...]; [N, C, H, W] and [N, H, W, C] with
 * 1 to 4 channels are taken for pictures. At most 32 x 32 places of each channel are looked at.
 * Unknown ones are NAN. pixels: the tensor is uint8 [N, H, W, C], whose features are those of the
 * floats that its bytes stand for; NULL: it is what it is. false: the tensor is of another type,
 * empty, or has no such item. */
bool ledge__input_features(const LedgeTensor *t, int64_t item, const LedgeInputPixels *pixels,
                           LedgeInputFeatures out);

#endif
