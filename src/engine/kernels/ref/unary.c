/* Functions of one number, over arrays: plain C for every kind of the list in unary.h. */
#include "engine/kernels/ref/unary.h"

#include <math.h>

/* In each of these the branch taken keeps exp's argument at or below zero, so that nothing
 * overflows; CLAMP keeps NaN, and where the bounds cross the upper one wins, as Clip says. */
#define SIGMOID(v)       ((v) < 0 ? F(exp)(v) / (K(1) + F(exp)(v)) : K(1) / (K(1) + F(exp)(-(v))))
#define SOFTPLUS(v)      (F(log1p)(F(exp)(-F(fabs)(v))) + ((v) < 0 ? K(0) : (v)))
#define CLAMP_LOW(v, lo) ((v) < (lo) ? (lo) : (v))
#define CLAMP(v, lo, hi) (CLAMP_LOW(v, lo) > (hi) ? (hi) : CLAMP_LOW(v, lo))
#define CLAMP01(v)       CLAMP(v, K(0), K(1))

/* Inputs and result are apart or the very same array; where a loop calls the C library there is
 * nothing to vectorise, which is no reason to warn. */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed"
#define NO_DEPENDENCE _Pragma("clang loop vectorize(assume_safety)")
#else
#define NO_DEPENDENCE _Pragma("GCC ivdep")
#endif

#define F(name) name##f
#define K(c)    ((float)(c))
#define UNARY_F32(NAME, value)                                                                     \
    static void NAME##_f32(const float *x, float *y, size_t n, const float *p)                     \
    {                                                                                              \
        (void)p;                                                                                   \
        NO_DEPENDENCE                                                                              \
        for (size_t i = 0; i < n; i++) {                                                           \
            const float v = x[i];                                                                  \
            y[i] = value;                                                                          \
        }                                                                                          \
    }
LEDGE_UNARY_LIST(UNARY_F32)
#undef F
#undef K

#define F(name) name
#define K(c)    ((double)(c))
#define UNARY_F64(NAME, value)                                                                     \
    static void NAME##_f64(const double *x, double *y, size_t n, const double *p)                  \
    {                                                                                              \
        (void)p;                                                                                   \
        NO_DEPENDENCE                                                                              \
        for (size_t i = 0; i < n; i++) {                                                           \
            const double v = x[i];                                                                 \
            y[i] = value;                                                                          \
        }                                                                                          \
    }
LEDGE_UNARY_LIST(UNARY_F64)
#undef F
#undef K

/* The vector map of a kind; LEDGE_U_COUNT: none. */
static LedgeMap map_of(LedgeUnary kind, const float *p)
{
    static const uint8_t maps[LEDGE_UNARY_COUNT] = {
        [LEDGE_UNARY_ABS] = LEDGE_U_ABS,
        [LEDGE_UNARY_CEIL] = LEDGE_U_CEIL,
        [LEDGE_UNARY_ERF] = LEDGE_U_ERF,
        [LEDGE_UNARY_EXP] = LEDGE_U_EXP,
        [LEDGE_UNARY_FLOOR] = LEDGE_U_FLOOR,
        [LEDGE_UNARY_LOG] = LEDGE_U_LOG,
        [LEDGE_UNARY_NEG] = LEDGE_U_NEG,
        [LEDGE_UNARY_RECIPROCAL] = LEDGE_U_RECIPROCAL,
        [LEDGE_UNARY_ROUND] = LEDGE_U_ROUND,
        [LEDGE_UNARY_SQRT] = LEDGE_U_SQRT,
        [LEDGE_UNARY_TANH] = LEDGE_U_TANH,
        [LEDGE_UNARY_RELU] = LEDGE_U_RELU,
        [LEDGE_UNARY_SIGMOID] = LEDGE_U_SIGMOID,
        [LEDGE_UNARY_SOFTPLUS] = LEDGE_U_SOFTPLUS,
        [LEDGE_UNARY_MISH] = LEDGE_U_MISH,
        [LEDGE_UNARY_HARDSWISH] = LEDGE_U_HARD_SWISH,
        [LEDGE_UNARY_GELU] = LEDGE_U_GELU,
        [LEDGE_UNARY_GELU_TANH] = LEDGE_U_GELU_TANH,
        [LEDGE_UNARY_ELU] = LEDGE_U_ELU,
        [LEDGE_UNARY_LEAKYRELU] = LEDGE_U_LEAKY_RELU,
        [LEDGE_UNARY_HARDSIGMOID] = LEDGE_U_HARD_SIGMOID,
        [LEDGE_UNARY_SWISH] = LEDGE_U_SILU,
        [LEDGE_UNARY_CLIP] = LEDGE_U_CLIP,
        [LEDGE_UNARY_AFFINE] = LEDGE_U_LINEAR,
    };
    if (maps[kind] == LEDGE_U_COPY || (kind == LEDGE_UNARY_SWISH && p[0] != 1.0f))
        return LEDGE_U_COUNT;
    return (LedgeMap)maps[kind];
}

void ledge__unary_call(const LedgeUnaryCall *f, const float *x, float *y, size_t n)
{
    if (f->vec)
        f->vec->unary(f->map, x, y, n, f->p[0], f->p[1]);
    else
        f->plain(x, y, n, f->p);
}

LedgeUnaryCall ledge__unary_f32(LedgeUnary kind, uint32_t cpu, const float *p)
{
    static const LedgeUnaryF32 plain[LEDGE_UNARY_COUNT] = {
#define ENTRY(NAME, value) NAME##_f32,
        LEDGE_UNARY_LIST(ENTRY)
#undef ENTRY
    };
    const LedgeVec *vec = ledge__vec(cpu);
    LedgeUnaryCall f = {.plain = plain[kind], .map = map_of(kind, p), .p = {p[0], p[1]}};
    if (f.map != LEDGE_U_COUNT && vec->lanes > 1)
        f.vec = vec;
    return f;
}

LedgeUnaryF64 ledge__unary_f64(LedgeUnary kind)
{
    static const LedgeUnaryF64 plain[LEDGE_UNARY_COUNT] = {
#define ENTRY(NAME, value) NAME##_f64,
        LEDGE_UNARY_LIST(ENTRY)
#undef ENTRY
    };
    return plain[kind];
}
