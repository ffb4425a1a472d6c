/* Activations named by strings: those of RNN, GRU and LSTM, and of fused contributed
 * operators (attributes activation, activation_params / activation_alpha …). */
#ifndef LEDGE_OPS_NN_ACTIVATE_H
#define LEDGE_OPS_NN_ACTIVATE_H

#include "engine/ops/nn/nn.h"

/* By name, without regard to case; sets the default alpha and beta. */
LedgeStatus ledge__nn_activation_named(LedgeOpCtx *c, const char *name, NnActivation *out);
/* Attribute `activation` of a fused operator; NONE when absent. */
LedgeStatus ledge__nn_activation(LedgeOpCtx *c, NnActivation *out);
/* In place; type FLOAT or DOUBLE. */
static inline void ledge__nn_activate(const NnActivation *a, LedgeType type, void *data,
                                      size_t count)
{
    NN_CALL(type, activate, a, data, count);
}
/* Lists as in RNN, GRU and LSTM: `n` names from attribute activations (absent: `usual`, n of
 * them), alpha and beta taken in order by those functions that have them. */
LedgeStatus ledge__nn_activations(LedgeOpCtx *c, const char *const *usual, size_t n,
                                  NnActivation *out);

#endif
