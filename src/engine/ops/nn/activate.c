/* Activations named by strings. Formulas as in the RNN, GRU and LSTM operator texts. */
#include "engine/ops/nn/activate.h"

#include <math.h>
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

#define ACTIVATE(T, EXP, TANH, FABS, LOG1P)                                               \
    static void activate_##T(const NnActivation *act, T *v, size_t n)                     \
    {                                                                                     \
        const T a = (T)act->alpha, b = (T)act->beta;                                      \
        switch (act->kind) {                                                              \
        case NN_ACT_NONE:                                                                 \
            break;                                                                        \
        case NN_ACT_RELU:                                                                 \
            for (size_t i = 0; i < n; i++)                                                \
                v[i] = v[i] < 0 ? 0 : v[i];                                               \
            break;                                                                        \
        case NN_ACT_TANH:                                                                 \
            for (size_t i = 0; i < n; i++)                                                \
                v[i] = TANH(v[i]);                                                        \
            break;                                                                        \
        case NN_ACT_SIGMOID:                                                              \
            for (size_t i = 0; i < n; i++)                                                \
                v[i] = 1 / (1 + EXP(-v[i]));                                              \
            break;                                                                        \
        case NN_ACT_AFFINE:                                                               \
            for (size_t i = 0; i < n; i++)                                                \
                v[i] = a * v[i] + b;                                                      \
            break;                                                                        \
        case NN_ACT_LEAKY_RELU:                                                           \
            for (size_t i = 0; i < n; i++)                                                \
                v[i] = v[i] < 0 ? a * v[i] : v[i];                                        \
            break;                                                                        \
        case NN_ACT_THRESHOLDED_RELU:                                                     \
            for (size_t i = 0; i < n; i++)                                                \
                v[i] = v[i] > a ? v[i] : 0;                                               \
            break;                                                                        \
        case NN_ACT_SCALED_TANH:                                                          \
            for (size_t i = 0; i < n; i++)                                                \
                v[i] = a * TANH(b * v[i]);                                                \
            break;                                                                        \
        case NN_ACT_HARD_SIGMOID:                                                         \
        case NN_ACT_HARD_SWISH:                                                           \
            for (size_t i = 0; i < n; i++) {                                              \
                T s = a * v[i] + b;                                                       \
                s = s < 0 ? 0 : s > 1 ? 1 : s;                                            \
                v[i] = act->kind == NN_ACT_HARD_SWISH ? v[i] * s : s;                     \
            }                                                                             \
            break;                                                                        \
        case NN_ACT_ELU:                                                                  \
            for (size_t i = 0; i < n; i++)                                                \
                v[i] = v[i] < 0 ? a * (EXP(v[i]) - 1) : v[i];                             \
            break;                                                                        \
        case NN_ACT_SOFTSIGN:                                                             \
            for (size_t i = 0; i < n; i++)                                                \
                v[i] = v[i] / (1 + FABS(v[i]));                                           \
            break;                                                                        \
        case NN_ACT_SOFTPLUS: /* log(1 + e^x) without overflow */                         \
            for (size_t i = 0; i < n; i++)                                                \
                v[i] = LOG1P(EXP(-FABS(v[i]))) + (v[i] > 0 ? v[i] : 0);                   \
            break;                                                                        \
        case NN_ACT_CLIP:                                                                 \
            for (size_t i = 0; i < n; i++)                                                \
                v[i] = v[i] < a ? a : v[i] > b ? b : v[i];                                \
            break;                                                                        \
        }                                                                                 \
    }

ACTIVATE(float, expf, tanhf, fabsf, log1pf)
ACTIVATE(double, exp, tanh, fabs, log1p)

void ledge__nn_activate(const NnActivation *a, LedgeType type, void *data, size_t count)
{
    if (type == LEDGE_DOUBLE)
        activate_double(a, data, count);
    else
        activate_float(a, data, count);
}
