/* Functions of one number, over arrays: activations, roots, logarithms, trigonometry.
 *
 * One list names them all; each stands for a function over float arrays, which faster ones for
 * a CPU may replace, and one over double arrays. NaN in gives NaN out, but where the operator says
 * otherwise. `p` holds the operator's attributes in the order that the list's comment gives. */
#ifndef LEDGE_KERNELS_REF_UNARY_H
#define LEDGE_KERNELS_REF_UNARY_H

#include <stddef.h>
#include <stdint.h>

#include "engine/kernels/vec.h"

/* X(NAME, value): `v` is the element, `p` the parameters, F(f) the C library's f of the right
 * width, K(c) a constant of the right type. */
#define LEDGE_UNARY_LIST(X)                                                                        \
    X(ABS, F(fabs)(v))                                                                             \
    X(ACOS, F(acos)(v))                                                                            \
    X(ACOSH, F(acosh)(v))                                                                          \
    X(ASIN, F(asin)(v))                                                                            \
    X(ASINH, F(asinh)(v))                                                                          \
    X(ATAN, F(atan)(v))                                                                            \
    X(ATANH, F(atanh)(v))                                                                          \
    X(CEIL, F(ceil)(v))                                                                            \
    X(COS, F(cos)(v))                                                                              \
    X(COSH, F(cosh)(v))                                                                            \
    X(ERF, F(erf)(v))                                                                              \
    X(EXP, F(exp)(v))                                                                              \
    X(FLOOR, F(floor)(v))                                                                          \
    X(LOG, F(log)(v))                                                                              \
    X(NEG, -v)                                                                                     \
    X(RECIPROCAL, K(1) / v)                                                                        \
    X(ROUND, F(nearbyint)(v))                                                                      \
    X(SIGN, v > 0 ? K(1) : v < 0 ? K(-1) : v != v ? v : K(0))                                      \
    X(SIN, F(sin)(v))                                                                              \
    X(SINH, F(sinh)(v))                                                                            \
    X(SQRT, F(sqrt)(v))                                                                            \
    X(TAN, F(tan)(v))                                                                              \
    X(TANH, F(tanh)(v))                                                                            \
    X(RELU, v < 0 ? K(0) : v)                                                                      \
    X(SIGMOID, SIGMOID(v))                                                                         \
    X(SOFTPLUS, SOFTPLUS(v))                                                                       \
    X(SOFTSIGN, v / (K(1) + F(fabs)(v)))                                                           \
    X(MISH, v *F(tanh)(SOFTPLUS(v)))                                                               \
    X(HARDSWISH, v *CLAMP01(v / K(6) + K(0.5)))                                                    \
    X(GELU, K(0.5) * v * (K(1) + F(erf)(v * K(0.70710678118654752))))                              \
    X(GELU_TANH, K(0.5) * v *                                                                      \
                     (K(1) + F(tanh)(K(0.79788456080286536) * (v + K(0.044715) * v * v * v))))     \
    X(ELU, v < 0 ? p[0] * F(expm1)(v) : v)                   /* alpha */                           \
    X(CELU, v < 0 ? p[0] * F(expm1)(v / p[0]) : v)           /* alpha */                           \
    X(SELU, p[1] * (v > 0 ? v : p[0] * F(expm1)(v)))         /* alpha, gamma */                    \
    X(LEAKYRELU, v < 0 ? p[0] * v : v)                       /* alpha */                           \
    X(THRESHOLDEDRELU, v > p[0] ? v : v != v ? v : K(0))     /* alpha */                           \
    X(HARDSIGMOID, CLAMP01(p[0] * v + p[1]))                 /* alpha, beta */                     \
    X(SWISH, v *SIGMOID(p[0] * v))                           /* alpha */                           \
    X(SHRINK, v < -p[0] ? v + p[1] : v > p[0] ? v - p[1] : v != v ? v : K(0)) /* lambd, bias */    \
    X(CLIP, CLAMP(v, p[0], p[1]))                            /* lowest, highest */                 \
    X(AFFINE, p[0] * v + p[1])                               /* factor, summand */

typedef enum LedgeUnary {
#define LEDGE_UNARY_ENUM(NAME, value) LEDGE_UNARY_##NAME,
    LEDGE_UNARY_LIST(LEDGE_UNARY_ENUM)
#undef LEDGE_UNARY_ENUM
    LEDGE_UNARY_COUNT
} LedgeUnary;

/* x and y may be the same array, not overlap otherwise. */
typedef void (*LedgeUnaryF32)(const float *x, float *y, size_t n, const float *p);
typedef void (*LedgeUnaryF64)(const double *x, double *y, size_t n, const double *p);

/* A kind bound to the best kernel that the CPU flags allow: a vector map where there is one (within
 * the bounds of vec.def), else plain C. */
typedef struct LedgeUnaryCall {
    LedgeUnaryF32 plain;
    const LedgeVec *vec; /* NULL: plain it is */
    LedgeMap map;
    float p[2];
} LedgeUnaryCall;

/* p: two parameters, as the list says. */
LedgeUnaryCall ledge__unary_f32(LedgeUnary kind, uint32_t cpu, const float *p);
void ledge__unary_call(const LedgeUnaryCall *f, const float *x, float *y, size_t n);
LedgeUnaryF64 ledge__unary_f64(LedgeUnary kind);

#endif
