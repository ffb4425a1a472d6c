/* A BatchNormalization step, for the operators behind it that it takes in. */
#ifndef LEDGE_COMPRESS_TRAIN_NORM_H
#define LEDGE_COMPRESS_TRAIN_NORM_H

#include "compress/train/train_internal.h"

typedef struct TrainNormState {
    size_t rows, c, repeat; /* rows of `repeat` pixels of c channels */
    float epsilon, momentum;
    float lo, hi;                              /* the clamp taken in */
    bool residual;                             /* input 5 is added before the clamp */
    float *pivot, *mean, *inv, *a, *b, *shift; /* c * repeat each */
    double *sums;
} TrainNormState;

extern const TrainOp ledge__train_norm_op;

/* b->node, a Relu or Clip of x, becomes part of the BatchNormalization that makes x. */
bool ledge__train_norm_clamp(TrainBuild *b, TrainValue *x, float lo, float hi);
/* b->node, an Add of x and r, becomes part of the BatchNormalization that makes x. */
LedgeStatus ledge__train_norm_add(TrainBuild *b, TrainValue *x, TrainValue *r, bool *done);

#endif
