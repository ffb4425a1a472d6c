/* Functions of one number, over arrays: plain C for every kind of the list in unary.h. */
#include "engine/kernels/ref/unary.h"

#include <math.h>

/* In each of these the branch taken keeps exp's argument at or below zero, so that nothing
 * overflows; CLAMP keeps NaN, and where the bounds cross the upper one wins, as Clip says. */
#define SIGMOID(v) ((v) < 0 ? F(exp)(v) / (K(1) + F(exp)(v)) : K(1) / (K(1) + F(exp)(-(v))))
#define SOFTPLUS(v) (F(log1p)(F(exp)(-F(fabs)(v))) + ((v) < 0 ? K(0) : (v)))
#define CLAMP_LOW(v, lo) ((v) < (lo) ? (lo) : (v))
#define CLAMP(v, lo, hi) (CLAMP_LOW(v, lo) > (hi) ? (hi) : CLAMP_LOW(v, lo))
#define CLAMP01(v) CLAMP(v, K(0), K(1))

/* Inputs and result are apart or the very same array; where a loop calls the C library there is
 * nothing to vectorise, which is no reason to warn. */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed"
#define NO_DEPENDENCE _Pragma("clang loop vectorize(assume_safety)")
#else
#define NO_DEPENDENCE _Pragma("GCC ivdep")
#endif

#define F(name) name##f
#define K(c) ((float)(c))
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
#define K(c) ((double)(c))
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

LedgeUnaryF32 ledge__unary_f32(LedgeUnary kind, uint32_t cpu)
{
    static const LedgeUnaryF32 plain[LEDGE_UNARY_COUNT] = {
#define ENTRY(NAME, value) NAME##_f32,
        LEDGE_UNARY_LIST(ENTRY)
#undef ENTRY
    };
    (void)cpu;
    return plain[kind];
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
