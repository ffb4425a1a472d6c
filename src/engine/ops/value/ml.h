/* What the operators of ai.onnx.ml share: class labels and the functions on rows of scores. */
#ifndef LEDGE_ENGINE_OPS_ML_H
#define LEDGE_ENGINE_OPS_ML_H

#include "engine/ops/shape/move.h"

typedef enum LedgePost {
    LEDGE_POST_NONE,
    LEDGE_POST_SOFTMAX,
    LEDGE_POST_LOGISTIC,
    LEDGE_POST_SOFTMAX_ZERO,
    LEDGE_POST_PROBIT
} LedgePost;

/* The attribute post_transform as a string. */
LedgeStatus ledge__post_transform(LedgeOpCtx *c, LedgePost *out);
/* Applies it to n scores in place. */
void ledge__post_apply(LedgePost how, double *scores, int64_t n);
double ledge__logistic(double x);

/* Labels of a classifier: one of the two lists. */
typedef struct LedgeLabels {
    LedgeType type; /* INT64 or STRING */
    const int64_t *ints;
    const LedgeString *strings;
    size_t count;
} LedgeLabels;

LedgeStatus ledge__labels(LedgeOpCtx *c, const char *ints, const char *strings, LedgeLabels *out);
/* Element i of the label output becomes label k. */
void ledge__label_set(const LedgeLabels *labels, LedgeTensor *out, int64_t i, int64_t k);

/* Rows and columns of a [n, features] or [features] input; dims may be -1. */
LedgeStatus ledge__ml_matrix(LedgeOpCtx *c, int64_t *rows, int64_t *columns);

#endif
