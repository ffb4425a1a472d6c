/* What the plain and the fast form of RNN, GRU and LSTM share. */
#ifndef LEDGE_OPS_NN_RNN_H
#define LEDGE_OPS_NN_RNN_H

#include "engine/ops/nn/activate.h"

typedef enum NnRnnDirection { NN_RNN_FORWARD, NN_RNN_REVERSE, NN_RNN_BOTH } NnRnnDirection;

typedef struct NnRnnSizes {
    size_t gates; /* 1 RNN, 3 GRU, 4 LSTM */
    NnRnnDirection direction;
    int64_t dirs, seq, batch, in, hidden; /* -1: not known yet */
    bool batch_first;
} NnRnnSizes;

/* Sizes and strides of *p; everything else in it is zero. */
void ledge__nn_rnn_strides(const NnRnnSizes *s, LedgeRnnRef *p);
/* act has room for 6. */
LedgeStatus ledge__nn_rnn_activations(LedgeOpCtx *c, const NnRnnSizes *s, NnActivation *act);

/* Float layers with constant weights, usual activations and no sequence lengths: packs the
 * weights and sets c->state; leaves it NULL where the plain form is to run. What it decides
 * by does not depend on shapes. */
LedgeStatus ledge__nn_rnn_fast_prepare(LedgeOpCtx *c, const NnRnnSizes *s);
LedgeStatus ledge__nn_rnn_fast_run(LedgeOpCtx *c, const NnRnnSizes *s);

#endif
