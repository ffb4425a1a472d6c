/* Activations named by strings: those of RNN, GRU and LSTM, and of fused contributed
 * operators (attributes activation, activation_params / activation_alpha …). */
#ifndef LEDGE_OPS_NN_ACTIVATE_H
#define LEDGE_OPS_NN_ACTIVATE_H

#include "engine/ops/nn/nn.h"

typedef enum NnActKind {
    NN_ACT_NONE,
    NN_ACT_RELU,
    NN_ACT_TANH,
    NN_ACT_SIGMOID,
    NN_ACT_AFFINE,
    NN_ACT_LEAKY_RELU,
    NN_ACT_THRESHOLDED_RELU,
    NN_ACT_SCALED_TANH,
    NN_ACT_HARD_SIGMOID,
    NN_ACT_ELU,
    NN_ACT_SOFTSIGN,
    NN_ACT_SOFTPLUS,
    NN_ACT_CLIP,
    NN_ACT_HARD_SWISH
} NnActKind;

typedef struct NnActivation {
    NnActKind kind;
    float alpha, beta;
} NnActivation;

/* By name, without regard to case; sets the default alpha and beta. */
LedgeStatus ledge__nn_activation_named(LedgeOpCtx *c, const char *name, NnActivation *out);
/* Attribute `activation` of a fused operator; NONE when absent. */
LedgeStatus ledge__nn_activation(LedgeOpCtx *c, NnActivation *out);
/* In place; type FLOAT or DOUBLE. */
void ledge__nn_activate(const NnActivation *a, LedgeType type, void *data, size_t count);

#endif
