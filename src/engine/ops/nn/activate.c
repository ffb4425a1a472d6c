/* Activations named by strings. Formulas as in the RNN, GRU and LSTM operator texts. */
#include "engine/ops/nn/activate.h"

#include <strings.h>

static const struct {
    const char *name;
    NnActKind kind;
    float alpha, beta; /* defaults are those of the operator of the same name */
} names[] = {
    {"Relu", NN_ACT_RELU, 0, 0},
    {"Tanh", NN_ACT_TANH, 0, 0},
    {"Sigmoid", NN_ACT_SIGMOID, 0, 0},
    {"Affine", NN_ACT_AFFINE, 1.0f, 0},
    {"LeakyRelu", NN_ACT_LEAKY_RELU, 0.01f, 0},
    {"ThresholdedRelu", NN_ACT_THRESHOLDED_RELU, 1.0f, 0},
    {"ScaledTanh", NN_ACT_SCALED_TANH, 1.0f, 1.0f},
    {"HardSigmoid", NN_ACT_HARD_SIGMOID, 0.2f, 0.5f},
    {"Elu", NN_ACT_ELU, 1.0f, 0},
    {"Softsign", NN_ACT_SOFTSIGN, 0, 0},
    {"Softplus", NN_ACT_SOFTPLUS, 0, 0},
    {"Clip", NN_ACT_CLIP, -3.402823466e38f, 3.402823466e38f},
    {"HardSwish", NN_ACT_HARD_SWISH, 1.0f / 6.0f, 0.5f},
};

LedgeStatus ledge__nn_activation_named(LedgeOpCtx *c, const char *name, NnActivation *out)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcasecmp(name, names[i].name) == 0) {
            *out = (NnActivation){names[i].kind, names[i].alpha, names[i].beta};
            return LEDGE_OK;
        }
    return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "activation \"%.40s\" is not known", name);
}

LedgeStatus ledge__nn_activation(LedgeOpCtx *c, NnActivation *out)
{
    const char *name = ledge__node_string(c->node, "activation", "");
    size_t n;
    *out = (NnActivation){0};
    if (name[0] == 0)
        return LEDGE_OK;
    LEDGE_TRY(ledge__nn_activation_named(c, name, out));
    const float *p = ledge__node_floats(c->node, "activation_params", &n);
    if (p && n > 0)
        out->alpha = p[0];
    if (p && n > 1)
        out->beta = p[1];
    out->alpha = ledge__node_float(c->node, "activation_alpha", out->alpha);
    out->beta = ledge__node_float(c->node, "activation_beta", out->beta);
    return LEDGE_OK;
}

static bool has_alpha(NnActKind k)
{
    return k >= NN_ACT_AFFINE && k <= NN_ACT_ELU;
}

static bool has_beta(NnActKind k)
{
    return k == NN_ACT_AFFINE || k == NN_ACT_SCALED_TANH || k == NN_ACT_HARD_SIGMOID;
}

LedgeStatus ledge__nn_activations(LedgeOpCtx *c, const char *const *usual, size_t n,
                                  NnActivation *out)
{
    const LedgeAttr *names_given = ledge__node_attr(c->node, "activations");
    size_t n_alpha, n_beta, alpha_at = 0, beta_at = 0;
    const float *alpha = ledge__node_floats(c->node, "activation_alpha", &n_alpha);
    const float *beta = ledge__node_floats(c->node, "activation_beta", &n_beta);
    if (names_given && names_given->count && names_given->count != n)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "names %zu activations, must name %zu",
                              names_given->count, n);
    for (size_t i = 0; i < n; i++) {
        const char *name = names_given && names_given->strings && names_given->count
                               ? names_given->strings[i].data
                               : usual[i];
        LEDGE_TRY(ledge__nn_activation_named(c, name, &out[i]));
        if (has_alpha(out[i].kind) && alpha_at < n_alpha)
            out[i].alpha = alpha[alpha_at++];
        if (has_beta(out[i].kind) && beta_at < n_beta)
            out[i].beta = beta[beta_at++];
    }
    return LEDGE_OK;
}
