/* Plain activations as the RNN, GRU and LSTM operator texts define them. */
#include "engine/kernels/ref/nn_ref.h"

#include <math.h>

#define ACTIVATE(NAME, T, EXP, TANH, FABS, LOG1P)                                               \
    void NAME(const NnActivation *act, void *data, size_t n)                              \
    {                                                                                     \
        T *v = data;                                                                      \
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

ACTIVATE(ledge__activate_f32_ref, float, expf, tanhf, fabsf, log1pf)
ACTIVATE(ledge__activate_f64_ref, double, exp, tanh, fabs, log1p)
